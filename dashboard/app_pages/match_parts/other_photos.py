"""Points of one's own as a small category of one's own: found in more photos, uploaded or of the photo's data set."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st
from PIL import ImageColor

from corrcore import decoding, images
from corrcore.concurrency import Progress
from corrcore.datasets.points import AnnotatedPhoto, NamedPoints, to_coco
from corrcore.datasets.records import Photo as AnyPhoto
from corrcore.features import Feature
from corrcore.show import point_colour
from corrcore.tasks import match_records
from corrcore.tasks.matching import Method, PointMatches
from corrcore.tasks.points_transfer import TransferredPoints, transfer_points
from corrcore.wording import counted
from dashboard import figures
from dashboard.app_pages.match_parts.controls import Choice
from dashboard.app_pages.match_parts.photo import Photo
from dashboard.parts import header, job_panel, upload
from dashboard.services import caches
from dashboard.wording import escape_markdown

MOST_PHOTOS = 24
ASKED = "other photos asked"  # what was asked for last
A_ROW = 4


@dataclass(frozen=True)
class UploadedPhoto:
    """A file that was uploaded, decoded when it is needed; `stamp` is Streamlit's name of it."""

    name: str
    stamp: str
    content: bytes

    def load(self) -> np.ndarray:
        """Its pixels. Raises ImageError for what is no photo."""
        return decoding.decode(self.content, name=self.name)


@dataclass(frozen=True, eq=False)
class InPhoto:
    """A photo of ``(width, height)`` px, where the points lie in it, and the picture of that. Its file is not kept."""

    name: str
    size: tuple[int, int]
    matches: PointMatches
    picture: np.ndarray


@dataclass(frozen=True, eq=False)
class Transferred:
    """Where a feature finds named points of a photo in others, and why some are left out."""

    source: str
    names: Sequence[str]
    feature: Feature
    method: Method
    found: Sequence[InPhoto]
    left_out: Sequence[tuple[str, str]]

    def table_csv(self) -> bytes:
        """A line per photo and point, as `corrcore match` writes it."""
        records = [
            record
            for each in self.found
            for record in match_records.records_of(
                self.names, {self.feature: each.matches}, self.method, source=self.source, target=each.name
            )
        ]
        return match_records.to_csv(records).encode()

    def coco(self) -> bytes:
        """COCO's keypoints, all photos of one category."""
        name, names = str(self.feature), tuple(self.names)
        annotated = [
            AnnotatedPhoto(
                each.name,
                each.size,
                {name: NamedPoints(names, each.matches.places)},
                {name: each.matches.confidences},
            )
            for each in self.found
        ]
        return to_coco(annotated, category=f"points of {self.source}").encode()


def show(photo: Photo, points: NamedPoints, feature: Feature, choice: Choice) -> None:
    """What asks for photos, and, once that is asked for, the points in each of them, to look at and to take along."""
    with st.expander("Find these points in more photos", icon=":material/photo_library:"):
        others = _choose(photo)
        st.caption(f"Up to {MOST_PHOTOS} at a time; `corrcore match photo.jpg folder/` takes a whole folder.")
        network, options = choice.features[feature], choice.options
        asked = (photo.digest, points.places.tobytes(), tuple(str(each.stamp) for each in others))
        key = ("other photos", *asked, feature, network.digest, options)
        label = f"Find {counted(len(points), 'point')} in {counted(len(others), 'photo')}"
        if st.button(label, icon=":material/search:", disabled=not others):
            st.session_state[ASKED] = key
        if not others or st.session_state.get(ASKED) != key:
            return

        def work(*, progress: Progress) -> Sequence[InPhoto | tuple[str, str]]:
            left_out: list[tuple[str, str]] = []
            found = transfer_points(
                photo.image, points.places, others, [feature], network=network, options=options,
                leave_out=lambda name, reason: left_out.append((name, reason)), progress=progress,
                results=caches.results(),
            )  # fmt: skip
            return [*(_in_photo(each, feature) for each in found), *left_out]

        done = job_panel.view(work, label, key)
        found = [each for each in done if isinstance(each, InPhoto)]
        left_out = [each for each in done if not isinstance(each, InPhoto)]
        _show(Transferred(photo.title, points.names, feature, options.method, found, left_out))


def _choose(photo: Photo) -> Sequence[AnyPhoto]:
    """Photos that are uploaded, or else, where that is asked for, of the data set that the photo is of."""
    beside = () if photo.annotated is None else photo.annotated.beside
    if beside and st.toggle(f"Others of its data set ({min(len(beside), MOST_PHOTOS)})", key="others_of_its_set"):
        return beside[:MOST_PHOTOS]
    files = upload.several("More photos", key="other_photos", most=MOST_PHOTOS)
    names = [decoding.display_name(each.name) for each in files]
    titles = [name if names.count(name) == 1 else f"{number} {name}" for number, name in enumerate(names, start=1)]
    return [UploadedPhoto(title, each.file_id, each.getvalue()) for title, each in zip(titles, files, strict=True)]


def _in_photo(found: TransferredPoints[AnyPhoto], feature: Feature) -> InPhoto:
    photo, matches = Photo(found.photo.load(), found.photo.name, "", ""), found.matches[feature]
    places = photo.transform.to_crop(matches.places)
    colours = np.array([ImageColor.getrgb(point_colour(number)) for number in range(len(places))])
    picture = figures.draw_dots(photo.shown, places, colours)
    return InPhoto(photo.title, found.size, matches, picture)


def _show(done: Transferred) -> None:
    for name, reason in done.left_out:
        st.warning(f"{escape_markdown(name)} is left out: {escape_markdown(reason)}", icon=":material/broken_image:")
    for first in range(0, len(done.found), A_ROW):
        row = header.two_a_row(f"others {first}").columns(A_ROW, gap="small")
        for place, each in zip(row, done.found[first:], strict=False):
            alt, caption = f"{each.name} with {counted(len(done.names), 'point')}", escape_markdown(each.name)
            place.image(images.encode(each.picture, format="JPEG"), caption=caption, width="stretch", alt=alt)
    if not done.found:
        return
    with st.container(horizontal=True, gap="small"):
        for name, make, label in (
            ("transferred.csv", done.table_csv, "All places, CSV"),
            ("transferred.json", done.coco, "All places, COCO"),
        ):
            st.download_button(
                label, make, file_name=name, key=f"download {name}", on_click="ignore", icon=":material/download:"
            )
