"""Where in its box an object has its keypoints: Figure 6, and what detectors and prior say of every place."""

import csv
import glob
import io
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from corrcore import concurrency, experiments, extractors, images, store
from corrcore.crops import CropTransform
from corrcore.datasets.records import BoxXYXY, Instance, KeypointDataset
from corrcore.experiments import Trained, published
from corrcore.geometry import CellGrid
from corrcore.metrics import keypoint_errors
from corrcore.tasks import detection
from corrcore.tasks.detection import DetectorSpec, Prior, PriorFusion
from dashboard import figures, links
from dashboard.components import Outline, image_click
from dashboard.parts import box_picker, exports, header, job_panel, legends, pickers, result_panel, upload, url_state
from dashboard.services import caches, sessions
from dashboard.titles import feature_title, keypoint_title, row_title
from dashboard.wording import counted, duration, escape_markdown

BACKBONE = pickers.BACKBONE
FEATURES = experiments.DETECTING
OBJECTS, PHOTO = "Objects of a data set", "A photo of yours"
MAPS = ("Detector", "Prior", "Product")
SECTIONS = ("One keypoint", "Every keypoint", "Accuracy (Table 4)")
CHOSEN, AS_SET, BY_HAND = "as chosen on train", "as set for drawings", "by hand"
PER_SHEET = 4
ALPHA = 0.1  # of each side of the box: what counts as right
MARGIN = 0.08  # of the box's longer side, shown around it
PICTURE_PX, MAP_PX, UPLOAD_PX = 260, 420, 900  # longer sides
LEAST_PX = 20  # of a box's sides
BEYOND = 170  # the grey of what lies beyond the photo
LIMIT = 1.0  # of the scores' colours: the margin
TRUTH, HIGHEST = "#ffd500", "#009e73"
TRAINING_S, LOOKING_S = 1.3, 0.3  # an object, on two cores

Known = tuple[dict[str, Trained], Prior]
Weights = Mapping[str, PriorFusion | None]  # of the prior, by feature

HOW = r"""
The box is stretched to 500 x 500 px. A linear support vector machine a keypoint scores every square of 3 x 3 cells of conv5,
which together see 195 x 195 px, or every dense SIFT descriptor with bins of 8 px, 8 px apart. It learns from the train objects'
boxes: positive are the ten cells nearest to the keypoint (of SIFT those within 16 px), negative all whose receptive
field does not hold it (of SIFT those 32 px away and more), mined round by round until no negative on the wrong side of the
margin is left out. The prior is a Gaussian around the keypoint's place in the train object most alike, by the cosine of
pool5, that shows it. The prediction is the cell where

$$ f = s^{1-\eta}\, p^{\eta}, \qquad s = \frac{1}{1 + e^{-\text{score}}}, \quad p = e^{-\|x - x_0\|^2 / 2\sigma^2} $$

is highest. A keypoint that fewer than five train objects show has no detector: the prior alone places it. It is right within a
tenth of the box's sides, a circle of 50 px in the stretched box. Long, Zhang and Darrell (2014), Section 6.
"""


@dataclass(frozen=True)
class Seen:
    """An object as it is shown, and what detectors and prior say of it.

    `picture` is a square around the box, `inside` the box alone, both at the photo's proportions; `placed` tells where the
    former lies in the photo, `box` where what detectors see does, which is stretched to a square.
    """

    title: str
    picture: np.ndarray
    placed: CropTransform
    inside: np.ndarray
    box: CropTransform
    truth: np.ndarray
    scores: Mapping[str, np.ndarray]
    cells: Mapping[str, CellGrid]
    nearest: np.ndarray
    places: np.ndarray

    def predicted(self, feature: str, weighing: PriorFusion | None) -> np.ndarray:
        """Keypoints in the photo's pixels; without a weighing by the detectors alone."""
        centres = self.cells[feature].centres()
        if weighing is None:
            return self.box.to_image(detection.argmax_points(detection.combined(self.scores[feature]), centres))
        return self.box.to_image(detection.predict(self.scores[feature], centres, self.places, weighing))

    def right(self, points: np.ndarray) -> np.ndarray:
        """Which keypoints are; False where the object does not show one."""
        errors = keypoint_errors(points[None], self.truth[None], np.array([self.box.edges]), stretched=True)[0]
        return np.nan_to_num(errors, nan=np.inf) <= ALPHA


