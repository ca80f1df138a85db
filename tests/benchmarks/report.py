"""Rows of all subjects as a table to read, and as JSON to keep."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks.measure import Bar, Row, Work
from tests.steps import python


@dataclass
class Measured:
    """What one subject's process has told before it ended, and why it ended if that was too early."""

    name: str
    rows: list[Row] = field(default_factory=list)
    machine: dict[str, Any] = field(default_factory=dict)
    limits: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    fault: str = ""
    output: str = ""


def measure(name: str, *arguments: str, seconds: float) -> Measured:
    """Measures a subject in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows"
        path.touch()
        outcome = python(
            "-m", "tests.benchmarks.subjects", name, "--to", str(path), *arguments, seconds=seconds
        )  # fmt: skip
        found = Measured(name, seconds=outcome.seconds, fault=outcome.fault, output=outcome.output)
        for line in path.read_text().splitlines():
            told = json.loads(line)
            if "row" in told:
                found.rows.append(_row(told["row"]))
            else:
                found.machine, found.limits = told["machine"], told["limits"]
    return found


def _row(told: dict[str, Any]) -> Row:
    bar, work = told.pop("bar"), told.pop("work")
    return Row(**told, bar=bar and Bar(**bar), work=work and Work(**work))


def best_limits(subjects: Sequence[Measured]) -> dict[str, float]:
    """The highest of all that were measured, for other work on the machine only lowers them."""
    names = dict.fromkeys(name for subject in subjects for name in subject.limits)
    return {name: max(subject.limits.get(name, 0) for subject in subjects) for name in names}


def as_json(subjects: Sequence[Measured]) -> dict[str, Any]:
    """All that is known: the machine, its limits, and every row with its ratio, verdict and floor."""
    limits = best_limits(subjects)
    rows = [
        {
            "subject": subject.name,
            **asdict(row),
            "ratio": row.ratio,
            "met": row.met,
            "floor": row.work.floor(limits) if row.work else None,
        }
        for subject in subjects
        for row in subject.rows
    ]
    faults = {subject.name: {"fault": subject.fault, "output": subject.output} for subject in subjects if subject.fault}
    machine = next((subject.machine for subject in subjects if subject.machine), {})
    return {"machine": machine, "limits": limits, "rows": rows, "failed": faults}


def table(subjects: Sequence[Measured]) -> str:
    """In Markdown: a header with the machine and its limits, a row each, and what failed."""
    limits = best_limits(subjects)
    lines = [*_header(next((subject.machine for subject in subjects if subject.machine), {}), limits), ""]
    cells = [("", "ours", "peer", "ratio", "bar", "", "limit", "of it")]
    for subject in subjects:
        cells += [_cells(row, limits) for row in subject.rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    for number, row in enumerate(cells):
        aligned = (
            cell.ljust(w) if i in (0, 2) else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        lines.append(f"| {' | '.join(aligned)} |")
        if number == 0:
            lines.append(
                "|" + "|".join("-" * (w + 1) + (" " if i in (0, 2) else ":") for i, w in enumerate(widths)) + "|"
            )
    notes = [f"- {row.what}: {row.note}" for subject in subjects for row in subject.rows if row.note]
    faults = [f"- {subject.name} FAILED: {subject.fault}" for subject in subjects if subject.fault]
    return "\n".join([*lines, *([""] if notes or faults else []), *notes, *faults])


def rooflines(subjects: Sequence[Measured]) -> str:
    """Of each row whose work is known: what has to be moved and computed, the floor, and what was reached."""
    limits, lines = best_limits(subjects), []
    for row in (row for subject in subjects for row in subject.rows if row.work and row.unit == "s"):
        floor = row.work.floor(limits)
        if floor is None:
            continue
        moved = f"{row.work.bytes / 1e9:.3g} GB"
        computed = f"{row.work.operations / 1e9:.3g} GFLOP {row.work.kind}"
        reached = f"{row.work.bytes / row.ours / 1e9:.3g} GB/s, {row.work.operations / row.ours / 1e9:.4g} GFLOP/s"
        took = f"took {_amount(row.ours, 's')} ({reached}; {100 * floor / row.ours:.0f} %)"
        lines.append(f"- {row.what}: {moved}, {computed}: floor {_amount(floor, 's')}, {took}")
    return "\n".join(lines)


def _header(machine: dict[str, Any], limits: dict[str, float]) -> list[str]:
    lines = []
    if machine:
        in_use = ", ".join(f"{name} {value}" for name, value in machine["instructions"].items())
        lines.append(f"{machine['processor']}, {machine['threads']} threads, load {machine['load']:.1f}; {in_use}")
        if "gpu" in machine:
            lines.append(f"{machine['gpu']['name']}, CUDA {machine['gpu']['cuda']}")
        lines.append(", ".join(f"{name} {version}" for name, version in machine["versions"].items()))
    told = [
        f"{name} {value / 1e9:.1f} GB/s" if name in ("read", "copy") else f"{name} {value / 1e9:.0f} GFLOP/s"
        for name, value in limits.items()
    ]
    return [*lines, f"Limits: {', '.join(told)}"] if told else lines


def _cells(row: Row, limits: dict[str, float]) -> tuple[str, ...]:
    floor = row.work.floor(limits) if row.work else None
    bar = ""
    if row.bar is not None:
        sign = {"ratio": "≥ {:g}x", "most": "≤ {}", "least": "≥ {}"}[row.bar.kind]
        bar = sign.format(row.bar.value if row.bar.kind == "ratio" else _amount(row.bar.value, row.unit))
    theirs = "" if row.theirs is None else f"{row.peer} {_amount(row.theirs, row.unit)}"
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}x"
    met = {None: "", True: "yes", False: "WRONG" if row.right is False else "NO"}[row.met]
    limit, share = ("", "") if floor is None else (_amount(floor, "s"), f"{100 * floor / row.ours:.0f} %")
    return row.what, _amount(row.ours, row.unit), theirs, ratio, bar, met, limit, share


def _amount(value: float, unit: str) -> str:
    if unit != "s":
        return f"{value:.5g} {unit}".strip()
    if value >= 10:
        return f"{value:.1f} s"
    if value >= 1:
        return f"{value:.2f} s"
    return f"{1e3 * value:.1f} ms" if value >= 1e-3 else f"{1e6 * value:.1f} us"
