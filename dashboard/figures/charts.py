"""Charts of one measurement: distances, agreement, scores, accuracy, energy."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from corrcore.engines.mrf import Solution
from corrcore.features import Feature
from corrcore.tasks.averaging import Agreement
from corrcore.tasks.reconstruction import Localisation
from dashboard.figures.style import DASHES, GREY, PALETTE, styled
from dashboard.titles import keypoint_title


def match_distances(results: Sequence[Localisation], colours: Mapping[str, str], *, height: int = 320) -> go.Figure:
    """The share of best matches within a distance of their place, a layer a line; dotted: of all places."""
    figure = go.Figure()
    for result in results:
        colour = colours[result.layer]
        distances = list(range(0, result.highest + 1, 2))
        shares = 100 * np.array([result.share_within(distance) for distance in distances])
        for name, values, dash in (
            (result.layer, shares[:, 0], "solid"),
            (f"{result.layer}, chance", shares[:, 1], "dot"),
        ):
            figure.add_scatter(
                x=distances,
                y=values,
                name=name,
                mode="lines",
                line={"color": colour, "dash": dash, "width": 2.5 if dash == "solid" else 1.5},
                hovertemplate="%{y:.0f} % within %{x} px",
            )
        figure.add_annotation(
            x=distances[-1], y=shares[-1, 0], text=result.layer, font={"color": colour}, showarrow=False, yshift=12
        )
    figure.update_xaxes(title="distance from the right place (px)", rangemode="tozero")
    figure.update_yaxes(title="share of matches", ticksuffix=" %", rangemode="tozero")
    return styled(figure, height=height)


def offset_map(result: Localisation, *, highest_share: float, height: int = 240) -> go.Figure:
    """Where matches lie around their place: the share a square of 8 px, one colour range for all maps."""
    counts, centres = _offset_counts(result)
    figure = go.Figure(
        go.Heatmap(
            x=centres,
            y=centres,
            z=100 * counts / max(counts.sum(), 1),
            zmin=0,
            zmax=100 * highest_share,
            colorscale="Viridis",
            showscale=False,
            hovertemplate="%{z:.1f} % of matches<br>%{x:+.0f} px right, %{y:+.0f} px down<extra></extra>",
        )
    )
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False, autorange="reversed", scaleanchor="x")
    title = {"text": result.layer, "font": {"size": 14}, "x": 0.5}
    return styled(figure, height=height).update_layout(title=title)


def highest_share(results: Sequence[Localisation]) -> float:
    """The fullest 8 px square of any result: the shared end of the maps' colour range."""
    return max(float(counts.max() / max(counts.sum(), 1)) for counts, _ in map(_offset_counts, results))


def _offset_counts(result: Localisation) -> tuple[np.ndarray, np.ndarray]:
    """Matches in squares of 8 px, one centred on the right place."""
    first = (result.lowest + 4) // 8 * 8 - 4
    edges = np.arange(first, result.highest + 9, 8)
    counts, _, _ = np.histogram2d(result.offsets[:, 1], result.offsets[:, 0], bins=(edges, edges))
    return counts, (edges[:-1] + edges[1:]) / 2


def agreement_profile(profiles: Mapping[str, Agreement], colours: Mapping[str, str], *, height: int = 340) -> go.Figure:
    """Agreement of aligned receptive fields against distance from the centre; dots mark agreement radii."""
    figure = go.Figure()
    for layer, profile in profiles.items():
        colour = colours[layer]
        figure.add_scatter(
            x=profile.radii_px,
            y=profile.agreement,
            name=layer,
            mode="lines",
            line={"color": colour, "width": 2.5},
            hovertemplate="%{y:.2f} at %{x:.0f} px",
        )
        figure.add_annotation(
            x=profile.radii_px[-1],
            y=profile.agreement[-1],
            text=layer,
            font={"color": colour},
            showarrow=False,
            xshift=24,
        )
        radius = profile.agreement_radius_px
        if np.isfinite(radius):
            figure.add_scatter(
                x=[radius],
                y=[profile.half],
                name=f"{layer}: agreement radius",
                mode="markers",
                marker={"color": colour, "size": 11, "line": {"color": "white", "width": 1.5}},
                hovertemplate="agreement radius %{x:.0f} px",
            )
    figure.add_hline(y=0, line={"color": GREY, "dash": "dot", "width": 1})
    figure.update_xaxes(title="distance from the receptive-field centre (px)", rangemode="tozero")
    lowest = min((float(profile.agreement.min()) for profile in profiles.values()), default=0)
    figure.update_yaxes(title="agreement", range=[min(-0.05, lowest - 0.05), 1.05])
    return styled(figure, height=height)


