"""Detector, prior and their product everywhere in the box."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import streamlit as st

from corrcore import images
from corrcore.decoding import ImageError
from corrcore.features import Feature
from corrcore.tasks import detection
from corrcore.tasks.detection import PRIORS
from dashboard import figures
from dashboard.app_pages.prediction_parts.controls import Weights
from dashboard.app_pages.prediction_parts.seen import PICTURE_PX, Seen, cut
from dashboard.app_pages.prediction_parts.training import Learnt
from dashboard.components import Outline, image_click
from dashboard.parts import header, legends, pickers, url_state
from dashboard.titles import keypoint_title
from dashboard.wording import escape_markdown, sentence

MAPS = ("Detector", "Prior", "Product")
LIMIT = 1.0  # of the scores' colours: the margin
TRUTH, HIGHEST = "#ffd500", "#009e73"


def show_one(seen: Seen, weights: Weights, learnt: Learnt) -> None:
    """A keypoint's maps, and the train objects that gave the prior."""
    at_keypoint, at_feature, at_opacity, at_own = header.two_a_row("maps").columns(
        [2, 2, 2, 2], gap="small", vertical_alignment="bottom"
    )
    names = learnt.names
    url_state.check_link("keypoint", [keypoint_title(name) for name in names])
    keypoint = at_keypoint.selectbox(
        "Keypoint",
        names,
        pickers.first_keypoint(learnt.data, learnt.category),
        format_func=keypoint_title,
        key="keypoint",
        bind="query-params",
    )
    feature = _choose_feature(at_feature, weights)
    url_state.check_number("opacity", 0, 1)
    opacity = at_opacity.slider("Opacity of the maps", 0.0, 1.0, 0.6, 0.05, key="opacity", bind="query-params")
    own = at_own.toggle(
        "Detector in colours of its own",
        feature.is_sift,
        key=f"own_{feature.key}",
        bind="query-params",
        help="From the median of the map to its highest, instead of from -1 to 1 for all: SIFT's scores hardly leave -1.",
    )
    number, fusion = names.index(keypoint), weights.fusions[feature]
    truth = seen.truth[number]
    marks = [_mark(seen, truth, TRUTH)] if np.isfinite(truth).all() else []
    found = _values_of(seen, feature, weights, number)
    for place, (name, (values, where)) in zip(st.columns(3, gap="small"), found.items(), strict=False):
        with place:
            st.markdown(f"**{name}**")
            if values is None:
                st.info(
                    f"Fewer than {detection.LEAST_OBJECTS} train objects show "
                    f"{escape_markdown(keypoint_title(keypoint))}: it has no detector.",
                    icon=":material/visibility_off:",
                )
                continue
            image_click(
                images.encode(_drawn(seen, name, values, opacity, own=own), format="JPEG"),
                alt=f"{seen.title}, {keypoint_title(keypoint)}: {name}",
                key=f"map {name}",
                values=values,
                places=seen.box,
                boxes=[*([] if where is None else [_mark(seen, where, HIGHEST)]), *marks],
                zoom=seen.title,
            )
    _show_keys(found[MAPS[0]][0], own=own, with_prior=fusion is not None)
    st.caption(
        ("Yellow square: the true place. " if seen.annotated else "")
        + "Green squares: where each is highest; that of the product is the prediction. Point at a place, or tap it, "
        "to read its "
        "value; places are in pixels of the photo. At the edges that stay grey no descriptor is centred."
    )
    if fusion is not None:
        _show_neighbours(seen, number, learnt, fusion.neighbours)


def show_all(seen: Seen, weights: Weights, names: Sequence[str]) -> None:
    """All keypoints' maps of one kind side by side."""
    at_feature, at_which = st.columns([2, 5], gap="small", vertical_alignment="bottom")
    feature = _choose_feature(at_feature, weights)
    with at_which:
        which = header.section_picker("Map", MAPS[::-1] if weights.fusions[feature] else MAPS[:1], key="map")
    own = which == MAPS[0] and feature.is_sift
    found = [_values_of(seen, feature, weights, number)[which] for number in range(len(names))]
    right = seen.right(np.array([[np.nan, np.nan] if where is None else where for _, where in found]))
    for first in range(0, len(names), 4):
        places = header.two_a_row(f"every {first}").columns(4, gap="small")
        for number, place in zip(range(first, min(first + 4, len(names))), places, strict=False):
            values, where = found[number]
            name, true = escape_markdown(keypoint_title(names[number])), np.isfinite(seen.truth[number]).all()
            if values is None:
                place.caption(f"{name} has no detector.")
                continue
            crosses = [] if where is None else [(tuple(seen.inside_at.to_crop(where)), HIGHEST)]
            rings = [(tuple(seen.inside_at.to_crop(seen.truth[number])), TRUTH)] if true else []
            drawn = _drawn(seen, which, values, 0.6, own=own)
            picture = figures.draw_crosses(drawn, crosses, rings=rings, scale=1)
            alt = f"{seen.title}, {keypoint_title(names[number])}: {which}"
            place.image(images.encode(picture, format="JPEG"), width="stretch", alt=alt)
            said = "not shown by this object" if not true else "right" if right[number] else "wrong"
            place.caption(f"{name}: {said}" if seen.annotated else name)
    st.caption(
        "Green cross: where this map is highest, of the product the prediction"
        + (", and right or wrong. Yellow ring: the true place. " if seen.annotated else ". ")
        + (
            "Colours go from the median of each map to its highest."
            if own
            else "Colours are those of the maps of one keypoint."
        )
    )


