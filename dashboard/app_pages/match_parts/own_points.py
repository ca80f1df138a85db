"""Points of one's own: set on the first photo, named, moved and deleted, with the place of each in the second."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from corrcore import images
from corrcore.crops import BoxXYXY
from corrcore.datasets.points import MAX_BYTES, SUFFIXES, AnnotatedPhoto, NamedPoints, read_points, to_coco
from corrcore.features import Feature
from corrcore.show import MatchView, point_colour
from corrcore.tasks import match_records
from corrcore.tasks.confidence import RIGHT_WITHIN, right_within
from corrcore.tasks.matching import PointMatches
from corrcore.wording import counted
from dashboard.app_pages.match_parts import fields, maps, point_set
from dashboard.app_pages.match_parts.controls import Choice
from dashboard.app_pages.match_parts.photo import SIDES, Photo, Side
from dashboard.app_pages.match_parts.point_set import NAME, X, Y
from dashboard.components import PlacedPoint, image_click
from dashboard.parts import exports, header, upload, url_state
from dashboard.wording import sentence

ROW_PX, MOST_ROWS = 35, 20  # of the table
MOST_NAMED = 10  # points that are named on the photo; more have their row's number
SURE = "Of matches that look like this one, so many were right on annotated photos of cats, cows and horses."
FAULT = "points fault"  # why the last change was not made
EMPTY = "Click the first photo to set a point: it is looked for in the second. Or take points from the right."


@dataclass(frozen=True, eq=False)
class OwnPoints:
    """What the section shows: points of the first photo, their places by every feature, and whose are drawn."""

    photos: Mapping[Side, Photo]
    points: NamedPoints
    found: Mapping[Feature, PointMatches]
    feature: Feature

    def view(self, features: Sequence[Feature]) -> MatchView:
        """Both photos with lines from points to their places, by some of the features."""
        first, second = (self.photos[side] for side in SIDES)
        found = {feature: self.found[feature] for feature in features}
        return MatchView((first.image, second.image), (first.title, second.title), self.points.names, found)

    def table_csv(self, choice: Choice) -> bytes:
        """A line per point and feature, as `corrcore match` writes it."""
        first, second = (self.photos[side].title for side in SIDES)
        records = match_records.records_of(
            self.points.names, self.found, choice.options.method, source=first, target=second
        )
        return match_records.to_csv(records).encode()

    def coco(self) -> bytes:
        """COCO's keypoints of both photos: the points that were set, and their places by every feature."""
        first, second = (self.photos[side] for side in SIDES)
        names = self.points.names
        places = {str(feature): NamedPoints(names, each.places) for feature, each in self.found.items()}
        sure = {str(feature): each.confidences for feature, each in self.found.items()}
        sizes = [(photo.image.shape[1], photo.image.shape[0]) for photo in (first, second)]
        return to_coco(
            [
                AnnotatedPhoto(first.title, sizes[0], {"set": self.points}),
                AnnotatedPhoto(second.title, sizes[1], places, sure),
            ]
        ).encode()

    def arrays_npz(self) -> bytes:
        """Points and places by every feature, in pixels of the photos."""
        found = [*self.found.values()]
        return exports.as_npz(
            {
                "names": [*self.points.names],
                "points": self.points.places,
                "features": [str(feature) for feature in self.found],
                "places": np.stack([each.places for each in found]),
                "similarities": np.stack([each.similarities for each in found]),
                "margins": np.stack([each.margins for each in found]),
                "cycle_errors": np.stack([each.cycle_errors for each in found]),
                "mutual": np.stack([each.mutual for each in found]),
                "confidences": np.stack([each.confidences for each in found]),
            }
        )

    def figure_png(self) -> bytes:
        """The lines by all features."""
        return self.view([*self.found]).to_png()


def show(photos: Mapping[Side, Photo], choice: Choice, at_photos: Any) -> OwnPoints | None:
    """Both photos with the points and their places, and a table in which points are changed; None without any."""
    first, second = (photos[side] for side in SIDES)
    points = point_set.asked(first)
    at_feature, at_more = header.two_a_row("points").columns([2, 1], gap="small", vertical_alignment="bottom")
    feature = fields.choose_feature(at_feature, choice)
    with at_more.popover("Take points from", icon=":material/add_location_alt:", width="stretch"):
        _take(first)
    if fault := st.session_state.pop(FAULT, ""):
        st.error(fault, icon=":material/wrong_location:")
    found, failed = maps.match_all(first, second, points.places, choice) if len(points) else ({}, {})
    maps.say_failed(failed, choice)
    with at_photos:
        _show_photos(photos, points, found.get(feature))
    if not len(points):
        st.info(EMPTY, icon=":material/add_location:")
        return None
    if feature not in found:
        return None
    truth = _truth(points, second)
    st.caption(
        "Names and places may be edited; a row that is selected is deleted. Files to take along have all features."
    )
    _table(first, points, found[feature], truth)
    if second.annotated is not None and np.isfinite(truth).all(axis=1).any():
        st.caption(_right_text(found, truth, second.annotated.box, choice))
    shown = OwnPoints(photos, points, found, feature)
    alt = f"Lines from points of {first.title} to their places in {second.title}"
    st.image(shown.view([feature]).to_png(), width="stretch", alt=alt)
    return shown


