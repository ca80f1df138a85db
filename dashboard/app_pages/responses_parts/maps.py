"""Scores of every pixel: classifiers, their maps, and the panels that show them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import streamlit as st

from corrcore import extractors, images
from corrcore.cli.evaluate import field_arguments
from corrcore.concurrency import Progress, part
from corrcore.experiments import ClassifierTraining, TrainedOn
from corrcore.features import Extractor, Feature
from corrcore.geometry import PixelBox, ReceptiveField
from corrcore.tasks import responses
from corrcore.tasks.classification import KeypointClassifier
from corrcore.tasks.responses import ResponseMap
from corrcore.wording import counted
from dashboard import figures
from dashboard.app_pages.responses_parts.controls import Asked
from dashboard.app_pages.responses_parts.target import Seen
from dashboard.components import Outline, image_click
from dashboard.parts import header, job_panel, legends, result_panel, url_state
from dashboard.services import caches, processes, sessions
from dashboard.titles import keypoint_title
from dashboard.wording import escape_markdown, sentence

WHOLE, SQUARE = "The whole picture", f"{responses.SIDE_PX} x {responses.SIDE_PX} px around the keypoint"
PLAIN = {"displayModeBar": False}
TRUTH, HIGHEST = "#ffd500", "#009e73"
LIMIT = 1.0  # of the colours, the same for all panels and objects: the margin


@dataclass(frozen=True, eq=False)
class Scores:
    """What is shown: every class's scores by feature, and the chosen keypoint's at every pixel, NaN where there
    are none.

    `limits` are the scores of full colour.
    """

    maps: Mapping[Feature, ResponseMap]
    classifiers: Mapping[Feature, KeypointClassifier]
    own: Mapping[Feature, np.ndarray]
    limits: Mapping[Feature, float]


def classifiers_of(asked: Asked, trained_on: TrainedOn) -> dict[Feature, KeypointClassifier]:
    """The classifiers of the features. Where some are missing they are trained, on photos at the press of a
    button; the page stops meanwhile.
    """
    found = _kept(asked, trained_on) or _train(asked, trained_on)
    if any(asked.keypoint not in each.names for each in found.values()):
        st.info(
            f"No train object of {escape_markdown(asked.category)} shows "
            f"{escape_markdown(keypoint_title(asked.keypoint))}; "
            "choose another keypoint.",
            icon=":material/visibility_off:",
        )
        st.stop()
    return found


def _kept(asked: Asked, trained_on: TrainedOn) -> dict[Feature, KeypointClassifier] | None:
    """The classifiers of all features asked for, once they are there."""
    kept = {feature: trained_on.kept(feature) for feature in asked.features}
    found = {feature: each for feature, each in kept.items() if each is not None}
    return found if len(found) == len(kept) else None


def _train(asked: Asked, trained_on: TrainedOn) -> dict[Feature, KeypointClassifier]:
    """The same, trained: on photos at the press of a button; the page stops meanwhile."""
    missing = [feature for feature in asked.features if trained_on.kept(feature) is None]
    key = ("training", trained_on.state, asked.network.digest, asked.protocol_name, *map(str, asked.features))
    label = f"Training classifiers of {asked.category}"

    def here(*, progress: Progress) -> dict[Feature, KeypointClassifier]:
        return trained_on.train_missing(asked.features, progress=progress)

    def read() -> dict[Feature, KeypointClassifier] | None:
        job = sessions.long_job(key)
        return _kept(asked, trained_on) or (None if job is None else job.result)  # though it could not be kept

    if asked.data.synthetic:
        return job_panel.view(here, label, key)
    asked_for = ClassifierTraining(
        asked.source, asked.category, asked.network.name, tuple(missing), asked.protocol_name
    )
    found = result_panel.result_panel(
        f"Classifiers of {escape_markdown(asked.category)} have to be trained first",
        f"By {', '.join(feature.title for feature in missing)}, on {counted(len(trained_on.train), 'train object')}; "
        "that takes a few minutes, once.",
        key,
        processes.of_command(lambda: ["train", "classifiers", *field_arguments(asked_for)], here),
        read=read,
        button="Train",
        label=label,
    )
    if found is None:
        st.stop()
    return found


def scores_of(asked: Asked, seen: Seen, trained_on: TrainedOn) -> Scores:
    """The maps of the picture; the page stops while they are made, and where the picture is too small for a feature."""
    classifiers = classifiers_of(asked, trained_on)
    height, width = seen.image.shape[:2]
    try:
        for feature in asked.features:
            extractors.valid_region(feature, (width, height), network=asked.network)
    except ValueError as error:
        st.error(sentence(error), icon=":material/broken_image:")
        st.stop()
    key = (
        "maps",
        images.digest(seen.image),
        asked.features,
        asked.network.digest,
        trained_on.state,
        asked.protocol_name,
    )
    maps = job_panel.view(
        _mapping(seen.image, classifiers, asked.network, key),
        "Scores of every pixel",
        key,
        meanwhile=lambda: _show_picture(asked, seen),
    )
    own = {
        feature: _everywhere(each, classifiers[feature].names.index(asked.keypoint), seen.image)
        for feature, each in maps.items()
    }
    limits = {name: max(float(np.nanmax(values)), 0.1) if asked.alone else LIMIT for name, values in own.items()}
    return Scores(maps, classifiers, own, limits)


def _show_picture(asked: Asked, seen: Seen) -> None:
    """The picture, where its maps will lie over it."""
    picture = images.encode(seen.image, format="JPEG")
    places = header.two_a_row("maps").columns(max(len(asked.features), 2), gap="small")
    for place, feature in zip(places, asked.features, strict=False):
        place.markdown(f"**{feature.title}**")
        place.image(picture, width="stretch", alt=f"{seen.title}, before its scores by {feature.title} are there")


def _mapping(
    image: np.ndarray, classifiers: Mapping[Feature, KeypointClassifier], network: Extractor, key: tuple[object, ...]
) -> Callable[..., dict[Feature, ResponseMap]]:
    views = caches.maps()

    def make(progress: Progress) -> dict[Feature, ResponseMap]:
        found, share = {}, 1 / len(classifiers)
        for number, (feature, classifier) in enumerate(classifiers.items()):
            report = part(progress, number * share, share, f"{feature.title} at every pixel")
            report(0)
            found[feature] = responses.response_map(image, classifier, network=network, progress=report)
        return found

    def work(*, progress: Progress) -> dict[Feature, ResponseMap]:
        return views.get(key, lambda: make(progress))

    return work


def _everywhere(found: ResponseMap, number: int, image: np.ndarray) -> np.ndarray:
    """A class's score at every pixel of the picture, NaN where there is none."""
    values = np.full(image.shape[:2], np.nan, np.float32)
    region = found.region
    values[region.top : region.bottom, region.left : region.right] = found.scores[..., number]
    return values


