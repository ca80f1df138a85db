"""Where a point is found by each feature: similarity over the other photo, and what speaks for the place."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import streamlit as st

from corrcore import extractors, images
from corrcore.features import Extractor, Feature
from corrcore.tasks import confidence, matching
from corrcore.tasks.matching import DescribedExtent, MatchOptions, PointMatches
from dashboard import figures
from dashboard.app_pages.match_parts.controls import Choice
from dashboard.app_pages.match_parts.photo import SIDES, Photo, Side
from dashboard.components import Outline, image_click
from dashboard.parts import header, legends, url_state
from dashboard.services import caches
from dashboard.wording import sentence

BEST, RUNNER_UP = "#00c853", "#ffffff"
REACH_PX = 4  # of the squares around places
A_ROW = 3
ZOOMED = "Once a photo was clicked the wheel enlarges both, and plus and minus do; two fingers do anywhere."


@dataclass(frozen=True, eq=False)
class Found:
    """What a feature makes of a point: its matches (of one point), and every pixel's similarity in the other photo."""

    matches: PointMatches
    similarity: np.ndarray

    @property
    def place(self) -> tuple[float, float]:
        """Where the point is found."""
        x, y = self.matches.places[0]
        return float(x), float(y)


def find(
    source: Photo, target: Photo, point: tuple[int, int], choice: Choice
) -> tuple[dict[Feature, Found], dict[Feature, str]]:
    """The point of the source in the target by every feature, and why not by others: a photo may be too small."""
    at = np.array([point], float)
    matches, failed = match_all(source, target, at, choice)
    whole, _ = described_both((source, target), choice)
    similarity = {each: matching.similarity_map(*whole[each], at[0]) for each in matches}
    return {
        feature: Found(each, over_photo(similarity[feature], whole[feature][1], target))
        for feature, each in matches.items()
    }, failed


def match_all(
    source: Photo, target: Photo, points: np.ndarray, choice: Choice
) -> tuple[dict[Feature, PointMatches], dict[Feature, str]]:
    """Points of the source (x, y) in the target by every feature, and why not by others."""
    whole, failed = described_both((source, target), choice)
    found = {}
    for feature, (first, second) in whole.items():
        try:
            matches = matching.match_points(first, second, points, options=choice.options)
            found[feature] = confidence.judged(
                feature, matches, first, network=choice.features[feature], options=choice.options
            )
        except ValueError as error:
            failed[feature] = str(error)
    return {each: found[each] for each in choice.features if each in found}, failed


def say_failed(failed: Mapping[Feature, str], choice: Choice) -> None:
    """Which features find no place, and why."""
    for feature, reason in failed.items():
        st.warning(
            f"No place by {choice.title(feature)}. {sentence(reason)}", icon=":material/photo_size_select_small:"
        )


def over_photo(cosines: np.ndarray, described: DescribedExtent, photo: Photo) -> np.ndarray:
    """The nearest cell's value for every pixel of a photo as it is shown; NaN beyond the outermost patches."""
    field, numbers = described.grid.receptive_field, []
    for axis, (length, n) in enumerate(zip(photo.shown.shape[1::-1], cosines.shape[::-1], strict=True)):
        pixels = np.zeros((length, 2))
        pixels[:, axis] = np.arange(length)
        at = described.transform.to_crop(photo.transform.to_image(pixels))[:, axis]
        cells = np.floor((at - field.offset) / field.stride + 0.5).astype(int)
        numbers.append(np.where((cells >= 0) & (cells < n), cells, -1))
    x, y = numbers
    found = cosines[y[:, None], x[None]].astype(float)
    found[(y < 0)[:, None] | (x < 0)[None]] = np.nan
    return found


Described = DescribedExtent | str
"""A photo by a feature, or why there is none."""


def described_both(
    photos: tuple[Photo, Photo], choice: Choice
) -> tuple[dict[Feature, tuple[DescribedExtent, DescribedExtent]], dict[Feature, str]]:
    """Two photos by every feature, and why not by others: one may be too small."""
    found, failed = {}, {}
    for features, network in choice.groups:
        first, second = (_described(photo, features, network, choice.options) for photo in photos)
        for feature in features:
            both = first[feature], second[feature]
            if isinstance(both[0], str) or isinstance(both[1], str):
                failed[feature] = next(each for each in both if isinstance(each, str))
            else:
                found[feature] = both
    return found, failed