def _show_photos(photos: Mapping[Side, Photo], points: NamedPoints, found: PointMatches | None) -> None:
    first, second = (photos[side] for side in SIDES)
    labels = points.names if len(points) <= MOST_NAMED else [str(number) for number in range(1, len(points) + 1)]
    at = url_state.pixel_of(first.image, start=first.start, name="point")
    chosen = point_set.chosen(points, at) if url_state.asked("point_of", "first") == "first" else None
    own = _dots(first, points.places, labels, chosen=chosen, moves=True)
    theirs = _dots(second, _truth(points, second), [""] * len(points), ring=True)
    if found is not None:
        theirs += _dots(second, found.places, labels)
    zoom = maps.zoom_group(photos)
    for place, side, dots in zip(header.two_a_row("photos").columns(2, gap="small"), SIDES, (own, theirs), strict=True):
        photo = photos[side]
        with place:
            image_click(
                images.encode(photo.shown, format="JPEG"),
                alt=f"{photo.title}, the {side} photo, with points",
                key=f"points {side}",
                points=dots,
                on_click=_set(photo) if side == SIDES[0] else None,
                on_move=_move(photo, points.names) if side == SIDES[0] else None,
                zoom=zoom,
                max_height=400,
            )
    rings = " Rings are where they were annotated." * any(each.ring for each in theirs)
    st.caption(
        f"Click the first photo to set a point, drag one to move it; name and delete them in the table.{rings} {maps.ZOOMED}"
    )


def _dots(
    photo: Photo,
    places: np.ndarray,
    labels: Sequence[str],
    *,
    chosen: int | None = None,
    ring: bool = False,
    moves: bool = False,
) -> list[PlacedPoint]:
    """Places of the points in a photo as it is shown, each in its point's colour; those that there are not are left out."""
    return [
        PlacedPoint((x, y), label, point_colour(number), ring=ring, chosen=number == chosen, moves=moves)
        for number, (label, (x, y)) in enumerate(zip(labels, photo.transform.to_crop(places), strict=True))
        if np.isfinite((x, y)).all()
    ]


def _set(photo: Photo) -> Callable[[int, int], None]:
    """What a click does: it looks closer at a point, or sets another."""

    def click(x: int, y: int) -> None:
        points, place = point_set.now(photo), _own_place(photo, (x, y))
        known = point_set.chosen(NamedPoints(points.names, photo.transform.to_crop(points.places)), (x, y))
        if known is not None:
            point_set.choose(points, points.places[known])
        else:
            _change(lambda: point_set.checked(point_set.with_point(points, place), photo), place)

    return click


def _move(photo: Photo, names: Sequence[str]) -> Callable[[int, tuple[int, int]], None]:
    """What a drag of the point of a number does, by the names of those that are shown."""

    def move(number: int, to: tuple[int, int]) -> None:
        place = _own_place(photo, to)
        _change(lambda: point_set.moved(point_set.now(photo), names[number], place), place)

    return move


def _own_place(photo: Photo, shown: tuple[int, int]) -> tuple[float, float]:
    """A pixel of the picture that is shown, in the photo's own, to a tenth."""
    x, y = photo.transform.to_image(np.array(shown, float)).round(1).tolist()
    return x, y


def _change(make: Callable[[], NamedPoints], at: tuple[float, float] | None = None) -> None:
    """Keeps the points that are made; where they cannot be, those that are there stay, and the page says why."""
    try:
        point_set.choose(make(), at)
    except ValueError as error:
        st.session_state[FAULT] = sentence(error)


