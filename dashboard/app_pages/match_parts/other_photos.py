"""Points of one's own as a small category of one's own: found in more photos, uploaded or of the photo's data set."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st

from corrcore import decoding, images
from corrcore.concurrency import Progress
from corrcore.datasets.points import AnnotatedPhoto, NamedPoints, to_coco
from corrcore.datasets.records import Photo as AnyPhoto
from corrcore.features import Feature
from corrcore.tasks import match_records
from corrcore.tasks.matching import Method
from corrcore.tasks.points_transfer import TransferredPoints, transfer_points
from corrcore.wording import counted
from dashboard import figures
from dashboard.app_pages.match_parts.controls import Choice
from dashboard.app_pages.match_parts.photo import Photo
from dashboard.parts import header, job_panel, photo_picker, upload
from dashboard.wording import escape_markdown

MOST_PHOTOS = 24
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
class Transferred:
    """Where a feature finds named points of a photo in others, pictures of these, and why some are left out."""

    source: str
    names: Sequence[str]
    feature: Feature
    method: Method
    found: Sequence[TransferredPoints[AnyPhoto]]
    pictures: Sequence[np.ndarray]
    left_out: Sequence[tuple[str, str]]

    def table_csv(self) -> bytes:
        """A line per photo and point, as `corrcore match` writes it."""
        records = [
            record
            for each in self.found
            for record in match_records.records_of(
                self.names, each.matches, self.method, source=self.source, target=each.photo.name
            )
        ]
        return match_records.to_csv(records).encode()

    def coco(self) -> bytes:
        """COCO's keypoints, all photos of one category."""
        named = [(each, NamedPoints(tuple(self.names), each.matches[self.feature].places)) for each in self.found]
        annotated = [AnnotatedPhoto(each.photo.name, each.size, {str(self.feature): points}) for each, points in named]
        return to_coco(annotated, category=f"points of {self.source}").encode()


def show(photo: Photo, points: NamedPoints, feature: Feature, choice: Choice) -> None:
    """What asks for photos, and the points in each of them, to look at and to take along."""
    with st.expander("Find these points in more photos", icon=":material/photo_library:"):
        others = _choose(photo)
        if not others:
            st.caption(f"Up to {MOST_PHOTOS} at a time; `corrcore match photo.jpg folder/` takes a whole folder.")
            return
        network, options = choice.features[feature], choice.options

        def work(*, progress: Progress) -> Transferred:
            left_out: list[tuple[str, str]] = []
            found = list(
                transfer_points(
                    photo.image, points.places, others, [feature], network=network, options=options,
                    leave_out=lambda name, reason: left_out.append((name, reason)), progress=progress,
                )
            )  # fmt: skip
            pictures = [_picture(each, feature) for each in found]
            return Transferred(photo.title, points.names, feature, options.method, found, pictures, left_out)

        asked = (photo.digest, points.names, points.places.tobytes(), tuple(each.stamp for each in others))
        label = f"Finding {counted(len(points), 'point')} in {counted(len(others), 'photo')}"
        done = job_panel.view(work, label, ("other photos", *asked, feature, network.digest, options))
        _show(done)


def _choose(photo: Photo) -> Sequence[AnyPhoto]:
    """Photos that are uploaded, or else, where that is asked for, of the data set that the photo is of."""
    beside = () if photo.annotated is None else photo.annotated.beside
    if beside and st.toggle(f"Others of its data set ({min(len(beside), MOST_PHOTOS)})", key="others_of_its_set"):
        return beside[:MOST_PHOTOS]
    files = upload.several("More photos", key="other_photos", most=MOST_PHOTOS)
    return [UploadedPhoto(decoding.display_name(each.name), each.file_id, each.getvalue()) for each in files]


def _picture(found: TransferredPoints[AnyPhoto], feature: Feature) -> np.ndarray:
    pixels = found.photo.load()
    shown = photo_picker.working_size(pixels)
    places = (found.matches[feature].places + 0.5) * shown.shape[1] / pixels.shape[1] - 0.5
    return figures.draw_dots(shown, places, figures.keypoint_rgb(len(places)))


def _show(done: Transferred) -> None:
    for name, reason in done.left_out:
        st.warning(f"{escape_markdown(name)} is left out: {escape_markdown(reason)}", icon=":material/broken_image:")
    for first in range(0, len(done.found), A_ROW):
        row = header.two_a_row(f"others {first}").columns(A_ROW, gap="small")
        for place, each, picture in zip(row, done.found[first:], done.pictures[first:], strict=False):
            alt = f"{each.photo.name} with {counted(len(done.names), 'point')}"
            place.image(images.encode(picture, format="JPEG"), caption=each.photo.name, width="stretch", alt=alt)
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
