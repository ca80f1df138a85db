"""Table 1: the receptive fields of every network that can be opened here."""

import json
from typing import Any

import streamlit as st

from corrcore import images, networks
from dashboard import figures
from dashboard.app_pages.results_parts import kinds, paper
from dashboard.parts import exports, header
from dashboard.services import caches
from dashboard.wording import escape_markdown

PAPER_SIZE, PAPER_STRIDE = "paper's size", "paper's stride"
HOW = (
    "A unit's receptive field is every input pixel that is path-connected to it; the stride is how far apart "
    "neighbouring "
    "units' fields are, the offset where the first one's centre is. All three are derived from the network's "
    "graph. Between "
    r"windows of size $k_i$ and stride $s_i$, size and stride are $1 + \sum_i (k_i - 1) \prod_{j<i} s_j$ and "
    r"$\prod_i s_i$. Long, Zhang and Darrell (2014), Table 1."
)


def page_of_fields() -> None:
    """The table, what it is of, and what to take along."""
    lines: list[dict[str, Any]] = []
    missing: dict[str, str] = {}
    for name in networks.names():
        try:
            lines += _lines_of(name)
        except (OSError, ValueError) as error:
            missing[name] = str(error)
    st.markdown("**Receptive fields, px**")
    st.dataframe(
        {name: [line[name] for line in lines] for name in lines[0]},
        hide_index=True,
        width="stretch",
        height="content",
        placeholder="",
        alt="Table 1: size, stride and offset of every layer",
    )
    st.caption(
        "Offset: where the centre of the first unit's field is, which padding decides. *Paper*: Long, Zhang and "
        "Darrell (2014), "
        "Table 1, the Caffe reference model, whose windows are alexnet's but for the padding of the first; nothing "
        "is in print "
        "for other networks."
    )
    if missing:
        with st.expander(f"Networks that cannot be opened here: {', '.join(missing)}", icon=":material/folder_off:"):
            for name, reason in missing.items():
                st.caption(escape_markdown(f"{name}: {reason}"))
    header.how_computed(HOW, {"networks": ", ".join(dict.fromkeys(line["network"] for line in lines))})
    _export(lines)


def _lines_of(name: str) -> list[dict[str, Any]]:
    """A line per layer. Raises OSError and ValueError for a network that cannot be opened."""
    network = caches.network(name)
    lines = []
    for layer in network.layers:
        field, printed = network.receptive_field(layer), paper.receptive_field(layer, network=name)
        size, stride = printed or (None, None)
        lines.append(
            {
                "network": name,
                "layer": layer,
                "size, px": field.size,  # none where it is the whole image
                "stride, px": field.stride,
                "offset, px": field.offset,
                PAPER_SIZE: size,
                PAPER_STRIDE: stride,
            }
        )
    return lines


def _export(lines: list[dict[str, Any]]) -> None:
    headings = list(lines[0])
    texts = [
        ["" if value is None else f"{value:g}" if isinstance(value, float) else str(value) for value in line.values()]
        for line in lines
    ]
    title = "Table 1. Receptive fields, px"
    drawn = [[]] * len(texts)
    exports.export_row(
        downloads={
            "table 1 receptive fields.csv": lambda: exports.as_csv(lines),
            "table 1 receptive fields.tex": lambda: exports.as_latex(headings, texts, title),
            "table 1 receptive fields.json": lambda: json.dumps(lines, indent=1).encode(),
            "table 1 receptive fields.png": lambda: images.encode(
                figures.table_picture(title, headings, texts, drawn), format="PNG"
            ),
        },
        python="""from corrcore import networks

network = networks.open("alexnet")
for layer in network.layers:
    print(layer, network.receptive_field(layer))
""",
        state={"table": kinds.FIELDS},
    )
