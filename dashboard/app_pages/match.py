"""Points of one photo, found in another by several networks side by side."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from dashboard.app_pages.match_parts import controls, fields, files, maps, other_photos, own_points, photos
from dashboard.app_pages.match_parts.controls import Choice
from dashboard.app_pages.match_parts.photo import SIDES, Photo, Side
from dashboard.parts import exports, header, url_state

HOW = r"""
Both photos are described by every feature; the descriptor at the point, between cells, is compared with every cell of
the other photo by the cosine of their angle. The most similar cell is the place, whose number is shown, moved by at most half a
cell to where a parabola through it and its neighbours is highest. *Elsewhere* is the most similar cell more than a
tenth of the photo's longer side away. From the place the way leads back to the most similar place of the first photo:
the nearer to the point, the more the two agree. The point's cell and the place's are *each other's best* if each is
the most similar to the other of all.

How *sure* a match is, is the share of matches as similar, as far above elsewhere, with a way back as short and so on that were
right on annotated train photos of cats, cows and horses, by a logistic regression for each feature; a point that the other
photo does not show has no right place. Right is within a tenth of the object's longer side. It is told of features for
which it was learnt (`corrcore train confidence`), and the Results page shows how far it can be trusted.

*All cells together* displaces all cells of the photo at once, with the energy of the Alignment page, at 18 cells on
the longer side, and takes the point along; its similarity is that at the place, and may be below the best elsewhere. How much
more *energy* it takes to have the point's cell elsewhere is the margin of its min-marginals (Kolmogorov, *Convergent
Tree-Reweighted Message Passing*, PAMI 2006).
*Points of your own* are looked for in the same way; right is a place within a tenth of the longer side of the object's box
from where the second photo's annotation has the point of that name. *All points at once* are pairs of cells that are each other's best, however places are found; components are those of
both photos' descriptors together, of unit length.
"""


@dataclass(frozen=True)
class Shown:
    """What a section gives to take along, by file name, the lines of Python that make the same, what is in force, and
    what comes `after` all that.
    """

    downloads: Mapping[str, Callable[[], bytes]]
    python: str
    parameters: Mapping[str, object] = field(default_factory=dict)
    after: Callable[[], None] = lambda: None


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


def one_point(both: Mapping[Side, Photo], choice: Choice, at_photos: Any) -> Shown | None:
    """A point of either photo: its place in the other by every feature, and a map each."""
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
    maps.say_failed(failed, choice)
    if not found:
        return None
    with at_photos:
        maps.show_photos(both, of, point, found)
        maps.show_legend(choice, found)
    st.markdown(f"**Similarity of the {other} photo to the point of the {of}**")
    maps.show_maps(both, other, choice, found)
    return Shown(
        {
            "matches.csv": lambda: files.table_csv(source, target, choice, found),
            "matches.npz": lambda: files.arrays_npz(source, target, point, found),
            "matches.png": lambda: files.figure_png(source, target, point, choice, found),
        },
        files.python_lines(both, of, point, choice),
        {"point": f"({point[0]}, {point[1]}) of {source.title}"},
    )


def points_of_ones_own(both: Mapping[Side, Photo], choice: Choice, at_photos: Any) -> Shown | None:
    """Points that are set on the first photo."""
    shown = own_points.show(both, choice, at_photos)
    if shown is None:
        return None
    return Shown(
        {
            "points.csv": lambda: shown.table_csv(choice),
            "points.json": shown.coco,
            "points.npz": shown.arrays_npz,
            "points.png": shown.figure_png,
        },
        files.python_of_points(both, choice, shown),
        {"points": f"{len(shown.points)}, of {both['first'].title}"},
        lambda: other_photos.show(both["first"], shown.points, shown.feature, choice),
    )


def all_points(both: Mapping[Side, Photo], choice: Choice, at_photos: Any) -> Shown | None:  # noqa: ARG001
    """All cells of both photos, which are shown with them."""
    shown = fields.show(both, choice)
    if shown is None:
        return None
    downloads = {"pairs.csv": shown.pairs_csv, "pairs.npz": shown.arrays_npz, "pairs.png": shown.figure_png}
    return Shown(downloads, files.python_of_pairs(both, choice, shown))


SECTIONS = {"The point": one_point, "Your points": points_of_ones_own, "All points at once": all_points}
LOOK_FOR = {
    "The point": "**Click a point** in either photo: every feature looks for it in the other one. **Look for** maps with "
    "one peak, in the right place.",
    "Your points": "**Set points** on the first photo: each is looked for in the second. **Look for** lines that keep "
    "their order.",
    "All points at once": "**Every cell** of both photos is matched. **Look for** parts that have the same colour in "
    "both.",
}


def page() -> None:
    """Two photos, a click, and a map per feature."""
    asked = st.session_state.get("match_section") or st.query_params.get("match_section")
    look_for = LOOK_FOR.get(asked or "", LOOK_FOR["The point"])
    header.header("Where does each network think this point is?", look_for)
    choice = controls.choose()
    both = choose_photos()
    at_photos = st.container()
    section = header.section_picker("Look at", tuple(SECTIONS), key="match_section")
    shown = SECTIONS[section](both, choice, at_photos)
    if shown is None:
        st.stop()
    header.how_computed(
        HOW,
        {
            **controls.parameters(choice),
            **shown.parameters,
            "photos": "; ".join(
                f"{each.title}, {each.image.shape[1]} x {each.image.shape[0]} px" for each in both.values()
            ),
        },
    )
    exports.export_row(downloads=shown.downloads, python=shown.python)
    shown.after()


page()