def show_panels(asked: Asked, seen: Seen, scores: Scores) -> tuple[int, int]:
    """A panel per feature; which pixel is looked at."""
    height, width = seen.image.shape[:2]
    part = everything = PixelBox(0, 0, width, height)
    truth, true = seen.truth[asked.number], None
    if np.isfinite(truth).all():
        pixel = responses.around(truth, 1)
        true = pixel[:2] if pixel.inside((width, height)) else None  # where boxes are wrong, keypoints may be outside
    if true is not None and header.section_picker("Part", (WHOLE, SQUARE), key="part") == SQUARE:
        part = responses.around(truth).clip((width, height))
    start = true or highest_within(next(iter(scores.own.values())), everything)[0]
    url_state.check_pixel(seen.image)
    at = url_state.pixel_of(seen.image, part, start=start)
    if len(scores.own) == 1:
        places = st.columns(2, gap="small")
        with places[1]:
            st.markdown("**the picture**")
            st.image(images.encode(figures.crop(seen.image, part), format="PNG"), width="stretch", alt=seen.title)
    else:
        places = header.two_a_row("maps").columns(len(scores.own), gap="small")
    for place, feature in zip(places, scores.own, strict=False):
        with place:
            _show_panel(asked, seen, scores, feature, part, true, None if at == start else at)
    _show_key(asked, whole=part == everything, marked=true is not None)
    return at


