"""Tables as text: numbers with what is unsure of them, CSV, and LaTeX."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from corrcore.metrics import Estimate


def interval_text(found: Estimate) -> str:
    return f"[{found.low:.1f}, {found.high:.1f}]"


def p_text(p: float) -> str:
    """
    >>> [p_text(p) for p in (0.0004, 0.0123, 0.5, 1)]
    ['< 0.001', '0.012', '0.50', '1.00']
    """
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def span(values: np.ndarray) -> str:
    """
    >>> span(np.array([12.0, 15.2])), span(np.array([15.0, 15.0]))
    ('12–15', '15')
    """
    low, high = f"{values.min():.0f}", f"{values.max():.0f}"
    return low if low == high else f"{low}–{high}"


def as_csv(lines: Sequence[Mapping[str, Any]]) -> bytes:
    text = io.StringIO()
    table = csv.DictWriter(text, list(lines[0]))
    table.writeheader()
    table.writerows(lines)
    return text.getvalue().encode()


def as_latex(headings: Sequence[str], rows: Sequence[Sequence[str]], comment: str) -> bytes:
    """A tabular that needs no package, under a comment that says what it is."""
    body = [" & ".join(map(latex, cells)) + r" \\" for cells in (headings, *rows)]
    parts = [rf"\begin{{tabular}}{{l{'r' * (len(headings) - 1)}}}", r"\hline", body[0], r"\hline", *body[1:], r"\hline"]
    return "\n".join([f"% {' '.join(comment.split())}", *parts, r"\end{tabular}", ""]).encode()


def latex(text: str) -> str:
    r"""
    >>> latex("toy_cat & 5 %")
    'toy\\_cat \\& 5 \\%'
    """
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "α": r"$\alpha$"}
    return "".join(special.get(letter, rf"\{letter}" if letter in "&%$#_{}" else letter) for letter in text)