def _choose_feature(place: Any, weights: Weights) -> Feature:
    offered = list(weights.fusions)[::-1]
    url_state.check_link("by", [feature.title for feature in offered])
    return place.selectbox("Feature", offered, format_func=lambda one: f"{one.title}", key="by", bind="query-params")


def _mark(seen: Seen, at: np.ndarray, colour: str) -> Outline:
    """A square on a map around a point of the photo."""
    x, y = np.floor(seen.inside_at.to_crop(at) + 0.5)
    return Outline((x - 4, y - 4, x + 5, y + 5), colour, width=2)


def _values_of(
    seen: Seen, feature: Feature, weights: Weights, number: int
) -> dict[str, tuple[np.ndarray | None, np.ndarray | None]]:
    """A keypoint's maps as values per pixel of the box, None without a detector, and where they are highest."""
    fusion = weights.fusions[feature]
    found: dict[str, tuple[np.ndarray | None, np.ndarray | None]] = {}
    for name, each in zip(MAPS, seen.found.maps(feature, number, fusion), strict=True):
        if fusion is None and name != MAPS[0]:
            continue
        there = not np.isnan(each.values).all()
        pixels = figures.of_cells(each.values, seen.found.cells[feature], seen.inside_at.size)
        found[name] = (pixels if there else None, each.highest)
    return found


def _own_range(values: np.ndarray) -> tuple[float, float]:
    return float(np.nanmedian(values)), float(np.nanmax(values))


def _drawn(seen: Seen, name: str, values: np.ndarray, opacity: float, *, own: bool) -> np.ndarray:
    """A map over the box; a detector's in the colours of all, or in its `own`."""
    if name == MAPS[0] and own:
        low, high = _own_range(values)
        return figures.level_overlay(seen.inside, (values - low) / max(high - low, 1e-9), opacity=opacity)
    if name == MAPS[0]:
        return figures.score_overlay(seen.inside, values, limit=LIMIT, opacity=opacity)
    return figures.level_overlay(seen.inside, values, opacity=opacity)


def _show_keys(detector: np.ndarray | None, *, own: bool, with_prior: bool) -> None:
    if detector is not None and own:
        low, high = _own_range(detector)
        colours = figures.viridis_colours()
        legends.colour_bar(colours, f"detector's score: {low:.2f}, its median", f"{high:.2f}, its highest")
    elif detector is not None:
        legends.colour_bar(
            figures.score_colours(), f"detector's score: {-LIMIT:g} and less", f"{LIMIT:g} and more; 0 is white"
        )
    if with_prior:
        legends.colour_bar(figures.viridis_colours(), "prior, product: 0", "1; of the product, its highest")


def _show_neighbours(seen: Seen, number: int, learnt: Learnt, n: int) -> None:
    """The train objects whose keypoint is the prior's place."""
    title = escape_markdown(keypoint_title(learnt.names[number]))
    gives = "this train object gives" if n == 1 else "these train objects give"
    st.markdown(f"**Most alike, and showing {title}**: {gives} the prior")
    by_name = {one.name: one for one in learnt.data.visible_instances(learnt.category, "train")}
    places = header.two_a_row("neighbours").columns(PRIORS, gap="small")
    for place, which in zip(places, seen.found.neighbours[:n, number], strict=False):
        if which < 0:
            place.caption("No other train object shows it.")
            continue
        instance = by_name.get(learnt.prior.objects[which])
        if instance is None:
            continue
        try:
            picture, placed = cut(instance.photo.load(), instance.box, PICTURE_PX)
        except (ImageError, OSError) as error:
            place.caption(sentence(error))
            continue
        points = np.full_like(instance.keypoints, np.nan)
        points[number] = placed.to_crop(instance.keypoints[number])
        picture = images.encode(figures.draw_keypoints(picture, points), format="JPEG")
        place.image(picture, width="stretch", alt=f"{instance.name} with its {keypoint_title(learnt.names[number])}")
        place.caption(escape_markdown(instance.name))
    st.caption("One that looks the other way has its keypoints on the other side of the box, and leads astray.")
