"""A closer look at one source and its target: the displacement, and where a point lands."""

import numpy as np
import streamlit as st

from corrcore import images
from corrcore.features import Feature
from corrcore.tasks import alignment
from corrcore.tasks.alignment import AlignedPair
from dashboard import figures
from dashboard.components import compare, image_click
from dashboard.parts import legends, url_state
from dashboard.wording import escape_markdown

PLAIN = {"displayModeBar": False}
LANDING = "#d55e00"

ENERGY = r"""
Every cell $p$ of the source is displaced by $w(p)$ to a cell of the target, all together with the least energy

$$ E(w) = \sum_p \|f_s(p) - f_t(p + w(p))\|^2 + \beta \sum_{(p,q)} \|w(p) - w(q)\|^2 $$

with descriptors of unit length and $w$ in cells. Sequential tree-reweighted message passing minimises it and bounds
from below what any displacement could reach; fractions of cells come from parabolas through the costs, bicubic
splines lead from cells to pixels. The energy is that of whole cells, the deformation that of the fractions: the mean
of $\|w(p) - w(q)\|^2$ over cells side by side. SIFT's descriptors differ less from each other than a layer's, so the
same $\beta$ holds them together more firmly. (The paper's 0.003 is for features of another scale.)
"""


def show_displacement(pair: AlignedPair, names: tuple[str, str], feature: Feature) -> None:
    """Source, warped and target, the field in colours and arrows, and how the energy fell; `names` are source's
    and target's.
    """
    found = pair.alignments[feature]
    warped, _ = alignment.warp(pair.source, pair.target, found)
    left, right = st.columns([1, 1], gap="medium")
    with left:
        st.markdown(f"**Target, and the source warped onto it by {feature.title}**")
        compare(
            images.encode(pair.target.image, format="JPEG"),
            images.encode(warped, format="JPEG"),
            labels=("target", "source, warped"),
            alt=f"{names[1]} and {names[0]} warped onto it by {feature.title}",
            key="compare",
            width=720,
        )
        st.caption(f"Target: {escape_markdown(names[1])}. Source: {escape_markdown(names[0])}.")
    with right:
        st.markdown("**Displacement of the source's cells**")
        arrows, colours = st.columns(2, gap="small")
        arrows.image(
            images.encode(figures.displacement_arrows(pair.source.image, found), format="JPEG"),
            caption="as arrows",
            width="stretch",
            alt=f"Displacement of {names[0]} as arrows",
        )
        longest = max(float(np.linalg.norm(found.displacement, axis=-1).max()), 1.0)
        colours.image(
            images.encode(figures.displacement_picture(found, longest=longest), format="PNG"),
            caption="as colours: see the wheel",
            width="stretch",
            alt=f"Displacement of {names[0]} as colours",
        )
        wheel, numbers = st.columns([1, 3], gap="small", vertical_alignment="center")
        with wheel:
            legends.round_picture(
                figures.colour_wheel(), alt="Colours of directions: red to the right, others clockwise"
            )
        solution = found.solution
        gap = "" if not np.isfinite(solution.lower_bound) else f", at most {max(solution.gap, 0):.2f} above the optimum"
        numbers.markdown(
            f"Rim of the wheel: {longest:.1f} cells. Deformation {found.deformation:.2f} cells² per pair of "
            "neighbouring "
            f"cells. Energy {solution.energy:.2f} = likeness {solution.data:.2f} + smoothness "
            f"{solution.smoothness:.2f}{gap}."
        )
    st.plotly_chart(figures.energy_history(found.solution), key="energy", config=PLAIN)


def chosen_point(pair: AlignedPair) -> tuple[tuple[int, int], np.ndarray]:
    """The point that was clicked last: the pixel of the source's picture, and the point of its photo."""
    pixel = url_state.pixel_of(pair.source.image)
    return pixel, pair.source.transform.to_image(np.array(pixel, dtype=float))


def show_point(pair: AlignedPair, names: tuple[str, str]) -> None:
    """A clicked point of the source, where it lands by each feature, and how like it every place of the target is."""
    pixel, point = chosen_point(pair)
    places = st.columns(1 + len(pair.alignments), gap="small")
    with places[0]:
        st.markdown("**source**")
        image_click(
            images.encode(pair.source.image, format="JPEG"),
            alt=f"{names[0]}: click a point",
            key="point",
            selected=pixel,
            places=pair.source.transform.edges,
            on_click=lambda x, y: url_state.choose("at", f"{x},{y}"),
        )
        st.caption(f"Click a point; now {_at(point)} of {escape_markdown(names[0])}.")
    for place, feature in zip(places[1:], pair.alignments, strict=True):
        similarity, lands = pair.similarity(feature, point), pair.to_target(feature, point)
        best = pair.target_points(feature).reshape(-1, 2)[similarity.argmax()]
        x, y = pair.target.transform.to_crop(lands).tolist()
        with place:
            st.markdown(f"**{feature.title}**")
            drawn = figures.similarity_overlay(pair.target.image, similarity)
            drawn = figures.draw_crosses(drawn, [((2 * x + 0.5, 2 * y + 0.5), LANDING)], scale=1)
            alt = f"{names[1]}, likeness of its cells to the point by {feature.title}"
            st.image(images.encode(drawn, format="JPEG"), width="stretch", alt=alt)
            st.caption(
                f"Target. Lands at {_at(lands)} of {escape_markdown(names[1])}; the likest cell is at {_at(best)}, "
                f"cosine {similarity.max():.2f}."
            )
    legends.colour_bar(figures.viridis_colours(), "likeness of the target's cells (cosine): 0", "1")
    st.caption("Places are (x, y) in pixels of the photos themselves.")


def _at(point: np.ndarray) -> str:
    """A point in words, in whole pixels."""
    x, y = (round(each) + 0 for each in point.tolist())  # + 0: no minus zero
    return f"({x}, {y})"
