"""A point of one photo, found in another by several networks side by side."""

import streamlit as st

from dashboard.app_pages.match_parts import controls, fields, files, maps, photos
from dashboard.app_pages.match_parts.photos import SIDES, Photo, Side
from dashboard.parts import exports, header, url_state

SECTIONS = ("The point", "All points at once")

HOW = r"""
Both photos are described by every feature; the descriptor at the point, between cells, is compared with every cell of
the other photo by the cosine of their angle. The most similar cell is the place, moved by at most half a cell to where
a parabola through it and its neighbours is highest. *Elsewhere* is the most similar cell at least a tenth of the
photo's longer side away. From the place the way leads back to the most similar place of the first photo: the nearer
to the point, the more the two agree. Two cells are *each other's best* if either is the most similar to the other.

*All cells together* displaces all cells of the photo at once, with the energy of the Alignment page, and takes the
point along; similarity, elsewhere and the way back are as before.
"""


def page() -> None:
    """Two photos, a click, and a map per feature."""
    header.header(
        "Where does each network think this point is?",
        "**Click a point** in either photo: every feature looks for it in the other one. **Look for** maps with one "
        "peak in the right place, although the networks were only ever trained to name images.",
    )
    choice = controls.choose()
    at_photos = st.container()
    both: dict[Side, Photo] = {}
    for side, place in zip(SIDES, st.columns(2, gap="small"), strict=True):
        with place:
            if (photo := photos.choose(side)) is not None:
                both[side] = photo
    if len(both) < len(SIDES):
        st.stop()
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
    found = maps.find(source, target, point, choice)
    with at_photos:
        maps.show_photos(both, of, point, found)
        maps.show_legend(choice, found)
    if header.section_picker("Look at", SECTIONS, key="match_section") == SECTIONS[0]:
        st.markdown(f"**Similarity of the {other} photo to the point of the {of}**")
        maps.show_maps(target, other, choice, found)
    else:
        fields.show(both, choice)
    header.how_computed(
        HOW,
        {
            "networks": ", ".join(
                f"{each.name}, weights {each.digest[:8]}" for each in dict.fromkeys(choice.features.values())
            ),
            "point": f"({point[0]}, {point[1]}) of {source.title}",
            "photos": "; ".join(
                f"{each.title}, {each.image.shape[1]} x {each.image.shape[0]} px" for each in both.values()
            ),
        },
    )
    exports.export_row(
        downloads={
            "matches.csv": lambda: files.table_csv(source, target, point, choice, found),
            "matches.npz": lambda: files.arrays_npz(source, target, point, found),
            "matches.png": lambda: files.figure_png(source, target, point, choice, found),
        },
        python=files.python_lines(both, of, point, choice),
    )


page()
