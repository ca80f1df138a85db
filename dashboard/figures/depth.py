"""What layers are good for against their depth, several networks in one chart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Bool, Float

from corrcore.metrics import Estimate
from dashboard.figures.style import PALETTE, styled

_BAND = 0.18  # opacity of intervals
_COLOURS = PALETTE[:-1]  # no yellow, which is faint on white
_GLYPHS = {"circle": "●", "diamond": "◆", "square": "■", "triangle-up": "▲", "triangle-down": "▼"}


@dataclass(frozen=True)
class DepthCurve:
    """One number of a network's layers: their names, how deep they lie, from 0 to 1, and what was measured; `whole`
    where that is of all layers that were asked for.
    """

    network: str
    layers: Sequence[str]
    depths: Sequence[float]
    values: Sequence[Estimate]
    dash: str = "solid"
    whole: bool = True


@dataclass(frozen=True)
class NetworkStyle:
    """How a network is drawn; `symbol` is that of its markers, in plotly's words."""

    colour: str
    symbol: str

    @property
    def glyph(self) -> str:
        """The symbol as text."""
        return _GLYPHS[self.symbol]


def network_styles(networks: Sequence[str]) -> dict[str, NetworkStyle]:
    """A colour per network, the same in every chart; where there are more than colours, markers tell them apart."""
    styles = [NetworkStyle(colour, symbol) for symbol in _GLYPHS for colour in _COLOURS]
    return {name: styles[n % len(styles)] for n, name in enumerate(networks)}


def depth_curves(
    curves: Sequence[DepthCurve],
    *,
    styles: Mapping[str, NetworkStyle],
    title: str,
    chance: float | None = None,
    digits: int = 1,
    best: bool = True,
    height: int = 280,
) -> go.Figure:
    """A line per network with its intervals as bands; its highest point is a star where more is `best` and
    the curve whole.

    Lines and bands end where a value is missing.
    """
    figure = go.Figure()
    for curve in curves:  # bands first, so that none lies over another's line
        _add_bands(figure, curve, styles[curve.network].colour)
    for curve in curves:
        style, y = styles[curve.network], _finite(curve)
        highest = highest_of(curve) if best and curve.whole else None
        figure.add_scatter(
            x=list(curve.depths),
            y=y,
            name=curve.network,
            text=list(curve.layers),
            mode="lines+markers",
            line={"color": style.colour, "width": 2, "dash": curve.dash},
            marker={
                "color": style.colour,
                "opacity": 1,
                "size": [15 if n == highest else 7 for n in range(len(y))],
                "symbol": ["star" if n == highest else style.symbol for n in range(len(y))],
            },
            hovertemplate=f"%{{text}}: %{{y:.{digits}f}}",
        )
    if chance is not None:
        figure.add_hline(y=chance, line={"dash": "dot", "width": 1, "color": "#8a8a8a"})
    figure.update_xaxes(title="depth, share of the network's layers", range=[0, 1.04], tickvals=[0, 0.25, 0.5, 0.75, 1])
    figure.update_yaxes(title=title)
    return styled(figure, height=height).update_layout(margin_t=8)


def highest_of(curve: DepthCurve) -> int | None:
    """Where a curve is highest: the number of a layer, None where nothing is finite."""
    y = _finite(curve)
    return int(np.nanargmax(y)) if np.isfinite(y).any() else None


def _finite(curve: DepthCurve) -> Float[np.ndarray, " layers"]:
    """A curve's values, NaN where there is none to draw."""
    y = np.array([each.value for each in curve.values], float)
    return np.where(np.isfinite(y), y, np.nan)


def _add_bands(figure: go.Figure, curve: DepthCurve, colour: str) -> None:
    x = np.array(curve.depths, float)
    low, high = (np.array([getattr(each, end) for each in curve.values], float) for end in ("low", "high"))
    for run in _runs(np.isfinite(_finite(curve)) & np.isfinite(low) & np.isfinite(high)):
        figure.add_scatter(
            x=[*x[run], *x[run][::-1]],
            y=[*high[run], *low[run][::-1]],
            mode="lines",
            fill="toself",
            fillcolor=_clear(colour),
            line={"width": 0 if run.stop - run.start > 1 else 4, "color": _clear(colour)},
            hoverinfo="skip",
            showlegend=False,
        )


def _runs(there: Bool[np.ndarray, " n"]) -> list[slice]:
    """Where there is something without a gap.

    >>> _runs(np.array([True, True, False, True]))
    [slice(0, 2, None), slice(3, 4, None)]
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], there, [False]]).astype(int))).tolist()
    return [slice(start, stop) for start, stop in zip(edges[::2], edges[1::2], strict=True)]


def _clear(colour: str) -> str:
    red, green, blue = (int(colour[n : n + 2], 16) for n in (1, 3, 5))
    return f"rgba({red},{green},{blue},{_BAND})"
