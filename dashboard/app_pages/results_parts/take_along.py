"""The table to take along: CSV, LaTeX, JSON, a picture, and the lines of Python that print the same numbers."""

import json
from collections.abc import Sequence
from typing import Any

from corrcore import images
from corrcore.experiments import to_jsonable
from dashboard import figures
from dashboard.app_pages.results_parts import kinds
from dashboard.app_pages.results_parts.view import View
from dashboard.parts import exports


def lines_of(view: View) -> list[dict[str, Any]]:
    """Every number of the table, a line each, with the digits that are on screen, and how it was measured."""
    lines = []
    for row in view.rows:
        for column in view.columns:
            found = view.estimates.get((row, column))
            if found is None:
                continue
            table, paper = view.tables.get(column), view.published(row, column)
            objects, of = (None, None) if table is None else view.extent(column)
            lines.append(
                {
                    "table": int(view.kind.number) if view.kind.number.isdecimal() else view.kind.kind,
                    "category": column,
                    "row": row.key,
                    "value": round(found.value, 1),
                    "low": round(found.low, 1),
                    "high": round(found.high, 1),
                    "published": None if paper is None else _with_digits(view, paper, column),
                    "difference": None if paper is None else round(found.value - paper, 1),
                    "alpha": view.alpha,
                    "over": view.over or view.first.table.average,
                    "objects": objects,
                    "of": of,
                    "keypoints": None if table is None else int(table.visible.sum()),
                    "data": view.source.title,
                    "network": view.network,
                    "how": view.how,
                }
            )
    return lines


def _with_digits(view: View, paper: float, column: str) -> float | int:
    return round(paper, 1) if view.digits(column) else round(paper)


def as_json(view: View) -> bytes:
    """The numbers, with what they are and all settings."""
    content = {
        "metric": view.metric,
        "how": view.how,
        "definition": kinds.text_of(view.kind).definition(view.alpha).replace("*", ""),
        "results": {
            category: {
                "settings": entry.result.experiment.settings(),
                "provenance": entry.result.provenance,
                "notes": entry.result.notes,
                "objects": "{} of {}".format(*view.extent(category)),
            }
            for category, entry in view.entries.items()
        },
        "numbers": lines_of(view),
    }
    return json.dumps(to_jsonable(content), indent=1, ensure_ascii=False, allow_nan=False).encode()


def cells_of(view: View) -> tuple[list[str], list[list[str]], list[list[float | None]]]:
    """The table in text, for pictures and LaTeX: headings, rows, and how far up the colours each cell is."""
    rows: list[list[str]] = []
    shares: list[list[float | None]] = []
    for row in view.rows:
        cells: list[str] = [row.title]
        levels: list[float | None] = [None]
        for column in view.columns:
            found, paper = view.estimates.get((row, column)), view.published(row, column)
            beside = "" if paper is None else f" ({_with_digits(view, paper, column)})"
            cells.append("" if found is None else f"{found.value:.1f} {exports.interval_text(found)}{beside}")
            levels.append(None if found is None else found.value / view.highest)
        rows.append(cells)
        shares.append(levels)
    return ["", *map(view.heading, view.columns)], rows, shares


def caption(view: View, *, network: str = "") -> str:
    """What a table that was taken along is of; of a `network` or several named otherwise than the view's."""
    drawn = " · drawn, synthetic" if view.source.synthetic else ""
    beside = " (published)" if view.has_published else ""
    return (
        f"{kinds.name_of(view.kind)}. {view.metric} [95 % interval]{beside} · {view.source.title}{drawn} · "
        f"{network or view.network} · {view.how}"
    )


def spelt_out(text: str) -> str:
    """Text without the Greek letters that PIL's font lacks."""
    for letter, name in {"α": "alpha", "η": "eta", "σ": "sigma"}.items():
        text = text.replace(letter, name)
    return text


def picture(view: View) -> bytes:
    """The table drawn."""
    headings, rows, shares = cells_of(view)
    title = spelt_out(caption(view))
    return images.encode(figures.table_picture(title, headings, rows, shares), format="PNG")


def python_lines(view: View) -> str:
    """What prints the same numbers."""
    return python_of([view], view.network)


def python_of(views: Sequence[View], network: str) -> str:
    """What prints the numbers of views that are measured alike, of a network or several."""
    view = views[0]
    listed = "\n".join(f"    {entry.file!r}," for each in views for entry in each.entries.values())
    options = "" if view.alpha is None else f", alpha={view.alpha}, over={view.over!r}"
    result = view.first.result
    table = "result.summary" if result.experiment.table(result) is None else "result.experiment.table(result)"
    return f"""from corrcore.experiments import ResultStore

files = [  # {view.source.title}, {network}, {view.how}
{listed}
]
store = ResultStore()
for file in files:
    result = store.read(store.folder / file)
    table = {table}
    print(file, "{{}} objects".format(len(table.objects)))
    for row in table.rows:
        found = table.accuracy(row{options})
        print(f"  {{row.key:14}} {{found.value:5.1f}} [{{found.low:.1f}}, {{found.high:.1f}}]")
"""
