"""All points at once: cells of two photos that choose each other, and components of both photos as colours."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import streamlit as st

from corrcore import images
from corrcore.features import Feature
from corrcore.tasks import all_points
from corrcore.tasks.all_points import MutualMatches
from corrcore.tasks.matching import DescribedExtent
from corrcore.wording import counted
from dashboard import figures
from dashboard.app_pages.match_parts.controls import Choice, title
from dashboard.app_pages.match_parts.maps import described_both, over_photo
from dashboard.app_pages.match_parts.photo import SIDES, Photo, Side
from dashboard.parts import exports, header, url_state
from dashboard.wording import sentence

Drawing = Literal["dots", "lines"]
DRAWN: Mapping[Drawing, str] = {"dots": "Colours of places", "lines": "Lines"}
MOST_LINES = 150
GREY = 160  # of what has no colour


@dataclass(frozen=True, eq=False)
class Fields:
    """What the section shows by a feature: pairs of cells, both photos' components, and the pictures of them."""

    feature: Feature
    foreground: bool
    pairs: MutualMatches
    components: tuple[np.ndarray, np.ndarray]
    pictures: list[np.ndarray]

    def pairs_csv(self) -> bytes:
        """A line per pair, the most similar first, in pixels of the photos."""
        lines = zip(self.pairs.points.tolist(), self.pairs.places.tolist(), self.pairs.similarities, strict=True)
        return exports.as_csv(
            [
                {
                    "feature": str(self.feature),
                    "x": round(x, 3),
                    "y": round(y, 3),
                    "place_x": round(place_x, 3),
                    "place_y": round(place_y, 3),
                    "similarity": round(float(similarity), 6),
                }
                for (x, y), (place_x, place_y), similarity in lines
            ]
        )

    def arrays_npz(self) -> bytes:
        """The pairs, and the components of all cells, NaN where they have none."""
        first, second = self.components
        return exports.as_npz(
            {
                "feature": str(self.feature),
                "points": self.pairs.points,
                "places": self.pairs.places,
                "similarities": self.pairs.similarities,
                "first_components": first,
                "second_components": second,
            }
        )

    def figure_png(self) -> bytes:
        """The pictures, in a row."""
        columns = [figures.Column("", [picture]) for picture in self.pictures]
        return images.encode(figures.image_grid(columns, [str(self.feature)]), format="PNG")


def show(photos: Mapping[Side, Photo], choice: Choice) -> Fields | None:
    """By one of the features: matches over both photos, and both photos in the colours of their components; None, and
    why, where these cannot be had.
    """
    at_feature, at_drawing, at_foreground = header.two_a_row("fields").columns(
        [2, 2, 3], gap="small", vertical_alignment="bottom"
    )
    feature = choose_feature(at_feature, choice)
    url_state.check_link("drawn_as", list(DRAWN.values()))
    drawing = at_drawing.selectbox(
        "Matches as", list(DRAWN), format_func=DRAWN.get, key="drawn_as", bind="query-params"
    )
    foreground = at_foreground.toggle(
        "Components of the foreground", key="foreground", bind="query-params",
        help="Cells on one side of a threshold along the first component, the side of which less lies along the borders.",
    )  # fmt: skip
    described, failed = described_both((photos["first"], photos["second"]), choice)
    if feature in failed:
        st.warning(sentence(failed[feature]), icon=":material/photo_size_select_small:")
        return None
    first, second = described[feature]
    whole: dict[Side, DescribedExtent] = {"first": first, "second": second}
    try:
        found = all_points.mutual_matches(first, second)
        colours = all_points.principal_colours(first, second, foreground=foreground)
    except ValueError as error:
        st.warning(sentence(error), icon=":material/hourglass:")
        return None
    pictures = show_matches(photos, whole, found, drawing or "dots", choice.title(feature))
    pictures += show_components(photos, whole, colours, choice.title(feature))
    return Fields(feature, foreground, found, colours, pictures)


def choose_feature(place: Any, choice: Choice) -> Feature:
    """The one of the features whose matches are drawn."""
    offered = [*choice.features]
    url_state.spell_out("field_by", {str(feature): title(feature) for feature in offered})
    url_state.check_link("field_by", [title(feature) for feature in offered])
    url_state.forget_unoffered("field_by", offered)
    return place.selectbox("By", offered, format_func=title, key="field_by", bind="query-params") or offered[0]


def show_matches(
    photos: Mapping[Side, Photo],
    whole: Mapping[Side, DescribedExtent],
    found: MutualMatches,
    drawing: Drawing,
    title: str,
) -> list[np.ndarray]:
    """The cells that choose each other, coloured by where they are in the first photo; the pictures."""
    n = len(whole[SIDES[0]].grid.cells)
    st.markdown(f"**Cells that choose each other, by {title}**")
    first, second = (photos[side] for side in SIDES)
    points, places = first.transform.to_crop(found.points), second.transform.to_crop(found.places)
    colours = figures.place_colours(points, (first.shown.shape[1], first.shown.shape[0]))
    if drawing == "lines":
        most = slice(MOST_LINES)
        picture = figures.draw_lines(first.shown, second.shown, points[most], places[most], colours[most])
        pictures = [picture]
        alt = f"Lines from {first.title} to {second.title}"
        st.image(images.encode(picture, format="JPEG"), width="stretch", alt=alt)
    else:
        pictures = []
        for place, photo, at in zip(
            header.two_a_row("dots").columns(2, gap="small"), (first, second), (points, places), strict=True
        ):
            picture = figures.draw_dots(photo.shown, at, colours)
            pictures.append(picture)
            place.image(images.encode(picture, format="JPEG"), width="stretch", alt=f"{photo.title}, places in colours")
    st.caption(said(found, n, drawing))
    return pictures


def said(found: MutualMatches, n_cells: int, drawing: Drawing) -> str:
    """How many there are, and what is drawn."""
    share = len(found.points) / n_cells
    text = f"{counted(len(found.points), 'pair')}: {share:.0%} of the first photo's {n_cells} cells"
    if drawing == "lines" and len(found.points) > MOST_LINES:
        text += f"; lines are drawn between the {MOST_LINES} most similar"
    colours = "A dot in the second photo has the colour of the one in the first that it belongs to." * (
        drawing == "dots"
    )
    return f"{text}. {colours}"


def show_components(
    photos: Mapping[Side, Photo],
    whole: Mapping[Side, DescribedExtent],
    colours: tuple[np.ndarray, np.ndarray],
    title: str,
) -> list[np.ndarray]:
    """Both photos in the colours of their first three principal components together; the pictures."""
    pictures = []
    st.markdown(f"**Principal components of both photos together as colours, by {title}**")
    places = header.two_a_row("components").columns(2, gap="small")
    for place, side, values in zip(places, SIDES, colours, strict=True):
        photo = photos[side]
        levels = np.stack([over_photo(values[..., axis], whole[side], photo) for axis in range(3)], axis=-1)
        picture = np.rint(np.nan_to_num(255 * levels, nan=GREY)).astype(np.uint8)
        pictures.append(picture)
        place.image(
            images.encode(picture, format="PNG"),
            width="stretch",
            alt=f"{photo.title}, components by {title} as colours",
        )
    st.caption(
        "Red, green and blue are the first three components of all cells of both photos: what has a colour in one photo "
        "is, to the feature, like what has it in the other. Grey has none: the rim, and what is no foreground."
    )
    return pictures