def scores_of_all(
    scores: Mapping[Feature, np.ndarray],
    names: Sequence[str],
    own: str,
    *,
    colours: Mapping[Feature, str],
    height: int = 360,
) -> go.Figure:
    """What every keypoint's classifier says of one pixel, by feature; the chosen keypoint's name is bold."""
    figure = go.Figure()
    titles = {name: keypoint_title(name) for name in names}
    labels = [f"<b>{title}</b>" if name == own else title for name, title in titles.items()]
    for feature, values in scores.items():
        figure.add_bar(
            x=values,
            y=labels,
            name=feature.title,
            orientation="h",
            marker={"color": colours[feature]},
            hovertemplate="%{y}: %{x:.3f}",
        )
    figure.add_vline(x=0, line={"color": GREY, "width": 1})
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(title="score")
    return styled(figure, height=max(height, 16 * len(names) * len(scores))).update_layout(
        showlegend=len(scores) > 1, legend={"orientation": "h", "y": 1.08}
    )


def score_profile(
    profiles: Mapping[Feature, tuple[np.ndarray, np.ndarray]], at: int, *, colours: Mapping[Feature, str]
) -> go.Figure:
    """Scores along the row of pixels through one: (x, score) by feature."""
    figure = _score_lines(profiles, colours, axes=("x (px)", "score"), hover="%{y:.3f} at x = %{x}")
    figure.add_hline(y=0, line={"color": GREY, "dash": "dot", "width": 1})
    figure.add_vline(x=at, line={"color": GREY, "width": 1})
    return figure


def score_by_distance(profiles: Mapping[Feature, np.ndarray], *, colours: Mapping[Feature, str]) -> go.Figure:
    """Mean scores at 0, 1, ... pixels from a keypoint, by feature."""
    lines = {feature: (np.arange(len(values)), values) for feature, values in profiles.items()}
    return _score_lines(lines, colours, axes=("distance (px)", "mean score"), hover="%{y:.3f} at %{x} px")


def _score_lines(
    lines: Mapping[Feature, tuple[np.ndarray, np.ndarray]],
    colours: Mapping[Feature, str],
    *,
    axes: tuple[str, str],
    hover: str,
) -> go.Figure:
    figure = go.Figure()
    for feature, (x, values) in lines.items():
        figure.add_scatter(
            x=x,
            y=values,
            name=feature.title,
            mode="lines",
            line={"color": colours[feature], "width": 2},
            hovertemplate=hover,
        )
    figure.update_xaxes(title=axes[0])
    figure.update_yaxes(title=axes[1])
    return styled(figure, height=300).update_layout(showlegend=len(lines) > 1, legend={"orientation": "h", "y": 1.15})


def accuracy_curves(
    curves: Mapping[Feature, tuple[Sequence[float], Sequence[float]]],
    chosen: Mapping[Feature, float],
    *,
    colours: Mapping[Feature, str],
    highest: float,
    height: int = 340,
) -> go.Figure:
    """Figure 4: accuracy in cross validation against the cost, a line a feature; the chosen cost is marked.

    The axis ends at `highest`, a share of 1, so that several such figures compare.
    """
    figure = go.Figure()
    ends = {feature: 100 * accuracies[-1] for feature, (_, accuracies) in curves.items()}
    labels = _apart(ends, 6 * highest)
    for number, (feature, (costs, accuracies)) in enumerate(curves.items()):
        colour = colours[feature]
        percent = 100 * np.array(accuracies)
        sizes = [11 if cost == chosen[feature] else 5 for cost in costs]
        figure.add_scatter(
            x=list(costs),
            y=percent,
            name=feature.title,
            mode="lines+markers",
            line={"color": colour, "width": 2.5, "dash": DASHES[number % len(DASHES)] if feature.is_sift else "solid"},
            marker={"size": sizes},
            hovertemplate="%{y:.1f} % at cost %{x}",
        )
        figure.add_annotation(
            x=np.log10(costs[-1]),
            y=labels[feature],
            text=f"{feature.layer} px" if feature.is_sift else feature.title,
            font={"color": colour},
            showarrow=False,
            xanchor="left",
            xshift=8,
        )
    figure.update_xaxes(title="cost of misclassification C", type="log", exponentformat="power", dtick=2)
    figure.update_yaxes(title="accuracy", ticksuffix=" %", range=[0, 105 * highest])
    return styled(figure, height=height).update_layout(margin={"l": 8, "r": 64, "t": 12, "b": 8})


