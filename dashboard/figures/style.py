"""Colours and lines: of layers by depth, of SIFT by radius, of keypoints by number, of a table's rows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from PIL import ImageColor

from corrcore.experiments.tables import Row
from corrcore.features import Feature

YELLOW = "#ffd500"
BLACK = "#000000"
GREY = "#8a8a8a"
TRANSPARENT = "rgba(0,0,0,0)"
# Okabe and Ito's palette, told apart by colour-blind eyes.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#999999", "#f0e442")
# Of keypoints: Okabe and Ito's again, then Tol's muted ones; numbers tell apart what eyes cannot.
KEYPOINT_COLOURS = (
    *("#0072b2", "#56b4e9", "#d55e00", "#e69f00", "#f0e442", "#009e73", "#cc79a7", "#ffffff"),
    *("#332288", "#88ccee", "#882255", "#ddcc77", "#999933", "#44aa99", "#aa4499", "#000000"),
)
# From blue by magenta to orange: apart for eyes that see no red or no green too. Every colour has three
# times the contrast to white and to the dark theme's background.
DEPTH_RAMP = ("#0d84c9", "#5a62e0", "#9e4acc", "#d03d8c", "#df4f2f", "#cf7c00")
# SIFT is no layer and has a hue of its own, darker for larger radii.
RADIUS_RAMP = ("#0e9f99", "#059880", "#05875f", "#057836")
RADII_PX = (5.0, 160.0)
NO_FEATURE = "#808080"
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")  # of lines whose colours are near one another: SIFT's radii


def feature_colour(feature: Feature, layers: Sequence[str]) -> str:
    """A layer's colour by its depth among the network's `layers`, the first being the shallowest; SIFT's by its radius.

    Grey for a layer that the network does not have.
    """
    if feature.is_sift:
        low, high = np.log(RADII_PX)
        return _along(RADIUS_RAMP, (np.log(max(float(feature.layer), 1e-9)) - low) / (high - low))
    if feature.layer not in layers:
        return NO_FEATURE
    return _along(DEPTH_RAMP, list(layers).index(feature.layer) / max(len(layers) - 1, 1))


def feature_colours(features: Iterable[Feature], layers: Sequence[str]) -> dict[Feature, str]:
    """What `feature_colour` gives each of several features of one network."""
    return {feature: feature_colour(feature, layers) for feature in features}


def keypoint_colour(number: int) -> str:
    """The colour of a category's keypoint of this number, the same on every page."""
    return KEYPOINT_COLOURS[number % len(KEYPOINT_COLOURS)]


def is_light(colour: str) -> bool:
    """Whether a dark edge shows better than a light one around a colour."""
    red, green, blue = ImageColor.getrgb(colour)[:3]
    return 0.3 * red + 0.6 * green + 0.1 * blue > 128


@dataclass(frozen=True)
class RowStyle:
    """How a row of a table is drawn: in its feature's colour; the line and the bars' pattern tell which prior
    it has.
    """

    colour: str
    dash: str = "solid"
    pattern: str = ""


_BY_PRIORS = {0: ("solid", ""), 1: ("dot", "."), 5: ("dash", "/")}


def row_style(row: Row, layers: Sequence[str]) -> RowStyle:
    """The style of a table's row, of a network with `layers` by depth: the same in every chart."""
    dash, pattern = ("dashdot", "x") if row.refined else _BY_PRIORS.get(row.priors, ("dashdot", "x"))
    return RowStyle(feature_colour(row.feature, layers) if row.feature else NO_FEATURE, dash, pattern)


def styled(figure: go.Figure, *, height: int) -> go.Figure:
    """A chart without decoration, with room for labels, in the colours of the page's theme."""
    return figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 36, "b": 8},
        paper_bgcolor=TRANSPARENT,
        plot_bgcolor=TRANSPARENT,
        showlegend=False,
        hoverlabel={"namelength": -1},
    )


def _along(ramp: Sequence[str], share: float) -> str:
    """The colour at a share of a ramp, from 0 at its beginning to 1 at its end."""
    anchors = np.array([ImageColor.getrgb(colour)[:3] for colour in ramp], float)
    at = min(max(share, 0.0), 1.0) * (len(ramp) - 1)
    mixed = [round(np.interp(at, np.arange(len(ramp)), channel)) for channel in anchors.T]
    return "#" + "".join(f"{channel:02x}" for channel in mixed)
