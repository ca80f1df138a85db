"""How good a confidence is: how often it is right, what is left without the least confident, what it tells apart."""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from corrcore.features import Feature
from corrcore.metrics import Reliability
from dashboard.figures.style import GREY, RowStyle, feature_colour, styled

_MOST_POINTS = 200  # of a curve: a picture shows no more
_WHOLE = [0, 100]
_DASHES = ("solid", "dash", "dot")  # those that a key can show

Curve = tuple[Float[np.ndarray, " points"], Float[np.ndarray, " points"]]


def feature_lines(features: Iterable[Feature], layers: Sequence[str]) -> dict[str, RowStyle]:
    """How features are drawn, by their titles: in the colours of `feature_colour`, which are near one another for
    layers of like depth, so that dashes tell these apart.
    """
    found: dict[str, RowStyle] = {}
    n_before = {True: 0, False: 0}
    for feature in features:
        found[feature.title] = RowStyle(
            feature_colour(feature, layers), _DASHES[n_before[feature.is_sift] % len(_DASHES)]
        )
        n_before[feature.is_sift] += 1
    return found


def reliability_diagram(
    bins: Mapping[str, Reliability], *, styles: Mapping[str, RowStyle], height: int = 330
) -> go.Figure:
    """How much is right in each bin against how much the confidence says, with intervals; dotted: as it says.

    Axes end at the next ten above all of that, for matches between photos may all be unsure.
    """
    figure = go.Figure()
    highest = max([10.0, *(max(*each.confidences, *(one.high for one in each.right)) for each in bins.values())])
    end = min(10 * math.ceil(highest / 10), 100)
    _add_dotted(figure, [0, end], [0, end])
    for name, each in bins.items():
        value, low, high = np.array([(one.value, one.low, one.high) for one in each.right]).T
        figure.add_scatter(
            x=each.confidences,
            y=value,
            name=name,
            mode="lines+markers",
            line={"color": styles[name].colour, "width": 1.5, "dash": styles[name].dash},
            marker={"color": styles[name].colour, "size": 6},
            error_y={"array": high - value, "arrayminus": value - low, "thickness": 1, "width": 0},
            customdata=np.stack([low, high], axis=-1),
            hovertemplate="said %{x:.0f} %: right %{y:.0f} % [%{customdata[0]:.0f}, %{customdata[1]:.0f}]",
        )
    figure.update_xaxes(title="confidence, %", range=[0, 1.01 * end])
    figure.update_yaxes(title="right, %", range=[0, 1.01 * end])
    return styled(figure, height=height).update_layout(margin_t=8)


def risk_curves(curves: Mapping[str, Curve], *, styles: Mapping[str, RowStyle], height: int = 330) -> go.Figure:
    """What is wrong of the most confident matches, against how many of them are taken."""
    figure = go.Figure()
    for name, curve in curves.items():
        coverage, risk = _thinned(*curve)
        _add_line(figure, name, coverage, risk, styles[name], "%{y:.0f} % of the surest %{x:.0f} % wrong")
    figure.update_xaxes(title="coverage: the surest, %", range=[0, 101])
    figure.update_yaxes(title="wrong of these, %", range=[0, 101])
    return styled(figure, height=height).update_layout(margin_t=8)


def roc_curves(curves: Mapping[str, Curve], *, styles: Mapping[str, RowStyle], height: int = 330) -> go.Figure:
    """How many of the points that are not there are found, against how many others are taken for such; dotted: chance.

    Curves are false and true positive rates, in percent.
    """
    figure = go.Figure()
    _add_dotted(figure, _WHOLE, _WHOLE)
    for name, curve in curves.items():
        false, true = _thinned(*curve)
        template = "%{y:.0f} % of those not shown, with %{x:.0f} % of the others"
        _add_line(figure, name, false, true, styles[name], template)
    figure.update_xaxes(title="shown, taken for not shown, %", range=[0, 101])
    figure.update_yaxes(title="not shown, found out, %", range=[0, 101])
    return styled(figure, height=height).update_layout(margin_t=8)


def _thinned(x: np.ndarray, y: np.ndarray) -> Curve:
    """A curve in so few points that a browser draws it at once; its ends stay."""
    some = np.unique(np.linspace(0, len(x) - 1, min(len(x), _MOST_POINTS)).round().astype(int))
    return x[some], y[some]


def _add_line(figure: go.Figure, name: str, x: np.ndarray, y: np.ndarray, style: RowStyle, template: str) -> None:
    line = {"color": style.colour, "width": 2, "dash": style.dash}
    figure.add_scatter(x=x, y=y, name=name, mode="lines", line=line, hovertemplate=template)


def _add_dotted(figure: go.Figure, x: list[int], y: list[int]) -> None:
    line = {"color": GREY, "dash": "dot", "width": 1}
    figure.add_scatter(x=x, y=y, mode="lines", line=line, hoverinfo="skip")
