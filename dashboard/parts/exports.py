"""What a page gives to take along: the link, files, Python, and tables as text, CSV and LaTeX."""

import csv
import io
import mimetypes
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import ArrayLike

from corrcore.metrics import Estimate
from dashboard import links
from dashboard.state import session


def export_row(
    *,
    downloads: Mapping[str, Callable[[], bytes]],
    python: str,
    state: links.Query | None = None,
) -> None:
    """The end of a page: the link to this view, files to take along, and the lines of Python that make the same.

    `downloads` maps a file name to what makes its content; that is called when somebody asks for the file.
    `state` is that of `share_link`.
    """
    with st.container(horizontal=True, gap="small", key="quiet-row"):
        with st.popover("Link", icon=":material/link:"):
            st.code(link := share_link(state), language=None, wrap_lines=True)
            if "=upload%3A" in link:
                st.caption("The uploaded photo stays with you: whoever opens this link has to upload it, too.")
        for name, make in downloads.items():
            st.download_button(
                PurePath(name).suffix[1:].upper(),
                make,
                file_name=name,
                mime=mimetypes.guess_type(name)[0],
                key=f"download {name}",
                on_click="ignore",
                icon=":material/download:",
            )
        with st.popover("Python", icon=":material/code:"):
            st.code(python, language="python")


def share_link(state: links.Query | None = None) -> str:
    """The address that shows this view to somebody else: the page's, with all that widgets bound to it and
    clicks chose.

    Call it below those widgets. A widget that changes in a fragment reaches the link of that fragment only.
    Streamlit leaves out those that are at their default; where that depends on data, which others may have more
    of, `state` says what it is here.
    """
    there = {name: st.query_params.get_all(name) for name in st.query_params}
    return links.address(st.context.url or "", state or {}, there, session().shown)


def as_npz(arrays: Mapping[str, ArrayLike]) -> bytes:
    """Arrays by name, as `numpy.load` reads them without unpickling."""
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **{name: np.asarray(array) for name, array in arrays.items()})
    return file.getvalue()


def interval_text(found: Estimate) -> str:
    return f"[{found.low:.1f}, {found.high:.1f}]"


def p_text(p: float) -> str:
    """Return a p-value as people read it.

    >>> [p_text(p) for p in (0.0004, 0.0123, 0.5, 1)]
    ['< 0.001', '0.012', '0.50', '1.00']
    """
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def span(values: np.ndarray) -> str:
    """Return an interval as text, one number where its ends read alike.

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
    r"""Return text with LaTeX's special characters escaped.

    >>> latex("toy_cat & 5 %")
    'toy\\_cat \\& 5 \\%'
    """
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "α": r"$\alpha$"}
    return "".join(special.get(letter, rf"\{letter}" if letter in "&%$#_{}" else letter) for letter in text)
