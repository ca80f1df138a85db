"""Charts of tables: rows compared by category, by the limit of what counts as right, and by difficulty."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from dashboard.figures.style import GREY, RowStyle, styled

Ends = tuple[float, float, float]  # a number, and the lower and upper end of its interval


def category_bars(
    rows: Mapping[str, Sequence[Ends]],
    published: Mapping[str, Sequence[float | None]],
    categories: Sequence[str],
    *,
    styles: Mapping[str, RowStyle],
    height: int = 400,
) -> go.Figure:
    """A group of bars a category, one a row, with whiskers for intervals; hollow markers are the published numbers."""
    figure = go.Figure()
    width = 0.84 / max(len(rows), 1)
    for number, (row, ends) in enumerate(rows.items()):
        x = np.arange(len(categories)) + width * (number - (len(rows) - 1) / 2)
        values, low, high = np.array(ends, dtype=float).T
        figure.add_bar(
            x=x,
            y=values,
            width=0.92 * width,
            name=row,
            marker={
                "color": styles[row].colour,
                "pattern": {
                    "shape": styles[row].pattern,
                    "bgcolor": styles[row].colour,
                    "fgcolor": "white",
                    "solidity": 0.25,
                    "size": 6,
                },
            },
            error_y={"array": high - values, "arrayminus": values - low, "color": GREY, "thickness": 1.5, "width": 2},
            customdata=np.stack([low, high], axis=-1),
            text=list(categories),
            textposition="none",
            hovertemplate="%{text}: %{y:.1f} % [%{customdata[0]:.1f}, %{customdata[1]:.1f}]",
        )
        known = [(at, number) for at, number in zip(x, published.get(row, ()), strict=False) if number is not None]
        if known:
            figure.add_scatter(
                x=[at for at, _ in known],
                y=[number for _, number in known],
                name=f"{row}, published",
                mode="markers",
                marker={"symbol": "diamond", "size": 10, "color": "white", "line": {"width": 2, "color": "#202020"}},
                showlegend=False,
                hovertemplate="%{y:.1f} %",
            )
    figure.update_xaxes(tickvals=list(range(len(categories))), ticktext=list(categories), showgrid=False)
    figure.update_yaxes(ticksuffix=" %", rangemode="tozero")
    return _legend_above(figure, list(rows), height=height)


@dataclass(frozen=True)
class Dot:
    """A row of a group: its number with the ends of its interval, its colour, and the published number."""

    title: str
    ends: Ends
    colour: str
    published: float | None = None


def grouped_dots(groups: Mapping[str, Sequence[Dot]], *, title: str) -> go.Figure:
    """Rows one below the other under their group's name: dots with intervals, hollow diamonds for published numbers."""
    figure, ticks = go.Figure(), list[tuple[float, str]]()
    y = 0.0
    for group, dots in groups.items():
        ticks.append((y, f"<b>{group}</b>" if group else ""))
        for dot in dots:
            y += 1
            ticks.append((y, dot.title))
            _draw_dot(figure, dot, y, f"{group} · {dot.title}" if group else dot.title)
        y += 1.4
    figure.update_xaxes(title=title, ticksuffix=" %", rangemode="tozero", zeroline=False)
    figure.update_yaxes(
        tickvals=[at for at, _ in ticks],
        ticktext=[text for _, text in ticks],
        range=[y - 0.6, -0.6],
        showgrid=False,
        zeroline=False,
    )
    styled(figure, height=round(24 * (y + 1)) + 70)
    return figure.update_layout(margin={"l": 8, "r": 8, "t": 8, "b": 8})


def _draw_dot(figure: go.Figure, dot: Dot, y: float, name: str) -> None:
    value, low, high = dot.ends
    figure.add_scatter(
        x=[value],
        y=[y],
        name=name,
        mode="markers",
        marker={"size": 10, "color": dot.colour},
        error_x={"array": [high - value], "arrayminus": [value - low], "color": dot.colour, "thickness": 2, "width": 4},
        hovertemplate=f"%{{x:.1f}} % [{low:.1f}, {high:.1f}]",
    )
    if dot.published is not None:
        figure.add_scatter(
            x=[dot.published],
            y=[y],
            name=f"{name}, published",
            mode="markers",
            marker={"symbol": "diamond-open", "size": 11, "color": GREY, "line": {"width": 2}},
            hovertemplate="%{x:.1f} %",
        )


