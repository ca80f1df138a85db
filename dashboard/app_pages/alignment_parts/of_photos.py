"""Two photos of one's own, brought into line."""

from collections.abc import Callable

import numpy as np
import streamlit as st

from corrcore import images
from corrcore.concurrency import Progress
from corrcore.features import Extractor
from corrcore.tasks import alignment
from corrcore.tasks.alignment import AlignedPair
from dashboard.app_pages.alignment_parts import controls, files
from dashboard.app_pages.alignment_parts.controls import Choice
from dashboard.app_pages.alignment_parts.pair_view import ENERGY, chosen_point, show_displacement, show_point
from dashboard.parts import exports, header, job_panel, pickers, upload, url_state
from dashboard.wording import escape_markdown

SECTIONS = ("Displacement", "A point")
LOOK_FOR = (
    "The first photo is warped onto the second by matching features and holding the warp smooth. **Look for** "
    "parts that land "
    "in place, by either feature: click a point to see where it goes."
)
HOW = (
    "Both photos are scaled to 18 cells on the longer side, and widened to whole cells by repeating their borders."
    + ENERGY
    + "\nLong, Zhang and Darrell (2014), Section 4."
)


def page() -> None:
    """The mode of the page that looks at two photos."""
    st.markdown(LOOK_FOR)
    at_network, *places = header.two_a_row("controls").columns(
        [3, 3, 3, 3, 2], gap="small", vertical_alignment="bottom"
    )
    network = pickers.choose_network(at_network)
    choice = controls.choose(network, places, ("First feature", "Second feature"))
    photos, names = _upload_both()
    key = ("photos", *(images.digest(photo) for photo in photos), choice.key(network))
    pair: AlignedPair = job_panel.view(_aligning(photos, network, choice), "Aligning two photos", key)
    warped = {each: alignment.warp(pair.source, pair.target, found)[0] for each, found in pair.alignments.items()}
    places = header.two_a_row("figure").columns(2 + len(warped), gap="small")
    sides = zip(("source", "target"), names, (pair.source.image, pair.target.image), strict=True)
    for place, (title, name, image) in zip(places, sides, strict=False):
        place.markdown(f"**{title}**")
        place.image(images.encode(image, format="JPEG"), width="stretch", alt=f"{name}, the {title}")
        place.caption(escape_markdown(name))
    for place, (feature, picture) in zip(places[2:], warped.items(), strict=True):
        place.markdown(f"**warped by {feature.title}**")
        alt = f"{names[0]}, warped by {feature.title}"
        place.image(images.encode(picture, format="JPEG"), width="stretch", alt=alt)
        place.caption(f"deformation {pair.alignments[feature].deformation:.2f}")
    url_state.check_pixel(pair.source.image)
    section = header.section_picker("Look closer", SECTIONS, key="alignment_section")
    if section == SECTIONS[0]:
        by_title = {feature.title: feature for feature in choice.each}
        by = st.segmented_control("By", list(by_title), default=choice.each[0].title, key="pair_by", required=True)
        show_displacement(pair, names, by_title.get(by, choice.each[0]))
    else:
        show_point(pair, names)
    _, point = chosen_point(pair)
    sizes = [f"{name}, {photo.shape[1]} x {photo.shape[0]} px" for name, photo in zip(names, photos, strict=True)]
    header.how_computed(HOW, {"photos": " and ".join(sizes)} | controls.parameters(network, choice))
    exports.export_row(
        downloads={
            "alignment.png": lambda: files.photos_sheet(pair, warped),
            "alignment.npz": lambda: files.pair_file(pair, names, point),
        },
        python=files.python_of_photos(names, network, choice, point),
        state={"network": network.name},
    )


def _upload_both() -> tuple[tuple[np.ndarray, np.ndarray], tuple[str, str]]:
    """Two photos and their names; the page stops while there are fewer."""
    found = []
    for place, what in zip(st.columns(2), ("Source, to be warped", "Target"), strict=True):
        with place:
            found.append(upload.upload(what))
    first, second = found
    if first is None or second is None:
        st.info(
            "Upload two photos of the same kind of thing, each cropped to it. They stay in this session's memory.",
            icon=":material/upload_file:",
        )
        st.stop()
    return (first[0], second[0]), (first[1], second[1])


def _aligning(photos: tuple[np.ndarray, np.ndarray], network: Extractor, choice: Choice) -> Callable[..., AlignedPair]:
    def work(*, progress: Progress) -> AlignedPair:
        return alignment.align_photos(
            *photos,
            choice.each,
            network=network,
            smoothness=choice.smoothness,
            options=choice.options,
            progress=progress,
        )

    return work