def _show_panel(
    asked: Asked,
    seen: Seen,
    scores: Scores,
    feature: Feature,
    part: PixelBox,
    true: tuple[int, int] | None,
    selected: tuple[int, int] | None,
) -> None:
    """A part of the picture under a feature's scores, and where they are highest."""
    height, width = seen.image.shape[:2]
    whole = part == PixelBox(0, 0, width, height)
    values, limit = scores.own[feature], scores.limits[feature]
    picture = figures.score_overlay(seen.image, values, limit=limit, opacity=asked.opacity if whole else 1.0)
    highest, score = highest_within(values, part)
    boxes = [_mark(highest, part, HIGHEST)]
    if true is not None:
        boxes.append(_mark(true, part, TRUTH))
    extractor = extractors.extractor_of(feature, asked.network)
    if not whole and not extractor.anywhere:
        boxes += _cells(extractor.receptive_field(feature.layer), part)
    st.markdown(f"**{feature.title}**")
    image_click(
        images.encode(figures.crop(picture, part), format="JPEG" if whole else "PNG"),
        alt=f"{seen.title}, scores by {feature.title}",
        key=f"map {feature.key}",
        boxes=boxes,
        values=values[part.top : part.bottom, part.left : part.right],
        selected=None if selected is None else (selected[0] - part.left, selected[1] - part.top),
        on_click=lambda x, y: url_state.choose("at", f"{x + part.left},{y + part.top}"),
        zoom=f"{seen.title} {part}",
    )
    if asked.alone:
        legends.colour_bar(figures.score_colours(), f"{-limit:.2f}", f"{limit:.2f}")
    distance = np.hypot(*(np.array(highest) - seen.truth[asked.number]))
    away = "" if true is None else f", {distance:.0f} px from the keypoint"
    found = scores.maps[feature]
    how = "" if found.method == "one pass" else f"; {found.how}"
    st.caption(f"highest {score:.3f} at {highest}{away}" + ("" if whole else ", of this square") + how)


def _show_key(asked: Asked, *, whole: bool, marked: bool) -> None:
    if not asked.alone:
        legends.colour_bar(figures.score_colours(), f"score: {-LIMIT:g} and less", f"{LIMIT:g} and more; 0 is white")
    st.caption(
        ("Yellow square: the true place. " if marked else "")
        + "Green square: where the score is highest. Point at a pixel to read its score, click it to see what every "
        "classifier "
        "says of it; pixels are those of this picture. Near the border, in grey, no receptive field of a layer is "
        "centred, and "
        "there is no score." + ("" if whole else " White lines: the patches of the layer's own cells, one stride wide.")
    )


def highest_within(values: np.ndarray, part: PixelBox) -> tuple[tuple[int, int], float]:
    """The pixel of the highest score in a part of the picture, and the score."""
    inside = np.nan_to_num(values[part.top : part.bottom, part.left : part.right], nan=-np.inf)
    row, column = np.unravel_index(inside.argmax(), inside.shape)
    return (part.left + int(column), part.top + int(row)), float(inside[row, column])


def _mark(at: tuple[int, int], part: PixelBox, colour: str) -> Outline:
    x, y = at[0] - part.left, at[1] - part.top
    return Outline((x - 1, y - 1, x + 2, y + 2), colour, width=2)


def _cells(field: ReceptiveField, part: PixelBox) -> list[Outline]:
    """The patches that the layer's own cells stand for, where they cross a part of the picture."""
    first = [int(np.floor(field.cell(edge))) for edge in (part.left, part.top)]
    n = max(part.width, part.height) // field.stride + 3
    boxes = [
        field.patch_box(row, column)
        for row in range(first[1], first[1] + n)
        for column in range(first[0], first[0] + n)
    ]
    return [
        Outline(
            (box.left - part.left, box.top - part.top, box.right - part.left, box.bottom - part.top), "#ffffff", width=1
        )
        for box in boxes
        if box.right > part.left and box.left < part.right and box.bottom > part.top and box.top < part.bottom
    ]


def show_pixel(asked: Asked, scores: Scores, x: int, y: int) -> None:
    """What all classifiers say of a pixel, and the chosen keypoint's scores along its row."""
    names = list(dict.fromkeys(name for each in scores.classifiers.values() for name in each.names))
    all_scores, profiles = {}, {}
    colours = figures.feature_colours(scores.maps, asked.network.layers)
    for feature, found in scores.maps.items():
        region, own = found.region, scores.classifiers[feature].names
        if not (region.left <= x < region.right and region.top <= y < region.bottom):
            continue
        at = found.scores[y - region.top, x - region.left]
        all_scores[feature] = np.array([at[own.index(name)] if name in own else np.nan for name in names])
        along = found.scores[y - region.top, :, own.index(asked.keypoint)]
        profiles[feature] = (np.arange(region.left, region.right), along)
    if not all_scores:
        st.info(
            f"The pixel ({x}, {y}) is too near the border to have a score; click another.",
            icon=":material/border_outer:",
        )
        return
    left, right = st.columns(2, gap="medium")
    left.markdown(f"**Every keypoint's score at ({x}, {y})**")
    left.plotly_chart(
        figures.scores_of_all(all_scores, names, asked.keypoint, colours=colours), key="scores", config=PLAIN
    )
    right.markdown(f"**{escape_markdown(keypoint_title(asked.keypoint))} along the row y = {y}**")
    right.plotly_chart(figures.score_profile(profiles, x, colours=colours), key="profile", config=PLAIN)