def _described(
    photo: Photo, features: Sequence[Feature], network: Extractor, options: MatchOptions
) -> Mapping[Feature, Described]:
    """A photo by features of one extractor, described once, in one pass."""

    def describe(asked: Sequence[Feature]) -> Mapping[Feature, DescribedExtent]:
        return matching.describe(photo.image, asked, network=network, options=options, results=caches.results())

    def make() -> dict[Feature, Described]:
        with suppress(ValueError):  # of one of them, which then says why
            return {**describe(features)}
        return {feature: one(feature) for feature in features}

    def one(feature: Feature) -> Described:
        try:
            return describe([feature])[feature]
        except ValueError as error:
            return f"{photo.title}: {error}"

    own = extractors.extractor_of(features[0], network)
    cells_of = network.digest if options.method == "mrf" else ""  # SIFT is described at the network's cells
    return caches.described_photos().get((photo.digest, tuple(features), own.digest, cells_of, options), make)


def show_photos(photos: Mapping[Side, Photo], of: Side, point: tuple[int, int], found: Mapping[Feature, Found]) -> None:
    """Both photos side by side: the point in one, its places by all features in the other; a click asks anew."""
    colours = colours_of(found)
    for place, side in zip(header.two_a_row("photos").columns(2, gap="small"), SIDES, strict=True):
        photo = photos[side]
        boxes = []
        if side != of:
            boxes = [square(photo, each.place, colours[feature]) for feature, each in found.items()]
        with place:
            image_click(
                images.encode(photo.shown, format="JPEG"),
                alt=f"{photo.title}, the {side} photo",
                key=f"photo {side}",
                boxes=boxes,
                selected=shown_pixel(photo, point) if side == of else None,
                on_click=choose_point(photo, side),
                follows=side == of,
                zoom=zoom_group(photos),
                max_height=400,
            )


def zoom_group(photos: Mapping[Side, Photo]) -> str:
    """Pictures of these two photos, which are enlarged alike."""
    return " ".join(photos[side].digest for side in SIDES)


def show_legend(choice: Choice, found: Mapping[Feature, Found]) -> None:
    """Features by the colours of their squares."""
    colours = colours_of(found)
    legends.legend({choice.title(feature): colours[feature] for feature in found})
    st.caption(ZOOMED)


def colours_of(found: Mapping[Feature, Found]) -> dict[Feature, str]:
    """Features' colours, to tell them apart side by side: every other keypoint's, for those by depth are too much alike."""
    return {feature: figures.keypoint_colour(2 * number) for number, feature in enumerate(found)}


def shown_pixel(photo: Photo, point: tuple[int, int]) -> tuple[int, int]:
    """A pixel of a photo in the picture that is shown."""
    height, width = photo.shown.shape[:2]
    x, y = np.floor(photo.transform.to_crop(np.array(point, float)) + 0.5)
    return min(max(int(x), 0), width - 1), min(max(int(y), 0), height - 1)


def choose_point(photo: Photo, side: Side) -> Callable[[int, int], None]:
    """What a click on a photo does: its pixel is the point that is looked for in the other."""

    def click(x: int, y: int) -> None:
        own = np.floor(photo.transform.to_image(np.array([x, y], float)) + 0.5).astype(int)
        url_state.choose_together({"point_of": side, "point": f"{own[0]},{own[1]}"})

    return click


def show_maps(photos: Mapping[Side, Photo], side: Side, choice: Choice, found: Mapping[Feature, Found]) -> None:
    """A map per feature over the photo of a `side`, all in one range of colours."""
    low, high = limits_of(found)
    items = list(found.items())
    for first in range(0, len(items), A_ROW):
        places = header.two_a_row(f"maps {first}").columns(max(min(len(items), A_ROW), 2), gap="small")
        for place, (feature, each) in zip(places, items[first : first + A_ROW], strict=False):
            with place:
                _show_map(photos, side, choice, feature, each, (low, high))
    legends.colour_bar(figures.viridis_colours(), f"cosine {low:.2f}", f"{high:.2f}")
    best = "the most similar place" if choice.options.method == "nn" else "where the alignment puts the point"
    st.caption(
        f"Green square: {best}. White: the most similar one elsewhere, at least a tenth of the "
        "photo's longer side away. Grey: no cell is centred there. Point at a pixel to read its similarity; click it to "
        "look for that place instead."
    )
    say_how_sure(choice, found)