def see(
    title: str,
    photo: np.ndarray,
    box: BoxXYXY,
    truth: np.ndarray,
    own: str | None,
    known: Known,
) -> Seen:
    """`own` is the name of a photo whose objects are no neighbours."""
    trained, prior = known
    image, placement = detection.crop_box(photo, box)
    subject = detection.describe(image, [DetectorSpec(f) for f in trained], backbone=caches.network(BACKBONE))
    nearest = prior.nearest(subject.summary, k=experiments.PRIORS, photo=own)
    left, top, right, bottom = box
    x, y, half = (left + right) / 2, (top + bottom) / 2, (0.5 + MARGIN) * max(right - left, bottom - top)
    picture, placed = cut(photo, (x - half, y - half, x + half, y + half), PICTURE_PX)
    rows, columns = np.mgrid[: picture.shape[0], : picture.shape[1]]
    at = placed.to_image(np.stack([columns, rows], axis=-1).astype(float))
    outside = ((at < -0.5) | (at >= [photo.shape[1] - 0.5, photo.shape[0] - 0.5])).any(axis=-1, keepdims=True)
    return Seen(
        title,
        np.where(outside, np.uint8(BEYOND), picture),
        placed,
        cut(photo, box, MAP_PX)[0],
        placement,
        truth,
        {feature: each.detectors.scores(subject.grids[feature].descriptors) for feature, each in trained.items()},
        {feature: subject.grids[feature].cells for feature in trained},
        nearest,
        prior.places(nearest),
    )


def cut(photo: np.ndarray, edges: BoxXYXY, longer_px: int) -> tuple[np.ndarray, CropTransform]:
    """A part of a photo at its own proportions, its longer side so long."""
    sides = np.array([edges[2] - edges[0], edges[3] - edges[1]])
    width, height = np.maximum(np.rint(longer_px * sides / sides.max()).astype(int), 8).tolist()
    return images.crop_resized(photo, edges, width=width, height=height), CropTransform(edges, (width, height))


def known_detectors(data: KeypointDataset, category: str) -> Known | None:
    """Those that were trained on the photos as they are, or None; read again only where files have changed."""
    folder, backbone = experiments.default_folder(data, BACKBONE), caches.network(BACKBONE)
    settings = experiments.detector_settings(data, category, FEATURES[0], backbone=backbone)
    files = sorted(folder.glob(f"prediction {glob.escape(category)} *.safetensors"))
    key = (store.key(settings=settings), *((file.name, file.stat().st_mtime_ns) for file in files))
    return caches.detectors().get(
        key, lambda: experiments.known_detectors(data, category, backbone=backbone, features=FEATURES, out=folder)
    )


def training(data: KeypointDataset, category: str) -> Callable[..., Known]:
    folder, backbone = experiments.default_folder(data, BACKBONE), caches.network(BACKBONE)

    def work(*, progress: Callable[[float, str], None]) -> Known:
        folder.mkdir(parents=True, exist_ok=True)
        return experiments.detectors(
            data, category, backbone=backbone, features=FEATURES, out=folder, progress=progress
        )

    return work


def have_trained(source: str, data: KeypointDataset, category: str, state: str) -> Known | None:
    """Detectors and prior; None while there are none, with what makes them shown. `state` tells the train objects."""
    label, key, work = f"Training on {category}", ("detectors", state), training(data, category)
    if data.synthetic:
        return known_detectors(data, category) or job_panel.view(work, label, key)
    n = experiments.learnt_from(data, category)
    others = experiments.default_folder(data, BACKBONE).glob(f"prediction {glob.escape(category)} *.safetensors")
    why = " Those that are here are of other photos, or of another version of the code." if any(others) else ""
    return result_panel.result_panel(
        f"Detectors of {category} have to be trained first",
        f"{why} By SIFT and conv5, on {counted(n, 'train object')}, with the weight of the prior chosen by cross validation. That takes about "
        f"{duration(TRAINING_S * n)} on two cores, once; it can be stopped and goes on where it was. "
        f'`corrcore evaluate prediction --data "$CORRCORE_DATA/{source}" --categories {category}` does it too.',
        key,
        work,
        read=lambda: known_detectors(data, category) or just_made(key),
        button="Train",
        label=label,
    )


def just_made(key: Hashable) -> Any:
    """What this session's work has made, also where it could not be kept."""
    job = sessions.measurement(key)
    return None if job is None else job.result


