"""A point of one photo, found in another by several networks side by side."""

import streamlit as st

from dashboard.app_pages.match_parts import controls, fields, files, maps, photos
from dashboard.app_pages.match_parts.photos import SIDES, Photo, Side
from dashboard.parts import exports, header, url_state
from dashboard.wording import sentence

SECTIONS = ("The point", "All points at once")

HOW = r"""
Both photos are described by every feature; the descriptor at the point, between cells, is compared with every cell of
the other photo by the cosine of their angle. The most similar cell is the place, whose number is shown, moved by at most half a
cell to where a parabola through it and its neighbours is highest. *Elsewhere* is the most similar cell more than a
tenth of the photo's longer side away. From the place the way leads back to the most similar place of the first photo:
the nearer to the point, the more the two agree. The point's cell and the place's are *each other's best* if each is
the most similar to the other of all.

*All cells together* displaces all cells of the photo at once, with the energy of the Alignment page, at 18 cells on
the longer side, and takes the point along; its similarity is that at the place, and may be below the best elsewhere.
*All points at once* are pairs of cells that are each other's best, however places are found; components are those of
both photos' descriptors together, of unit length.
"""


def choose_photos() -> dict[Side, Photo]:
    """Both photos; the page stops where one is not here."""
    both: dict[Side, Photo] = {}
    for side, place in zip(SIDES, st.columns(2, gap="small"), strict=True):
        with place:
            if (photo := photos.choose(side)) is not None:
                both[side] = photo
    if len(both) < len(SIDES):
        st.stop()
    return both


def page() -> None:
    """Two photos, a click, and a map per feature."""
    header.header(
        "Where does each network think this point is?",
        "**Click a point** in either photo: every feature looks for it in the other one. **Look for** maps with one "
        "peak, in the right place.",
    )
    choice = controls.choose()
    at_photos = st.container()
    both = choose_photos()
    url_state.check_choice(
        "point_of",
        asked := url_state.asked("point_of", "first"),
        asked in SIDES,
        "A point is of the first photo or of the second.",
    )
    of: Side = "second" if asked == "second" else "first"
    other: Side = "first" if of == "second" else "second"
    source, target = both[of], both[other]
    url_state.check_pixel(source.image, name="point")
    point = url_state.pixel_of(source.image, start=source.start, name="point")
    found, failed = maps.find(source, target, point, choice)
    for feature, reason in failed.items():
        st.warning(
            f"No place by {choice.title(feature)}. {sentence(reason)}", icon=":material/photo_size_select_small:"
        )
    if not found:
        st.stop()
    with at_photos:
        maps.show_photos(both, of, point, found)
        maps.show_legend(choice, found)
    if header.section_picker("Look at", SECTIONS, key="match_section") == SECTIONS[0]:
        st.markdown(f"**Similarity of the {other} photo to the point of the {of}**")
        maps.show_maps(target, other, choice, found)
        downloads = {
            "matches.csv": lambda: files.table_csv(source, target, choice, found),
            "matches.npz": lambda: files.arrays_npz(source, target, point, found),
            "matches.png": lambda: files.figure_png(source, target, point, choice, found),
        }
        python = files.python_lines(both, of, point, choice)
    else:
        shown = fields.show(both, choice)
        if shown is None:
            st.stop()
        downloads = {"pairs.csv": shown.pairs_csv, "pairs.npz": shown.arrays_npz, "pairs.png": shown.figure_png}
        python = files.python_of_pairs(both, choice, shown)
    header.how_computed(
        HOW,
        {
            **controls.parameters(choice),
            "point": f"({point[0]}, {point[1]}) of {source.title}",
            "photos": "; ".join(
                f"{each.title}, {each.image.shape[1]} x {each.image.shape[0]} px" for each in both.values()
            ),
        },
    )
    exports.export_row(downloads=downloads, python=python)


page()