def say_how_sure(choice: Choice, found: Mapping[Feature, Found]) -> None:
    """What being sure means, and of which features it is not known."""
    asked = {
        feature: confidence.known(feature, network=choice.features[feature], options=choice.options)
        for feature in found
    }
    learnt = {choice.title(feature): each.learnt_from for feature, each in asked.items() if each is not None}
    unknown = [choice.title(feature) for feature, each in asked.items() if each is None]
    text = []
    if learnt:
        rates = ", ".join(f"{title} {each.right:.0%}" for title, each in learnt.items())
        of = ", ".join(sorted({name for each in learnt.values() for name in each.categories}))
        text.append(
            "*Sure* is the share of such matches that were right, within a tenth of the object, between whole photos of "
            f"{of}; of all matches there, right or not, that is {rates}."
        )
    if unknown:
        text.append(f"How sure matches are has not been learnt for {', '.join(unknown)} as they are found here.")
    st.caption(" ".join(text))


def _show_map(
    photos: Mapping[Side, Photo],
    side: Side,
    choice: Choice,
    feature: Feature,
    found: Found,
    limits: tuple[float, float],
) -> None:
    target = photos[side]
    boxes = [square(target, found.place, BEST)]
    second = found.matches.runners_up[0]
    if np.isfinite(second).all():
        boxes.append(square(target, (float(second[0]), float(second[1])), RUNNER_UP))
    st.markdown(f"**{choice.title(feature)}**")
    image_click(
        images.encode(map_picture(target, found, limits, choice.opacity), format="JPEG"),
        alt=f"{target.title}, similarity by {choice.title(feature)}",
        key=f"map {feature}",
        boxes=boxes,
        values=found.similarity,
        on_click=choose_point(target, side),
        places=target.edges,
        zoom=zoom_group(photos),
    )
    st.caption(said(found))


def limits_of(found: Mapping[Feature, Found]) -> tuple[float, float]:
    """The lowest and the highest similarity of all maps."""
    values = np.concatenate([each.similarity[np.isfinite(each.similarity)] for each in found.values()])
    return float(values.min()), float(values.max())


def map_picture(target: Photo, found: Found, limits: tuple[float, float], opacity: float) -> np.ndarray:
    """The similarity over the photo, in colours between two limits."""
    low, high = limits
    return figures.level_overlay(target.shown, (found.similarity - low) / max(high - low, 1e-9), opacity=opacity)


def said(found: Found) -> str:
    """A match in words."""
    (x, y), matches = found.place, found.matches
    margin = float(matches.margins[0])
    elsewhere = (
        "nothing elsewhere"
        if np.isnan(margin)
        else f"{abs(margin):.2f} {'above' if margin >= 0 else 'below'} elsewhere"
    )
    mutual = "each other's best" if matches.mutual[0] else "not each other's best"
    energy = float(matches.min_marginal_margins[0])
    if not np.isnan(energy):
        elsewhere += f" ({abs(energy):.2g} {'more' if energy >= 0 else 'less'} energy)"
    sure = "" if np.isnan(matches.confidences[0]) else f"**{matches.confidences[0]:.0%} sure**: "
    return (
        f"{sure}{matches.similarities[0]:.2f} at ({x:.0f}, {y:.0f}), {elsewhere}; leads back to "
        f"{matches.cycle_errors[0]:.0f} px from the point; {mutual}"
    )


def square(photo: Photo, place: tuple[float, float], colour: str) -> Outline:
    """A small square around a place, on the photo as it is shown."""
    x, y = shown_pixel(photo, (round(place[0]), round(place[1])))
    return Outline((x - REACH_PX, y - REACH_PX, x + REACH_PX + 1, y + REACH_PX + 1), colour, width=2)