def looking(some: Sequence[Instance], known: Known, state: str) -> Callable[..., list[Seen | str]]:
    """Work that describes objects; where a photo cannot be read, the reason."""
    kept = caches.seen_objects()

    def one(instance: Instance) -> Seen | str:
        def make() -> Seen:
            photo = instance.photo.load()
            return see(instance.name, photo, instance.box, instance.keypoints, instance.photo.name, known)

        try:
            return kept.get((caches.state_of([instance]), state), make)
        except (images.ImageError, OSError, ValueError) as error:
            return str(error)

    def work(*, progress: Callable[[float, str], None]) -> list[Seen | str]:
        found: list[Seen | str] = []

        def keep(each: Seen | str) -> None:
            found.append(each)
            progress(len(found) / len(some), f"looking at objects, {len(found)} of {len(some)}")

        concurrency.map_in_order(one, some, keep)
        return found

    return work


def choose_weighing(places: Sequence[Any], trained: Mapping[str, Trained], drawn: bool) -> tuple[str, Weights]:
    """Which prior, as rows of the table are named, and by feature how it counts."""
    at_prior, at_mode, at_eta, at_sigma = places
    usual = AS_SET if drawn else CHOSEN
    url_state.check_link("prior", pickers.PRIORS.values())
    prior = at_prior.selectbox(
        "Prior from", list(pickers.PRIORS), format_func=pickers.PRIORS.__getitem__, key="prior", bind="query-params"
    )
    if not prior:
        return prior, dict.fromkeys(trained)
    url_state.check_link("weights", (usual, BY_HAND))
    mode = at_mode.selectbox(
        "Weight and width",
        (usual, BY_HAND),
        key="weights",
        bind="query-params",
        help="Chosen by cross validation on train objects, for each feature. For drawn objects it is set.",
    )
    best = {feature: each.weighings[prior] for feature, each in trained.items()}
    own = best[FEATURES[-1]]
    by_hand = mode == BY_HAND
    bound: dict[str, Any] = {"bind": "query-params"} if by_hand else {"disabled": True}

    def key(name: str) -> str:  # those that show what was chosen are others
        return name if by_hand else f"{name} {own}"

    eta = at_eta.slider(
        "Weight η",
        *(0.0, 1.0, own.eta, 0.005),
        key=key("eta"),
        format="%.3f",
        help="The exponent of p: 0 is the detectors alone, 1 the prior alone. A detector's values vary much less than the "
        "prior's, so a few hundredths count for much."
        + ("" if by_hand else f" Shown is that of {feature_title(FEATURES[-1])}."),
        **bound,
    )
    sigma = at_sigma.slider(
        "Width σ, px",
        *(5.0, 100.0, own.sigma_px, 1.0),
        key=key("sigma"),
        format="%.0f",
        help="In pixels of the box, stretched to 500 x 500.",
        **bound,
    )
    if not by_hand:
        return prior, best
    return prior, {feature: PriorFusion(own.neighbours, sigma, eta) for feature in trained}


def weighed_title(feature: str, prior: str, weighing: PriorFusion | None) -> str:
    """What was predicted by; of weights at their ends only what counts."""
    if weighing is not None and weighing.eta == 1:
        return "the prior alone"
    alone = weighing is None or weighing.eta == 0
    return f"{feature_title(feature)} alone" if alone else row_title(feature + prior)