def _apart(values: Mapping[Feature, float], least: float) -> dict[Feature, float]:
    """Heights of labels beside the values, from the lowest up, none nearer to another than `least`."""
    found: dict[Feature, float] = {}
    lowest = -np.inf
    for feature in sorted(values, key=lambda each: values[each]):
        found[feature] = lowest = max(values[feature], lowest + least)
    return found


def confusion(counts: np.ndarray, names: Sequence[str], *, height: int = 520) -> go.Figure:
    """Which keypoints (rows) are called what (columns), as a share of each row."""
    titles = [keypoint_title(name) for name in names]
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = go.Figure(
        go.Heatmap(
            x=titles,
            y=titles,
            z=shares,
            zmin=0,
            zmax=100,
            colorscale="Viridis",
            customdata=counts,
            colorbar={"title": "% of row", "thickness": 12},
            hovertemplate="%{y} called %{x}: %{z:.0f} % (%{customdata})<extra></extra>",
        )
    )
    figure.update_yaxes(autorange="reversed", title="keypoint")
    figure.update_xaxes(title="called", tickangle=-60)
    return styled(figure, height=height)


def maxima_counts(counts: np.ndarray, *, highest: int, height: int = 330) -> go.Figure:
    """How many maxima fall on each pixel around the keypoint, in the middle; one colour range for all."""
    half = len(counts) // 2
    offsets = np.arange(-half, half + 1)
    middle = {"color": "white", "width": 1}
    figure = go.Figure(
        go.Heatmap(
            x=offsets,
            y=offsets,
            z=counts,
            zmin=0,
            zmax=highest,
            colorscale="Viridis",
            showscale=False,
            hovertemplate="%{z} at %{x:+d} px right, %{y:+d} px down<extra></extra>",
        )
    )
    edge = half - 0.5
    figure.add_shape(
        type="rect", x0=-edge, y0=-edge, x1=edge, y1=edge, line={"color": "white", "width": 1, "dash": "dot"}
    )
    for x, y in ((half / 10, 0), (0, half / 10)):
        figure.add_shape(type="line", x0=-x, x1=x, y0=-y, y1=y, line=middle)
    ticks = [-half, 0, half]
    figure.update_xaxes(
        tickvals=ticks, ticktext=[f"{ticks[0]} px", "0", f"{half} px"], showgrid=False, constrain="domain"
    )
    figure.update_yaxes(tickvals=ticks, autorange="reversed", scaleanchor="x", showgrid=False)
    return styled(figure, height=height)


def energy_history(solution: Solution, *, height: int = 280) -> go.Figure:
    """Energy and, where there is one, lower bound after every iteration; last the energy that cells improved
    one by one have.
    """
    figure = go.Figure()
    n = len(solution.history)
    least = np.minimum.accumulate(solution.history[:, 0])
    steps = [f"iteration {number}" for number in range(1, n + 1)]
    if improved := solution.energy < least[-1]:
        least, steps = np.append(least, solution.energy), [*steps, "improving single cells"]
    lines = [("energy", least, PALETTE[0])]
    if np.isfinite(solution.history[:, 1]).any():
        lines.append(("lower bound", solution.history[:, 1], PALETTE[1]))
    for name, values, colour in lines:
        figure.add_scatter(
            x=np.arange(1, len(values) + 1),
            y=values,
            name=name,
            mode="lines+markers",
            line={"color": colour, "width": 2.5},
            customdata=steps[: len(values)],
            hovertemplate="%{y:.2f} after %{customdata}",
        )
        figure.add_annotation(
            x=len(values),
            y=values[-1],
            text=name,
            font={"color": colour},
            showarrow=False,
            yshift=12 if name == "energy" else -14,
            xanchor="right",
        )
    title = "iterations, then single cells improved" if improved else "iterations"
    figure.update_xaxes(title=title, dtick=1 if len(least) < 12 else None)
    figure.update_yaxes(title="energy")
    return styled(figure, height=height)
