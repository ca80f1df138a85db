"""Looking closer at a reconstruction: a patch's neighbours, one picture over another, and numbers."""

from collections.abc import Mapping

import streamlit as st

from corrcore import images
from corrcore.geometry import PixelBox
from corrcore.tasks import reconstruction
from corrcore.tasks.reconstruction import Localisation
from dashboard import figures
from dashboard.app_pages.reconstruction_parts.figure import Shown
from dashboard.components import compare
from dashboard.parts import url_state
from dashboard.wording import escape_markdown

SHOWN = 10  # neighbours of a patch
FEWEST = 30  # patches from which localisation is told
PLAIN = {"displayModeBar": False}


def show_neighbours(shown: Shown, k: int) -> None:
    """For each layer, the k neighbours of the chosen patch: patch in receptive field in source photo."""
    x, y = shown.pixel
    index, n_shown = shown.index, min(k, SHOWN)
    for layer, result in shown.found.items():
        retrieval, field = result.retrieval, index.receptive_field(layer)
        row, column = retrieval.cells.nearest(x, y)
        cell = row * retrieval.cells.columns + column
        ids, similarities = retrieval.ids[cell, :n_shown], retrieval.similarities[cell, :n_shown]
        cells = index.locate(layer, ids)
        st.markdown(f"**{layer}** · receptive field {field.window_text}, patch {field.stride} px")
        with st.container(horizontal=True, gap="small"):
            boxes = field.receptive_field_box(row, column), field.patch_box(row, column)
            view = figures.neighbour_view(shown.chosen.image, *boxes)
            with st.container(width=150):
                st.image(
                    images.encode(view, format="JPEG"),
                    caption="this patch",
                    width=150,
                    alt=f"The patch in its receptive field, by {layer}",
                )
            for number in range(len(ids)):
                at, picture = (int(cells.rows[number]), int(cells.columns[number])), int(cells.pictures[number])
                boxes = field.receptive_field_box(*at), field.patch_box(*at)
                view = figures.neighbour_view(index.picture(picture), *boxes)
                size = "" if index.scales[picture] == 1 else f", at {index.scales[picture]:.0%}"
                caption = f"{similarities[number]:.2f} · {escape_markdown(index.picture_title(picture))}{size}"
                with st.container(width=150):
                    st.image(
                        images.encode(view, format="JPEG"),
                        caption=caption,
                        width=150,
                        alt=f"Neighbour {number + 1} by {layer}",
                    )
    if k > n_shown:
        st.caption(f"The nearest {n_shown} of {k}; all are in the NPZ file below.")


def show_comparison(shown: Shown) -> None:
    """The input under one of the pictures, with a divider to drag."""
    titles = [column.title for column in shown.columns]
    left, right = st.columns([1, 2], gap="medium")
    url_state.check_link("compare_layer", titles)
    url_state.check_link("compare_k", [f"k = {k}" for k in shown.ks])
    title = left.segmented_control(
        "Picture", titles, default=titles[1], key="compare_layer", bind="query-params", required=True
    )
    k = left.segmented_control(
        "k",
        shown.ks,
        default=shown.ks[-1],
        key="compare_k",
        bind="query-params",
        required=True,
        format_func=lambda k: f"k = {k}",
    )
    left.caption("Drag the divider: left of it is the input, right of it what it was rebuilt as.")
    picture = shown.columns[titles.index(title or titles[1])].pictures[shown.ks.index(k or shown.ks[-1])]
    with right:
        compare(
            images.encode(figures.crop(shown.chosen.image, shown.covered), format="JPEG"),
            images.encode(picture, format="JPEG"),
            labels=("input", f"{title}, k = {k}"),
            alt=f"{shown.chosen.title} and its reconstruction by {title}",
            key="compare",
            width=720,
        )


def show_numbers(shown: Shown) -> None:
    """How well layers localise, and how alike the pictures are."""
    original = figures.crop(shown.chosen.image, shown.covered)
    whole = PixelBox(0, 0, original.shape[1], original.shape[0])
    localised = [result.localisation for result in shown.found.values()]
    if any(len(each.offsets) >= FEWEST for each in localised):
        show_localisation(localised, shown.colours)
    else:
        st.info(
            "This photo has too little structure, or is too small for any receptive field to lie inside it, to measure "
            "localisation; choose a larger photo.",
            icon=":material/straighten:",
        )
    st.markdown("**How alike are the pictures?** These reward the right colours, wherever they are: see uniform rf.")
    titles = [column.title for column in shown.columns]
    table: dict[str, list[str]] = {"": titles}
    for position, k in enumerate(shown.ks):
        table[f"similarity, k = {k}"] = [
            "" if (r := shown.found.get(title)) is None else f"{r.retrieval.similarities[:, :k].mean():.3f}"
            for title in titles
        ]
        fidelities = [reconstruction.fidelity(original, column.pictures[position], whole) for column in shown.columns]
        table[f"PSNR, k = {k} (dB)"] = [f"{each.psnr_db:.1f}" for each in fidelities]
        table[f"SSIM, k = {k}"] = [f"{each.ssim:.2f}" for each in fidelities]
    st.dataframe(table, hide_index=True, width="stretch")


def show_localisation(localised: list[Localisation], colours: Mapping[str, str]) -> None:
    """Where retrieved patches match best within their receptive fields."""
    st.markdown(
        "**Are patches put in the right place?** Within each receptive field, where the retrieved patch matches best. "
        "Score: 0.5 is chance, 1 is perfect. Dotted: places drawn uniformly from the receptive field."
    )
    st.dataframe(
        {
            "": [each.layer for each in localised],
            "localisation": [score(each) for each in localised],
            "within 8 px": [share(each) for each in localised],
            "patches measured": [str(len(each.offsets)) for each in localised],
        },
        hide_index=True,
        width="stretch",
    )
    st.caption(
        f"Measured are patches whose receptive field lies inside the photo and which have structure to match; below "
        f"{FEWEST} "
        "nothing is said."
    )
    localised = [each for each in localised if len(each.offsets) >= FEWEST]
    chart, maps = st.columns(2)
    chart.plotly_chart(figures.match_distances(localised, colours), key="distances", config=PLAIN)
    highest = figures.highest_share(localised)
    with maps:
        for place, each in zip(st.columns(len(localised)), localised, strict=True):
            chart = figures.offset_map(each, highest_share=highest, height=220)
            place.plotly_chart(chart, key=f"offsets {each.layer}", config=PLAIN)
        st.caption(
            f"Offsets of the best matches; the right place is in the middle. Brightest: {highest:.0%} of a layer's "
            "matches in a square of 8 px; darkest: none."
        )


def score(localised: Localisation) -> str:
    """A layer's score, where enough was measured."""
    if len(localised.offsets) < FEWEST:
        return "too few patches"
    return f"{localised.score:.2f} ± {localised.score_error:.2f}"


def share(localised: Localisation) -> str:
    """How many matches are near, where enough was measured."""
    near, chance = localised.share_within(8)
    return f"{near:.0%} (chance {chance:.0%})" if len(localised.offsets) >= FEWEST else "too few patches"