def choose_sheet(data: KeypointDataset, category: str, beside: Any) -> tuple[list[Instance], int]:
    """Objects to show, and which of them is looked at; both in the URL."""
    offered = data.shown(category, "val") if (category, "val") in data.splits else []
    if not offered:
        msg = f"No val object of {category} shows a keypoint; choose another category."
        raise ValueError(msg)
    asked = pickers.asked_object(data, offered)
    chosen = [one.name for one in offered].index(asked)
    n_sheets = -(-len(offered) // PER_SHEET)
    sheet = beside.number_input(
        f"Page (of {n_sheets}; {counted(len(offered), 'object')})",
        1,
        n_sheets,
        chosen // PER_SHEET + 1,
        key=f"sheet {category} {asked}",
    )
    first = (sheet - 1) * PER_SHEET
    some = offered[first : first + PER_SHEET]
    if asked not in [one.name for one in some]:
        url_state.choose("object", some[0].name)
        return some, 0
    return some, chosen - first


def show_gallery(sheet: Sequence[Seen | str], chosen: int, weighings: Weights, prior: str) -> None:
    """Figure 6: a column an object; truth, then each feature's predictions."""
    places = header.two_a_row("gallery").columns(PER_SHEET, gap="small")
    for number, (place, seen) in enumerate(zip(places, sheet, strict=False)):
        with place:
            if isinstance(seen, str):
                st.warning(escape_markdown(seen), icon=":material/broken_image:")
                continue
            shown = int(np.isfinite(seen.truth).all(axis=1).sum())
            st.markdown(f"**{escape_markdown(seen.title)}**" if number == chosen else escape_markdown(seen.title))
            for row, picture in pictures(seen, weighings).items():
                height, width = picture.shape[:2]
                image_click(
                    images.encode(picture, format="JPEG"),
                    alt=f"{seen.title}, {row or 'annotated'}",
                    key=f"gallery {number} {row}",
                    boxes=[Outline((0, 0, width, height), width=3)] if number == chosen else (),
                    whole=True,
                    on_click=lambda *_, name=seen.title: url_state.choose("object", name),
                )
                if not row:
                    st.caption(f"annotated: {shown} keypoints")
                else:
                    hits = int(seen.right(seen.predicted(row, weighings[row])).sum())
                    st.caption(f"{weighed_title(row, prior, weighings[row])}: **{hits} of {shown}** right")


def pictures(seen: Seen, weighings: Weights) -> dict[str, np.ndarray]:
    """The object with its true keypoints, under "", where there are any, and with the predictions by each feature."""
    truth = seen.placed.to_crop(seen.truth)
    left, top, right, bottom = seen.box.edges
    corners = seen.placed.to_crop(np.array([[left, top], [right, bottom]]))
    framed = figures.draw_frame(seen.picture, corners)
    some = np.isfinite(truth).any()
    x, y = ALPHA * np.array([right - left, bottom - top]) * seen.placed.scale
    found = {"": figures.draw_keypoints(framed, truth)} if some else {}
    for feature, weighing in weighings.items():
        points = seen.placed.to_crop(seen.predicted(feature, weighing))
        compared: dict[str, Any] = {"truth": truth, "radii_px": (float(x), float(y))} if some else {}
        found[feature] = figures.draw_keypoints(framed, points, **compared)
    return found


def show_maps(
    seen: Seen,
    weighings: Weights,
    names: tuple[str, ...],
    known: Known,
) -> None:
    """A keypoint's detector, prior and their product, everywhere in the box; and who gave the prior."""
    at_keypoint, at_feature, at_opacity, at_own = header.two_a_row("maps").columns(
        [2, 2, 2, 2], gap="small", vertical_alignment="bottom"
    )
    url_state.check_link("keypoint", [keypoint_title(name) for name in names])
    url_state.check_link("by", [feature_title(feature) for feature in weighings])
    keypoint = at_keypoint.selectbox("Keypoint", names, format_func=keypoint_title, key="keypoint", bind="query-params")
    feature = at_feature.selectbox(
        "Feature", list(weighings)[::-1], format_func=feature_title, key="by", bind="query-params"
    )
    opacity = at_opacity.slider("Opacity of the maps", 0.0, 1.0, 0.6, 0.05, key="opacity", bind="query-params")
    own = at_own.toggle(
        "Detector in colours of its own",
        extractors.sift_radius(feature) is not None,
        key=f"own_{feature}",
        bind="query-params",
        help="From the median of the map to its highest, instead of from -1 to 1 for all: SIFT's scores hardly leave -1.",
    )
    number, weighing = names.index(keypoint), weighings[feature]
    height, width = seen.inside.shape[:2]
    inside = CropTransform(seen.box.edges, (width, height))
    marks = []
    if np.isfinite(seen.truth[number]).all():
        marks.append(mark(inside.to_crop(seen.truth[number]), TRUTH))
    maps = maps_of(seen, feature, weighing, number)
    shown = {name: each for name, each in maps.items() if weighing is not None or name == MAPS[0]}
    for place, (name, (values, where)) in zip(st.columns(3, gap="small"), shown.items(), strict=False):
        with place:
            st.markdown(f"**{name}**")
            if values is None:
                st.info(
                    f"Fewer than {detection.LEAST_OBJECTS} train objects show {escape_markdown(keypoint_title(keypoint))}: it has no detector.",
                    icon=":material/visibility_off:",
                )
                continue
            image_click(
                images.encode(drawn_map(seen, name, values, opacity, own), format="JPEG"),
                alt=f"{seen.title}, {keypoint_title(keypoint)}: {name}",
                key=f"map {name}",
                values=values,
                places=seen.box.edges,
                boxes=[*([] if where is None else [mark(inside.to_crop(where), HIGHEST)]), *marks],
            )
    values = maps[MAPS[0]][0]
    if values is not None and own:
        low, high = own_range(values)
        colours = figures.viridis_colours()
        legends.colour_bar(colours, f"detector's score: {low:.2f}, its median", f"{high:.2f}, its highest")
    elif values is not None:
        colours = figures.score_colours()
        legends.colour_bar(colours, f"detector's score: {-LIMIT:g} and less", f"{LIMIT:g} and more; 0 is white")
    if weighing is not None:
        legends.colour_bar(figures.viridis_colours(), "prior, product: 0", "1; of the product, its highest")
    st.caption(
        ("Yellow square: the true place. " if np.isfinite(seen.truth).any() else "")
        + "Green squares: where each is highest; that of the product is the prediction. Point at a place, or tap it, to read its "
        "value; places are in pixels of the photo. At the edges that stay grey no descriptor is centred."
    )
    if weighing is None:
        return
    show_neighbours(seen, number, keypoint, known[1], weighing.neighbours)


def mark(at: np.ndarray, colour: str) -> Outline:
    x, y = np.floor(at + 0.5)
    return Outline((x - 4, y - 4, x + 5, y + 5), colour, width=2)


def maps_of(
    seen: Seen, feature: str, weighing: PriorFusion | None, number: int
) -> dict[str, tuple[np.ndarray | None, np.ndarray | None]]:
    """A keypoint's detector, prior and product: the values over the box, and where in the photo they are highest. None for no
    detector, and for what is the same everywhere.
    """
    cells = seen.cells[feature]
    centres = cells.centres()
    own = seen.scores[feature][..., number : number + 1]
    weighing = weighing or PriorFusion(eta=0)
    prior = detection.log_prior(
        centres, seen.places[: weighing.neighbours, number : number + 1], sigma_px=weighing.sigma_px
    )
    product = detection.combined(own, prior, eta=weighing.eta)
    found: dict[str, tuple[np.ndarray | None, np.ndarray | None]] = {}
    for name, values, shown in zip(
        MAPS, (own, prior, product), (own, np.exp(prior), np.exp(product - product.max())), strict=True
    ):
        at = detection.argmax_points(values, centres)[0]
        height, width = seen.inside.shape[:2]
        found[name] = (
            None if np.isnan(values).all() else figures.of_cells(shown[..., 0], cells, (width, height)),
            None if np.isnan(at).any() else seen.box.to_image(at),
        )
    return found


def own_range(values: np.ndarray) -> tuple[float, float]:
    return float(np.nanmedian(values)), float(np.nanmax(values))


def drawn_map(seen: Seen, name: str, values: np.ndarray, opacity: float, own: bool) -> np.ndarray:
    if name == MAPS[0] and own:
        low, high = own_range(values)
        return figures.level_overlay(seen.inside, (values - low) / max(high - low, 1e-9), opacity=opacity)
    if name == MAPS[0]:
        return figures.score_overlay(seen.inside, values, limit=LIMIT, opacity=opacity)
    return figures.level_overlay(seen.inside, values, opacity=opacity)


def show_neighbours(seen: Seen, number: int, keypoint: str, prior: Prior, n: int) -> None:
    """The train objects whose keypoint is the prior's place."""
    st.markdown(
        f"**Most alike, and showing {escape_markdown(keypoint_title(keypoint))}**: {'this train object gives' if n == 1 else 'these train objects give'} the prior"
    )
    data, category = caches.dataset(st.session_state["data"]), st.session_state["category"]
    by_name = {one.name: one for one in data.shown(category, "train")}
    for place, which in zip(
        header.two_a_row("neighbours").columns(experiments.PRIORS, gap="small"), seen.nearest[:n, number], strict=False
    ):
        if which < 0:
            place.caption("No other train object shows it.")
            continue
        instance = by_name.get(prior.objects[which])
        if instance is None:
            continue
        with place:
            try:
                picture, placed = cut(instance.photo.load(), instance.box, PICTURE_PX)
            except (images.ImageError, OSError) as error:
                st.caption(escape_markdown(str(error)))
                continue
            points = np.full_like(instance.keypoints, np.nan)
            points[number] = placed.to_crop(instance.keypoints[number])
            st.image(images.encode(figures.draw_keypoints(picture, points), format="JPEG"), width="stretch")
            st.caption(escape_markdown(instance.name))
    st.caption("One that looks the other way has its keypoints on the other side of the box, and leads astray.")


def show_every_keypoint(seen: Seen, weighings: Weights, names: tuple[str, ...]) -> None:
    """All keypoints' maps side by side, and numbers."""
    at_feature, at_which = st.columns([2, 5], gap="small", vertical_alignment="bottom")
    feature = at_feature.selectbox(
        "Feature", list(weighings)[::-1], format_func=feature_title, key="by", bind="query-params"
    )
    weighing = weighings[feature]
    with at_which:
        which = header.section_picker("Map", MAPS[::-1] if weighing is not None else MAPS[:1], key="map")
    own = which == MAPS[0] and extractors.sift_radius(feature) is not None
    height, width = seen.inside.shape[:2]
    inside = CropTransform(seen.box.edges, (width, height))
    found = [maps_of(seen, feature, weighing, number)[which] for number in range(len(names))]
    right = seen.right(np.array([[np.nan, np.nan] if where is None else where for _, where in found]))
    for first in range(0, len(names), 4):
        places = header.two_a_row(f"every {first}").columns(4, gap="small")
        for number, place in zip(range(first, min(first + 4, len(names))), places, strict=False):
            values, where = found[number]
            name, true = escape_markdown(keypoint_title(names[number])), np.isfinite(seen.truth[number]).all()
            if values is None:
                place.caption(f"{name} has no detector.")
                continue
            crosses = [] if where is None else [(tuple(inside.to_crop(where)), HIGHEST)]
            rings = [(tuple(inside.to_crop(seen.truth[number])), TRUTH)] if true else []
            picture = figures.draw_crosses(drawn_map(seen, which, values, 0.6, own), crosses, rings=rings, scale=1)
            place.image(images.encode(picture, format="JPEG"), width="stretch")
            said = "not shown by this object" if not true else "right" if right[number] else "wrong"
            place.caption(name if np.isnan(seen.truth).all() else f"{name}: {said}")
    st.caption(
        "Green cross: where this map is highest, of the product the prediction, and right or wrong. Yellow ring: the true place. "
        + (
            "Colours go from the median of each map to its highest."
            if own
            else "Colours are those of the maps of one keypoint."
        )
    )


def show_accuracy(source: str, data: KeypointDataset, category: str) -> None:
    """Table 4's rows for this category, and a button to compute them."""
    import pandas as pd  # Streamlit has it loaded

    file = experiments.default_folder(data, BACKBONE) / experiments.prediction_file(category)
    asked: dict[str, Any] = {"backbone": caches.network(BACKBONE), "features": FEATURES}
    try:
        settings = experiments.prediction_settings(data, category, **asked)
    except OSError as error:
        st.error(escape_markdown(str(error)), icon=":material/error:")
        return
    key = ("prediction", store.key(settings=settings))

    def work(*, progress: Callable[[float, str], None]) -> dict[str, Any]:
        file.parent.mkdir(parents=True, exist_ok=True)
        experiments.forget_others(file, settings)
        return experiments.predict(data, category, **asked, out=file, progress=progress)

    n = len(data.shown(category, "val"))
    result = result_panel.result_panel(
        f"Table 4 has not been computed for {category} yet",
        f"All {counted(n, 'val object')} are looked at; that takes about {duration(LOOKING_S * n)} on two cores.",
        key,
        work,
        read=lambda: experiments.read(file, settings) or just_made(key),
        button=f"Compute for {category}",
        label=f"Table 4, {category}",
    )
    if result is not None:
        link = links.Results(table="4 Prediction", data=pickers.dataset_title(source), category=category).url
        rows = result["summary"]["all"]["rows"]
        table = {
            f"α = {alpha}": [
                f"{at[str(alpha)]['mean']:.1f} [{at[str(alpha)]['low']:.1f}, {at[str(alpha)]['high']:.1f}]"
                for at in rows.values()
            ]
            for alpha in experiments.ALPHAS
        }
        paper = [published.prediction(row, category) for row in rows]
        if any(number is not None for number in paper):
            table["published, α = 0.1"] = ["" if number is None else f"{number:.1f}" for number in paper]
        st.dataframe(pd.DataFrame(table, index=pd.Index([row_title(row) for row in rows], name="row")), width="stretch")
        st.caption(
            f"PCK in percent: keypoints within α of the box's sides, over {result['summary']['all']['objects']} val objects, the mean over keypoint types, with 95 % "
            f"intervals over objects. The [Results page]({link}) has all categories side by side."
        )


def sheet_file(sheet: Sequence[Seen], weighings: Weights, prior: str) -> bytes:
    """Figure 6 as one PNG."""
    drawn = [pictures(seen, weighings) for seen in sheet]
    titles = [weighed_title(row, prior, weighings[row]) if row else "annotated" for row in drawn[0]]
    columns = [figures.Column(seen.title, list(each.values())) for seen, each in zip(sheet, drawn, strict=True)]
    return images.encode(figures.image_grid(columns, titles), format="PNG")


def points_file(sheet: Sequence[Seen], weighings: Weights, prior: str, names: tuple[str, ...]) -> bytes:
    """Predicted and true keypoints of the objects shown, in pixels of their photos, as CSV."""
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(["object", "keypoint", "row", "eta", "sigma_px", "x", "y", "true_x", "true_y", "right"])
    for seen in sheet:
        for feature, weighing in weighings.items():
            points = seen.predicted(feature, weighing)
            for name, point, true, right in zip(names, points, seen.truth, seen.right(points), strict=True):
                numbers = ["" if np.isnan(value) else f"{value:.2f}" for value in (*point, *true)]
                said = "" if np.isnan(true).any() else int(right)
                weights = ["", ""] if weighing is None else [weighing.eta, weighing.sigma_px]
                table.writerow([seen.title, name, f"{feature}{prior}", *weights, *numbers, said])
    return text.getvalue().encode()


def maps_file(seen: Seen, names: tuple[str, ...]) -> bytes:
    """Scores of every cell, their centres in the stretched box, and the prior's places, as NPZ."""
    content: dict[str, np.ndarray] = {"box": np.array(seen.box.edges), "keypoints": np.array(names)}
    content |= {"places_px": seen.places, "truth": seen.truth}
    for feature, scores in seen.scores.items():
        content |= {f"{feature}_scores": scores, f"{feature}_centres_px": seen.cells[feature].centres()}
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **content)
    return file.getvalue()