def pck_curves(
    curves: Mapping[str, Sequence[Ends]],
    alphas: Sequence[float],
    *,
    at: float,
    styles: Mapping[str, RowStyle],
    height: int = 420,
) -> go.Figure:
    """PCK against alpha, a line a row with its interval as a band; a thin line marks the alpha of the table."""
    figure = go.Figure()
    for row, ends in curves.items():
        values, low, high = np.array(ends, dtype=float).T
        figure.add_scatter(
            x=[*alphas, *reversed(alphas)],
            y=[*high, *reversed(low)],
            fill="toself",
            fillcolor=styles[row].colour,
            opacity=0.15,
            line={"width": 0},
            mode="lines",
            hoverinfo="skip",
        )
    lowest = -np.inf
    for row in sorted(curves, key=lambda row: curves[row][-1][0]):
        values = [value for value, _, _ in curves[row]]
        figure.add_scatter(
            x=list(alphas),
            y=values,
            name=row,
            mode="lines",
            line={"color": styles[row].colour, "width": 2.5, "dash": styles[row].dash},
            hovertemplate="%{y:.1f} % at %{x:.2f}",
        )
        lowest = max(values[-1], lowest + 4)  # labels one above the other
        figure.add_annotation(
            x=alphas[-1],
            y=lowest,
            text=row,
            font={"color": styles[row].colour},
            showarrow=False,
            xanchor="left",
            xshift=6,
        )
    figure.add_vline(x=at, line={"color": GREY, "dash": "dot", "width": 1})
    figure.update_xaxes(title="α, as a part of the box's side", range=[0, alphas[-1]])
    figure.update_yaxes(title="PCK", ticksuffix=" %", rangemode="tozero")
    longest = max(map(len, curves), default=0)
    return styled(figure, height=height).update_layout(margin={"l": 8, "r": 8 + round(6.5 * longest), "t": 36, "b": 8})


def by_difficulty(
    rows: Mapping[str, Sequence[Ends]],
    groups: Sequence[str],
    *,
    title: str,
    highest: float,
    styles: Mapping[str, RowStyle],
    height: int = 380,
) -> go.Figure:
    """How good each row is on groups of objects, from one kind to another; whiskers are intervals."""
    figure = go.Figure()
    for number, (row, ends) in enumerate(rows.items()):
        values, low, high = np.array(ends, dtype=float).T
        figure.add_scatter(
            x=np.arange(len(groups)) + 0.03 * (number - (len(rows) - 1) / 2),
            y=values,
            name=row,
            mode="lines+markers",
            line={"color": styles[row].colour, "width": 2.5, "dash": styles[row].dash},
            marker={"size": 8},
            error_y={"array": high - values, "arrayminus": values - low, "thickness": 1.5, "width": 3},
            customdata=np.stack([low, high], axis=-1),
            hovertemplate="%{y:.1f} % [%{customdata[0]:.1f}, %{customdata[1]:.1f}]",
        )
    figure.update_xaxes(title=title, tickvals=list(range(len(groups))), ticktext=list(groups), showgrid=False)
    figure.update_yaxes(ticksuffix=" %", range=[0, highest])
    return _legend_above(figure, list(rows), height=height)


def _legend_above(figure: go.Figure, rows: Sequence[str], *, height: int) -> go.Figure:
    """A legend over the plot, with room of its own for the rows' names, two beside each other on a phone."""
    names = {row: row.replace(" + ", "<br>+ ") if len(row) > 18 else row for row in rows}
    figure.for_each_trace(lambda trace: trace.update(name=names.get(trace.name, trace.name)))
    room = -(-len(rows) // 2) * (38 if any("<br>" in name for name in names.values()) else 22)
    styled(figure, height=height + room)
    return figure.update_layout(
        showlegend=True,
        margin={"l": 8, "r": 8, "t": 12 + room, "b": 8},
        legend={
            "orientation": "h",
            "x": 0,
            "y": 1.03,
            "yanchor": "bottom",
            "entrywidth": 0.48,
            "entrywidthmode": "fraction",
        },
    )