def _take(photo: Photo) -> None:
    """Points that are there already: the photo's annotation, or a file; and none at all."""
    known = photo.annotated
    st.button(
        "Its annotated keypoints" + ("" if known is None else f" ({len(known.keypoints)})"),
        disabled=known is None or not len(known.keypoints),
        on_click=lambda: _change(lambda: point_set.checked(known.keypoints if known else point_set.NONE, photo)),
        help="Photos of data sets, and drawn animals, have some.",
        width="stretch",
    )
    upload.say_why_not()
    st.file_uploader(
        f"A file of points ({' or '.join(SUFFIXES)})",
        type=[suffix.removeprefix(".") for suffix in SUFFIXES],
        max_upload_size=min(max(MAX_BYTES.values()) // 2**20, upload.most_mb()),
        key="points_file",
        on_change=lambda: _change(lambda: _of_file(photo)),
        help="COCO's keypoints, or lines of name,x,y. They take the place of those that are set.",
    )
    st.button(
        "Delete all points",
        disabled=not len(point_set.now(photo)),
        on_click=lambda: point_set.choose(point_set.NONE),
        width="stretch",
    )


def _of_file(photo: Photo) -> NamedPoints:
    """The points of the file that was put there just now. Raises ValueError for what is wrong with it."""
    file = st.session_state["points_file"]
    if not isinstance(file, UploadedFile):  # taken away again
        return point_set.now(photo)
    return point_set.checked(read_points(file.getvalue(), file.name)(photo.title), photo)


def _truth(points: NamedPoints, photo: Photo) -> np.ndarray:
    """Where a photo's annotation has points of these names, NaN where it has none."""
    places = np.full((len(points), 2), np.nan)
    if photo.annotated is not None:
        known = photo.annotated.keypoints
        for number, name in enumerate(points.names):
            if name in known.names:
                places[number] = known.places[known.names.index(name)]
    return places


def _table(photo: Photo, points: NamedPoints, found: PointMatches, truth: np.ndarray) -> None:
    """A row per point; names and places in the first photo may be edited, and rows added and deleted."""
    known = np.isfinite(truth).all(axis=1)
    columns: dict[str, Any] = {
        **({} if len(points) <= MOST_NAMED else {"#": np.arange(1, len(points) + 1)}),
        NAME: [*points.names],
        X: points.places[:, 0].round(1),
        Y: points.places[:, 1].round(1),
        "Found at x": found.places[:, 0],
        "Found at y": found.places[:, 1],
        "Similarity": found.similarities,
        "Margin": found.margins,
        "Cycle error, px": found.cycle_errors,
        "Mutual": found.mutual,
    }
    if np.isfinite(found.min_marginal_margins).any():
        columns["Energy margin"] = found.min_marginal_margins
    if np.isfinite(found.confidences).any():
        columns["Sure, %"] = 100 * found.confidences
    if known.any():
        columns["Off, px"] = np.linalg.norm(found.places - truth, axis=1)
    key = f"points table {point_set.to_link(points)}"

    def change() -> None:
        changes = st.session_state[key]
        _change(lambda: point_set.edited(point_set.now(photo), points.names, changes, photo))

    number = st.column_config.NumberColumn
    st.data_editor(
        columns,
        key=key,
        on_change=change,
        num_rows="dynamic",
        height=ROW_PX * (min(len(points), MOST_ROWS) + 2) + 3,
        alt=f"Points of {photo.title}, their places and what speaks for them",
        hide_index=True,
        disabled=[name for name in columns if name not in (NAME, X, Y)],
        column_config={
            NAME: st.column_config.TextColumn(max_chars=60, pinned=True),
            **{name: number(format="%.1f", step=0.1) for name in (X, Y)},
            **{name: number(format="%.1f") for name in ("Found at x", "Found at y", "Off, px")},
            "Sure, %": number(format="%.0f", help=SURE),
            "Cycle error, px": number(format="%.1f", help="How far from the point its place leads back."),
            "Similarity": number(format="%.2f", help="Cosine of the descriptors at the point and at its place."),
            "Margin": number(format="%.2f", help="How much more similar it is than the best place elsewhere."),
            "Mutual": st.column_config.CheckboxColumn(help="Whether the two cells choose each other."),
            "Energy margin": number(format="%.3f", help="How much more energy an alignment with it elsewhere has."),
        },
    )


def _right_text(found: Mapping[Feature, PointMatches], truth: np.ndarray, box: BoxXYXY, choice: Choice) -> str:
    """How many places are right, of those whose truth is known, by every feature."""
    n_known = int(np.isfinite(truth).all(axis=1).sum())
    counts = [
        f"{choice.title(feature)} {right_within(np.linalg.norm(each.places - truth, axis=1), box).sum()}"
        for feature, each in found.items()
    ]
    return (
        f"Right within {RIGHT_WITHIN:.0%} of the object's longer side, of {counted(n_known, 'point')} that both photos "
        f"show: {'; '.join(counts)}."
    )