def python_lines(source: str, category: str, found: str, weighings: Weights) -> str:
    """`found` are the lines that set photo, box and the photo's name, if it is one of the data set."""
    imports, where = pickers.python_dataset(source)
    return f"""{imports}from corrcore import backbones, datasets, experiments, images, prediction
from corrcore.tasks.detection import DetectorSpec, PriorFusion

data, backbone = datasets.open_dataset({where}), backbones.load({BACKBONE!r})
folder = experiments.default_folder(data, {BACKBONE!r})
folder.mkdir(parents=True, exist_ok=True)
trained, prior = experiments.detectors(data, {category!r}, backbone=backbone, out=folder)
{found}
image, placement = detection.crop_box(photo, box)
subject = detection.describe(image, [DetectorSpec(feature) for feature in trained], backbone=backbone)
places = prior.places(prior.nearest(subject.summary, k={experiments.PRIORS}, photo=own))
for feature, weighing in {dict(weighings)!r}.items():
    grid = subject.grids[feature]
    scores, centres = trained[feature].detectors.scores(grid.descriptors), grid.cells.centres()
    if weighing is None:
        points = detection.argmax_points(detection.combined(scores), centres)
    else:
        points = detection.predict(scores, centres, places, weighing)
    print(feature, placement.to_image(points))
"""


