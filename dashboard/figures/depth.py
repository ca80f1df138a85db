"""What layers are good for against their depth, several networks in one chart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from corrcore.metrics import Estimate
from dashboard.figures.style import PALETTE, styled

_BAND = 0.12  # opacity of intervals


@dataclass(frozen=True)
class DepthCurve:
    """One number of a network's layers: their names, how deep they lie, from 0 to 1, and what was measured."""

    network: str
    layers: Sequence[str]
    depths: Sequence[float]
    values: Sequence[Estimate]
    dash: str = "solid"


def network_colours(networks: Sequence[str]) -> dict[str, str]:
    """A colour per network, the same in every chart of them."""
    return {name: PALETTE[n % len(PALETTE)] for n, name in enumerate(networks)}


def depth_curves(
    curves: Sequence[DepthCurve],
    *,
    colours: Mapping[str, str],
    title: str,
    chance: float | None = None,
    digits: int = 1,
    best: bool = True,
    height: int = 300,
) -> go.Figure:
    """A line per network with its intervals as a band; its highest point is a star where more is `best`."""
    figure = go.Figure()
    for curve in curves:
        colour = colours[curve.network]
        y = np.array([each.value for each in curve.values], float)
        y[~np.isfinite(y)] = np.nan
        low, high = (np.array([getattr(each, end) for each in curve.values], float) for end in ("low", "high"))
        banded = np.isfinite(y) & np.isfinite(low) & np.isfinite(high)
        if banded.sum() > 1:
            x = np.array(curve.depths)[banded]
            figure.add_scatter(
                x=[*x, *x[::-1]],
                y=[*high[banded], *low[banded][::-1]],
                fill="toself",
                fillcolor=_clear(colour),
                line={"width": 0},
                hoverinfo="skip",
                showlegend=False,
            )
        highest = int(np.nanargmax(y)) if best and np.isfinite(y).any() else -1
        figure.add_scatter(
            x=list(curve.depths),
            y=y,
            name=curve.network,
            text=list(curve.layers),
            mode="lines+markers",
            line={"color": colour, "width": 2, "dash": curve.dash},
            marker={
                "color": colour,
                "size": [14 if n == highest else 6 for n in range(len(y))],
                "symbol": ["star" if n == highest else "circle" for n in range(len(y))],
            },
            hovertemplate=f"%{{text}}: %{{y:.{digits}f}}",
        )
    if chance is not None:
        figure.add_hline(y=chance, line={"dash": "dot", "width": 1, "color": "#8a8a8a"})
    figure.update_xaxes(title="depth, share of the network's layers", range=[0, 1.04])
    figure.update_yaxes(title=title)
    return styled(figure, height=height)


def _clear(colour: str) -> str:
    red, green, blue = (int(colour[n : n + 2], 16) for n in (1, 3, 5))
    return f"rgba({red},{green},{blue},{_BAND})"