def of_object(category: str, title: str) -> str:
    return f"""target = next(one for one in data.shown({category!r}, "val") if one.name == {title!r})
photo, box, own = target.photo.load(), target.box, target.photo.name"""


def of_training(trained: Trained) -> str:
    """What is to be said of one feature's detectors."""
    rounds = trained.detectors.rounds
    cells = sum(group[-1].cells for group in rounds)
    return (
        f"cost {trained.detectors.linear.cost:g}, {max(len(group) for group in rounds)} rounds of mining at most, {cells:,} cells in the "
        f"end, objective {trained.detectors.linear.objective.sum():.1f}, "
        + ("no hard negative left" if trained.detectors.finished else "some hard negatives left out")
    )


def page() -> None:
    header.header(
        "Where in its box does an object have each keypoint?",
        "Given an object's box, a detector of every keypoint scores every place in it, and the most similar train object says where "
        "to expect it. **Look for** eyes, noses and feet that land in place: conv5's detectors find them where SIFT's cannot, "
        "and the prior helps both.",
    )
    mode = header.section_picker("What to look at", (OBJECTS, PHOTO), key="mode")
    at_data, at_category, *others = header.two_a_row("controls").columns(
        [4, 2, 3, 3, 2, 2], gap="small", vertical_alignment="bottom"
    )
    source, data, category = pickers.choose_category(at_data, at_category)
    names = tuple(data.keypoint_names[category])
    try:
        train = caches.state_of(data.shown(category, "train"))
        state = store.key(task="detectors", data=data.digest, category=category, train=train)
        known = have_trained(source, data, category, state)
    except (OSError, ValueError) as error:
        st.error(escape_markdown(str(error)), icon=":material/error:")
        st.stop()
    if known is None:
        st.stop()
    trained, _ = known
    prior, weighings = choose_weighing(others, trained, data.synthetic)
    if mode == OBJECTS:
        try:
            beside, at_sheet = st.columns([5, 2], gap="small", vertical_alignment="bottom")
            some, chosen = choose_sheet(data, category, at_sheet)
            key = ("prediction", state, caches.state_of(some))
        except (OSError, ValueError) as error:
            st.error(escape_markdown(str(error)), icon=":material/error:")
            st.stop()
        drawn = " · **drawn, synthetic**" if data.synthetic else ""
        sheet: list[Seen | str] = job_panel.view(looking(some, known, state), "Looking at objects", key)
        beside.caption(
            f"{data.title}{drawn}. The first row is annotated, the others are predicted. **Click an object** to look closer at it."
        )
        show_gallery(sheet, chosen, weighings, prior)
        seen = sheet[chosen]
        lines = of_object(category, some[chosen].name)
        if isinstance(seen, str):
            st.stop()
    else:
        if data.synthetic:
            st.warning(
                "These detectors have only seen drawings, and find nothing in photos; for photos choose a data set of photos.",
                icon=":material/draw:",
            )
        uploaded = upload.upload("A photo with one such object in it")
        if uploaded is None:
            st.info(
                f"Upload a photo of a {escape_markdown(category)}. It stays in this session's memory.",
                icon=":material/upload_file:",
            )
            st.stop()
        photo, title = uploaded
        whole = photo.shape
        if max(whole[:2]) > UPLOAD_PX:
            photo = images.resize(photo, longer_side=UPLOAD_PX)
        box = box_picker.choose_box(photo, title)
        width, height = (round(box[n + 2] - box[n]) for n in (0, 1))
        if min(width, height) < LEAST_PX:
            st.warning(
                f"The box must be at least {LEAST_PX} px wide and high; it is {width} x {height} px. Draw a larger one.",
                icon=":material/crop:",
            )
            st.stop()
        key = ("prediction of a photo", images.digest(photo), box, state)
        nothing = np.full((len(names), 2), np.nan)
        resized = "" if whole == photo.shape else f"photo = images.resize(photo, longer_side={UPLOAD_PX})\n"
        lines = f"photo = images.decode({title!r})\n{resized}box, own = {box}, None"

        def look(*, progress: Callable[[float, str], None]) -> Seen:
            progress(0, "looking at the photo")
            return see(title, photo, box, nothing, None, known)

        seen = job_panel.view(look, "Looking at the photo", key)
        drawn = pictures(seen, weighings)
        for place, (row, picture) in zip(
            header.two_a_row("photo").columns(len(drawn), gap="small"), drawn.items(), strict=True
        ):
            place.markdown(f"**{weighed_title(row, prior, weighings[row])}**")
            place.image(images.encode(picture, format="JPEG"), width="stretch")
        sheet = [seen]
    legends.keypoint_legend(names)
    if mode == OBJECTS:
        st.caption(
            "Filled: right, within the thin ellipse, a tenth of the box's sides around the truth. Rings: wrong, with a line to the truth. "
            "What an object does not show is not counted, nor drawn."
        )
    sections = SECTIONS if mode == OBJECTS else SECTIONS[:2]
    section = header.section_picker("Look closer", sections, key="prediction_section")
    if section == SECTIONS[0]:
        show_maps(seen, weighings, names, known)
    elif section == SECTIONS[1]:
        show_every_keypoint(seen, weighings, names)
    else:
        show_accuracy(source, data, category)
    header.how_computed(
        HOW,
        {
            "data": f"{data.title}, {data.digest[:8]}",
            "prior": f"{pickers.PRIORS[prior]}, of {len(known[1].objects)} of {len(data.shown(category, 'train'))} train objects, by {detection.summary_layer(caches.network(BACKBONE))}",
            **{
                f"{feature_title(feature)}, weights": f"η = {each.eta:g}, σ = {each.sigma_px:g} px"
                for feature, each in weighings.items()
                if each is not None
            },
            **{f"{feature_title(feature)}, training": of_training(each) for feature, each in trained.items()},
            "network": f"{BACKBONE}, weights {caches.network(BACKBONE).digest[:8]}",
        },
    )
    shown = [each for each in sheet if not isinstance(each, str)]  # this class is another in every run of the page
    detectors = experiments.default_folder(data, BACKBONE) / f"prediction {category} {FEATURES[-1]}.safetensors"
    exports.export_row(
        downloads={
            "prediction.png": lambda: sheet_file(shown, weighings, prior),
            "keypoints.csv": lambda: points_file(shown, weighings, prior, names),
            f"{Path(seen.title).stem} maps.npz": lambda: maps_file(seen, names),
            detectors.name: detectors.read_bytes,
        },
        python=python_lines(source, category, lines, weighings),
        state={"data": pickers.dataset_title(source), "category": category},
    )


page()
