"""What a keypoint's classifier says of every pixel, and where around the keypoint it is highest: Figure 5."""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import PIL.Image
import streamlit as st

from corrcore import experiments, extractors, images, store
from corrcore.datasets.records import Instance, KeypointDataset
from corrcore.descriptors import sift
from corrcore.engines import svm
from corrcore.engines.svm import LinearClassifier
from corrcore.geometry import PixelBox
from corrcore.networks import every_pixel
from corrcore.tasks import classification, responses
from corrcore.tasks.classification import CropProtocol, KeypointClassifier
from corrcore.tasks.responses import ResponseMap
from dashboard import figures
from dashboard.components import Outline, image_click
from dashboard.parts import exports, header, job_panel, legends, pickers, result_panel, upload, url_state
from dashboard.services import caches, sessions
from dashboard.state import session
from dashboard.titles import feature_title, keypoint_title
from dashboard.wording import counted, escape_markdown

BACKBONE = pickers.BACKBONE
MOST_FEATURES = 3
OBJECTS, PHOTO = "Objects of a data set", "A photo of yours"
WHOLE, SQUARE = "The whole picture", f"{responses.SIDE_PX} x {responses.SIDE_PX} px around the keypoint"
SECTIONS = ("The pixel", "Histogram (Figure 5)")
SIDES = {f"{side} x {side} px": side for side in (responses.SIDE_PX, responses.WIDE_PX)}
PLAIN = {"displayModeBar": False}
SMALL_PX = 100  # of a photo's longer side: smaller ones hold next to nothing
TRUTH, HIGHEST = "#ffd500", "#009e73"
LIMIT = 1.0  # of the colours, the same for all panels and objects: the margin

HOW = r"""
A linear classifier of every keypoint, one against all others, learns from the descriptors at the train objects' keypoints,
scaled to unit length; the cost is that of best cross validation. Then the layer is evaluated at *every* pixel, not at every
16th: the descriptor of a pixel is that of the cell whose receptive field is centred there, as if the image were shifted
under the network. The map shows

$$ s(x, y) = w \cdot f(x, y) + b $$

for the chosen keypoint: 0 is the classifier's boundary, 1 its margin. Pixels near the border have no cell, and no score. SIFT
descriptors are taken at every pixel too. Long, Zhang and Darrell (2014), Section 5.
"""


@dataclass(frozen=True)
class Seen:
    """What is looked at: the picture as the protocol shows it, and true keypoints in it, NaN where there are none."""

    image: np.ndarray
    truth: np.ndarray
    title: str


def classifier_key(feature: str, state: str, protocol: CropProtocol) -> str:
    backbone = caches.network(BACKBONE)
    return store.key(
        task="keypoint classifier",
        version=[classification.VERSION, svm.VERSION, sift.VERSION],
        feature=feature,
        objects=state,
        backbone=backbone.digest,
        protocol=asdict(protocol),
    )


def known_classifier(feature: str, state: str, protocol: CropProtocol) -> KeypointClassifier | None:
    entry = caches.results().get(classifier_key(feature, state, protocol))
    if entry is None:
        return None
    arrays, about = entry.arrays, entry.metadata
    linear = LinearClassifier(arrays["weights"], arrays["bias"], about["cost"], arrays["objective"], arrays["gap"])
    return KeypointClassifier(feature, tuple(about["names"]), protocol, linear)


def training(
    train: list[Instance], features: Sequence[str], known: Sequence[str], state: str, protocol: CropProtocol
) -> Callable[..., bool]:
    """Work that trains and keeps the classifiers of `features`."""
    backbone, results = caches.network(BACKBONE), caches.results()
    keys = {feature: classifier_key(feature, state, protocol) for feature in features}

    def work(*, progress: Callable[[float, str], None]) -> bool:
        missing = [feature for feature, key in keys.items() if results.get(key) is None]
        if not missing:  # another session had the same trained while this one waited
            return True
        found = classification.samples(
            train,
            missing,
            known,
            backbone=backbone,
            protocol=protocol,
            progress=lambda share, text: progress(0.8 * share, text),
        )
        names = classification.class_names(known, protocol)
        photos = [one.photo.name for one in train]
        for number, feature in enumerate(missing):
            progress(0.8 + 0.2 * number / len(missing), f"training on {feature_title(feature)}")
            cost, _ = classification.best_cost(
                found, feature, photos, costs=classification.usual_costs(protocol), device=backbone.device
            )
            trained = classification.train(found, feature, names, cost=cost, protocol=protocol)
            linear = trained.linear
            results.put(
                keys[feature],
                {"weights": linear.weights, "bias": linear.bias, "objective": linear.objective, "gap": linear.gap},
                {"names": list(trained.names), "cost": cost},
            )
        return True

    return work


def mapping(
    image: np.ndarray, classifiers: Sequence[KeypointClassifier], key: tuple[object, ...]
) -> Callable[..., dict[str, ResponseMap]]:
    backbone, views = caches.network(BACKBONE), caches.maps()

    def make(progress: Callable[[float, str], None]) -> dict[str, ResponseMap]:
        found = {}
        for number, classifier in enumerate(classifiers):

            def report(share: float, number: int = number, feature: str = classifier.feature) -> None:
                progress((number + share) / len(classifiers), f"{feature_title(feature)} at every pixel")

            report(0)
            found[classifier.feature] = responses.response_map(image, classifier, backbone=backbone, progress=report)
        return found

    def work(*, progress: Callable[[float, str], None]) -> dict[str, ResponseMap]:
        return views.get(key, lambda: make(progress))

    return work


def forget_pixel() -> None:
    """At another scale the same numbers are another place."""
    url_state.choose("at", "")


def choose(places: Sequence[Any], known: Sequence[str]) -> tuple[str, tuple[str, ...], str, float, bool]:
    """Keypoint, features, protocol's title, opacity, and whether each panel has a colour range of its own."""
    at_keypoint, at_features, at_more = places
    offered = pickers.mapped_features()
    url_state.check_link("keypoint", [keypoint_title(name) for name in known])
    url_state.check_link("features", [feature_title(feature) for feature in offered])
    keypoint = at_keypoint.selectbox("Keypoint", known, format_func=keypoint_title, key="keypoint", bind="query-params")
    features = at_features.multiselect(
        "Features",
        offered,
        ["conv3", "conv5", "sift20"],
        format_func=feature_title,
        max_selections=MOST_FEATURES,
        key="features",
        bind="query-params",
    )
    with at_more.popover("Display", icon=":material/tune:", width="stretch"):
        seen = st.radio("Crop and scale", list(pickers.SEEN), key="scale", bind="query-params", on_change=forget_pixel)
        opacity = st.slider("Opacity of the map", 0.0, 1.0, 0.6, 0.05, key="opacity", bind="query-params")
        alone = st.toggle("A colour range for each panel", key="alone", bind="query-params")
    return keypoint, tuple(features), seen, opacity, alone


def show_panels(
    seen: Seen,
    maps: Mapping[str, np.ndarray],
    limits: Mapping[str, float],
    truth: np.ndarray,
    opacity: float,
    alone: bool,
) -> tuple[int, int]:
    """A panel a feature; which pixel is looked at."""
    height, width = seen.image.shape[:2]
    part = everything = PixelBox(0, 0, width, height)
    true = None
    if np.isfinite(truth).all():
        pixel = responses.around(truth, 1)
        true = pixel[:2] if pixel.inside((width, height)) else None  # where boxes are wrong, keypoints may be outside
    if true is not None and header.section_picker("Part", (WHOLE, SQUARE), key="part") == SQUARE:
        part = responses.around(truth).clip((width, height))
    whole = part == everything
    start = true or highest_within(next(iter(maps.values())), everything)[0]
    x, y = url_state.pixel_of(seen.image, part, start=start)
    backbone = caches.network(BACKBONE)
    if len(maps) == 1:
        places = st.columns(2, gap="small")
        with places[1]:
            st.markdown("**the picture**")
            st.image(images.encode(figures.crop(seen.image, part), format="PNG"), width="stretch")
    else:
        places = header.two_a_row("maps").columns(len(maps), gap="small")
    for place, (feature, values) in zip(places, maps.items(), strict=False):
        picture = figures.score_overlay(seen.image, values, limit=limits[feature], opacity=opacity if whole else 1.0)
        highest, score = highest_within(values, part)
        boxes = [_mark(highest, part, HIGHEST, 1)]
        if true is not None:
            boxes.append(_mark(true, part, TRUTH, 1))
        if not whole and extractors.sift_radius(feature) is None:
            boxes += _cells(backbone.receptive_field(feature), part)
        with place:
            st.markdown(f"**{feature_title(feature)}**")
            image_click(
                images.encode(figures.crop(picture, part), format="JPEG" if whole else "PNG"),
                alt=f"{seen.title}, scores by {feature}",
                key=f"map {feature}",
                boxes=boxes,
                values=values[part.top : part.bottom, part.left : part.right],
                selected=None if (x, y) == start else (x - part.left, y - part.top),
                on_click=lambda x, y: url_state.choose("at", f"{x + part.left},{y + part.top}"),
            )
            if alone:
                legends.colour_bar(figures.score_colours(), f"{-limits[feature]:.2f}", f"{limits[feature]:.2f}")
            distance = "" if true is None else f", {np.hypot(*(np.array(highest) - truth)):.0f} px from the keypoint"
            st.caption(f"highest {score:.3f} at {highest}{distance}" + ("" if whole else ", of this square"))
    if not alone:
        legends.colour_bar(figures.score_colours(), f"score: {-LIMIT:g} and less", f"{LIMIT:g} and more; 0 is white")
    st.caption(
        ("" if true is None else "Yellow square: the true place. ")
        + "Green square: where the score is highest. Point at a pixel to read its score, click it to see what every classifier says "
        "of it. Near the border, in grey, no receptive field of a layer is centred, and there is no score."
        + (" White lines: the patches of the layer's own cells, one stride wide." * (not whole))
    )
    return x, y


def highest_within(values: np.ndarray, part: PixelBox) -> tuple[tuple[int, int], float]:
    """The pixel of the highest score in a part of the picture, and the score."""
    inside = np.nan_to_num(values[part.top : part.bottom, part.left : part.right], nan=-np.inf)
    row, column = np.unravel_index(inside.argmax(), inside.shape)
    return (part.left + int(column), part.top + int(row)), float(inside[row, column])


def _mark(at: tuple[int, int], part: PixelBox, colour: str, reach: int) -> Outline:
    x, y = at[0] - part.left, at[1] - part.top
    return Outline((x - reach, y - reach, x + reach + 1, y + reach + 1), colour, width=2)


def _cells(field: Any, part: PixelBox) -> list[Outline]:
    """The patches that the layer's own cells stand for, where they cross a part of the picture."""
    first = [int(np.floor(field.cell(edge))) for edge in (part.left, part.top)]
    n = part.width // field.stride + 3
    return [
        Outline(
            (box.left - part.left, box.top - part.top, box.right - part.left, box.bottom - part.top), "#ffffff", width=1
        )
        for row in range(first[1], first[1] + n)
        for column in range(first[0], first[0] + n)
        for box in [field.patch_box(row, column)]
        if box.right > part.left and box.left < part.right and box.bottom > part.top and box.top < part.bottom
    ]


def colours_of(features: Iterable[str]) -> dict[str, str]:
    return figures.feature_colours(features, caches.layers_of(BACKBONE))


def show_pixel(
    maps: Mapping[str, ResponseMap], classifiers: Mapping[str, KeypointClassifier], keypoint: str, x: int, y: int
) -> None:
    """What all classifiers say of a pixel, and the chosen one's scores along its row."""
    names = list(dict.fromkeys(name for each in classifiers.values() for name in each.names))
    all_scores, profiles, colours = {}, {}, colours_of(maps)
    for feature, found in maps.items():
        region, own = found.region, classifiers[feature].names
        if not (region.left <= x < region.right and region.top <= y < region.bottom):
            continue
        at = found.scores[y - region.top, x - region.left]
        all_scores[feature] = np.array([at[own.index(name)] if name in own else np.nan for name in names])
        profiles[feature] = (
            np.arange(region.left, region.right),
            found.scores[y - region.top, :, own.index(keypoint)],
        )
    if not all_scores:
        st.info(
            f"The pixel ({x}, {y}) is too near the border to have a score; click another.",
            icon=":material/border_outer:",
        )
        return
    left, right = st.columns(2, gap="medium")
    left.markdown(f"**Every keypoint's score at ({x}, {y})**")
    left.plotly_chart(figures.scores_of_all(all_scores, names, keypoint, colours=colours), key="scores", config=PLAIN)
    right.markdown(f"**{keypoint_title(keypoint)} along the row y = {y}**")
    right.plotly_chart(figures.score_profile(profiles, x, colours=colours), key="profile", config=PLAIN)


def show_histogram(
    data: KeypointDataset, category: str, keypoint: str, features: tuple[str, ...], protocol: str
) -> None:
    """Figure 5 of what was computed on this machine, and a button to compute it."""
    folder = experiments.default_folder(data, BACKBONE)
    st.markdown(
        f"**Where the score of {keypoint_title(keypoint)} is highest** in a square around the true place, for all val objects that show it with room "
        "around. Maxima on the square's rim, beyond the dotted line, are counted but left out of the numbers: there the score may "
        "still be rising."
    )
    side = SIDES[header.section_picker("Side of the square", tuple(SIDES), key="side")]
    file = folder / f"responses {category} {keypoint} {protocol} {side} {' '.join(features)}.json"
    asked: dict[str, Any] = {
        "backbone": caches.network(BACKBONE),
        "features": features,
        "protocol": experiments.PROTOCOLS[protocol],
        "side_px": side,
    }
    settings = experiments.response_settings(data, category, [keypoint], **asked)

    def work(*, progress: Callable[[float, str], None]) -> dict[str, Any]:
        folder.mkdir(parents=True, exist_ok=True)
        experiments.forget_others(file, settings)
        return experiments.respond(data, category, [keypoint], **asked, out=file, progress=progress)

    result = result_panel.result_panel(
        f"Nothing has been computed for {category} and {keypoint_title(keypoint)} yet",
        "On two cores that takes about two seconds per object, for squares of 81 px about five; it can be stopped and gone on with.",
        ("responses", str(file)),
        work,
        read=lambda: experiments.read(file, settings),
        button=f"Compute for all {category} objects",
        label=f"Figure 5, {category}, {keypoint_title(keypoint)}",
    )
    if result is not None:
        found = {name: each[keypoint] for name, each in result["summary"].items() if each[keypoint]}
        st.markdown("  \n".join(in_words(feature, each) for feature, each in found.items()))
        highest = max((int(np.max(each["counts"])) for each in found.values()), default=1)
        rows = []
        for place, (feature, each) in zip(st.columns(max(len(found), 1)), found.items(), strict=False):
            with place:
                st.markdown(f"**{feature_title(feature)}**")
                st.plotly_chart(
                    figures.maxima_counts(np.array(each["counts"]), highest=highest),
                    key=f"counts {feature}",
                    config=PLAIN,
                )
            if not each["within"]:
                continue
            rows.append(
                {
                    "feature": feature_title(feature),
                    "objects": str(each["instances"]),
                    **{
                        f"within {r} px (chance)": f"{100 * own:.0f} % ({100 * by_chance:.0f})"
                        for r, (own, by_chance) in each["within"].items()
                    },
                    "median (chance)": f"{each['median_px']:.1f} px ({each['chance_median_px']:.1f})",
                    "on the boundary": f"{100 * each['boundary_share']:.0f} %",
                }
            )
        legends.colour_bar(figures.viridis_colours(), "no maximum", f"{highest} on one pixel")
        if rows:
            st.dataframe({name: [row[name] for row in rows] for name in rows[0]}, hide_index=True, width="stretch")
        st.markdown("**The mean score by distance from the keypoint**")
        st.plotly_chart(
            figures.score_by_distance(
                {feature: np.array(each["profile"]) for feature, each in found.items()}, colours=colours_of(found)
            ),
            key="by distance",
            config=PLAIN,
        )
        text = io.StringIO()
        table = csv.writer(text)
        table.writerow(["feature", "x", "y", "maxima"])
        half = side // 2
        for feature, each in found.items():
            for row, counts in enumerate(each["counts"]):
                for column, count in enumerate(counts):
                    table.writerow([feature, column - half, row - half, int(count)])
        st.download_button(
            "CSV", text.getvalue().encode(), "histogram.csv", icon=":material/download:", on_click="ignore"
        )


def in_words(feature: str, found: dict[str, Any]) -> str:
    """What a feature's histogram says, in a sentence."""
    title = feature_title(feature)
    title = title[0].upper() + title[1:] if extractors.sift_radius(feature) else title
    if found["low"] is None:
        return f"**{title}**: too few maxima inside the square to say anything."
    low, high, chance = found["low"], found["high"], found["chance_median_px"]
    against = "nearer than by" if high < chance else "farther than by" if low > chance else "not surely nearer than by"
    inner = round(found["instances"] * (1 - found["boundary_share"]))
    text = (
        f"**{title}**: of the {inner} maxima inside, half lie within {found['median_px']:.1f} px [{low:.1f}, {high:.1f}] of the "
        f"keypoint, {against} chance ({chance:.1f} px)"
    )
    stride = f"its stride alone ({found['stride_median_px'] or 0:.1f} px)"
    said = {
        "yes": f"finer than {stride}",
        "no": f"not finer than {stride}",
        "open": f"whether finer than {stride} stays open",
    }
    if found["finer_than_stride"]:
        text += f"; {said[found['finer_than_stride']]}"
    return text + "."


def python_lines(
    source: str, category: str, instance: Instance, keypoint: str, costs: Mapping[str, float], protocol: CropProtocol
) -> str:
    imports, where = pickers.python_dataset(source)
    return f"""{imports}from corrcore import backbones, classification, datasets, responses
from corrcore.tasks.classification import CropProtocol

data, backbone = datasets.open_dataset({where}), backbones.load({BACKBONE!r})
names, protocol = data.keypoint_names[{category!r}], {protocol!r}
costs = {dict(costs)!r}  # of best cross validation
samples = classification.samples(data.visible_instances({category!r}, "train"), list(costs), names, backbone=backbone, protocol=protocol)
target = next(one for one in data.visible_instances({category!r}, "val") if one.name == {instance.name!r})
image, placement = classification.view(target, protocol)
print("true place", placement.to_crop(target.keypoints)[list(names).index({keypoint!r})])
for feature, cost in costs.items():
    named = classification.train(samples, feature, tuple(names), cost=cost, protocol=protocol)
    found = responses.response_map(image, named, backbone=backbone)
    print(feature, "is highest at", found.highest(named.names.index({keypoint!r})))
"""


def everywhere(found: ResponseMap, number: int, image: np.ndarray) -> np.ndarray:
    """A class's score at every pixel of the picture, NaN where there is none."""
    values = np.full(image.shape[:2], np.nan, np.float32)
    region = found.region
    values[region.top : region.bottom, region.left : region.right] = found.scores[..., number]
    return values


def array_file(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, values, allow_pickle=False)
    return file.getvalue()


def tiff_file(maps: Iterable[np.ndarray]) -> bytes:
    """A page a map."""
    first, *others = (PIL.Image.fromarray(each) for each in maps)
    file = io.BytesIO()
    first.save(file, "TIFF", save_all=True, append_images=others)
    return file.getvalue()


def page() -> None:
    header.header(
        "What a keypoint's classifier says of every pixel",
        "A classifier that has learnt to name a keypoint from one descriptor is asked about every pixel. **Look for** where it "
        "is red, how wide that is, and how far the highest score is from the keypoint: a layer's cells lie 16 px apart, and each "
        "sees a hundred pixels and more.",
    )
    mode = header.section_picker("What to look at", (OBJECTS, PHOTO), key="mode")
    at_data, at_category, *others = header.two_a_row("controls").columns(
        [3, 2, 2, 5, 2], gap="small", vertical_alignment="bottom"
    )
    source, data, category = pickers.choose_category(at_data, at_category)
    known = tuple(data.keypoint_names[category])
    keypoint, features, seen_as, opacity, alone = choose(others, known)
    protocol = experiments.PROTOCOLS[pickers.SEEN[seen_as]]
    instance: Instance | None = None
    if mode == OBJECTS:
        gallery, beside = st.columns([5, 3], gap="medium")
        with gallery:
            try:
                instance = pickers.choose_object(data, category, beside)
                image, placement = classification.view(instance, protocol)
            except (OSError, ValueError) as error:
                st.error(escape_markdown(str(error)), icon=":material/broken_image:")
                st.stop()
        with beside:
            st.caption(escape_markdown(instance.name) + (" · **drawn, synthetic**" if data.synthetic else ""))
            pickers.show_left_out("annotation", data.left_out)
        seen = Seen(image, placement.to_crop(instance.keypoints), instance.name)
    else:
        uploaded = upload.upload("A photo, cropped to the object")
        if uploaded is None:
            st.info(
                f"Upload a photo of a {escape_markdown(category)}. It stays in this session's memory."
                + (
                    " These classifiers have only seen drawings: for photos choose a data set of photos."
                    * data.synthetic
                ),
                icon=":material/upload_file:",
            )
            st.stop()
        photo, title = uploaded
        if max(photo.shape[:2]) < SMALL_PX:
            st.warning(
                f"{escape_markdown(title)} has only {photo.shape[1]} x {photo.shape[0]} px and is enlarged; use one of {SMALL_PX} px or more.",
                icon=":material/photo_size_select_small:",
            )
        whole = (-0.5, -0.5, photo.shape[1] - 0.5, photo.shape[0] - 0.5)
        longer = protocol.longer_side_px or pickers.LONGER_SIDE_PX
        image, _ = classification.frame(photo, whole, CropProtocol(longer_side_px=longer, margin=0))
        seen = Seen(image, np.full((len(known), 2), np.nan), title)
    if not features:
        st.info("Choose at least one feature.", icon=":material/layers:")
        st.stop()
    try:
        train = data.visible_instances(category, "train")
    except ValueError as error:
        st.error(escape_markdown(str(error)), icon=":material/error:")
        st.stop()
    state = store.key(task="train objects", data=data.digest, category=category, photos=caches.state_of(train))
    found = {feature: known_classifier(feature, state, protocol) for feature in features}
    missing = [feature for feature, each in found.items() if each is None]
    if missing:
        key = ("training", data.digest, category, state, seen_as, tuple(missing))
        job_key = None if (before := session().view) is None else before.key
        if not data.synthetic and job_key != key:
            if caches.read_only():
                st.info("Classifiers of this category have not been trained on this server.", icon=":material/school:")
                st.stop()
            pressed = result_panel.empty_state(
                f"Classifiers of {category} have to be trained first",
                f"By {', '.join(map(feature_title, missing))}, on {counted(len(train), 'train object')}; that takes a few minutes, once.",
                button="Train",
            )
            if not pressed:
                st.stop()
            job_panel.view_job(training(train, missing, known, state, protocol), f"Training on {category}", key)
            st.rerun()  # without the button
        job_panel.view(training(train, missing, known, state, protocol), f"Training on {category}", key)
        sessions.forget_view()
        st.rerun()
    classifiers = {feature: each for feature, each in found.items() if each is not None}
    lacking = [feature for feature, each in classifiers.items() if keypoint not in each.names]
    if lacking:
        st.info(
            f"No train object of {category} shows {keypoint_title(keypoint)}; choose another keypoint.",
            icon=":material/visibility_off:",
        )
        st.stop()
    key = ("maps", images.digest(seen.image), features, state, seen_as)
    try:
        for feature in features:
            extractors.valid_region(
                feature, (seen.image.shape[1], seen.image.shape[0]), backbone=caches.network(BACKBONE)
            )
    except ValueError as error:
        st.error(escape_markdown(str(error)), icon=":material/broken_image:")
        st.stop()
    maps = job_panel.view(mapping(seen.image, list(classifiers.values()), key), "Scores of every pixel", key)
    own = {
        feature: everywhere(each, classifiers[feature].names.index(keypoint), seen.image)
        for feature, each in maps.items()
    }
    limits = {feature: max(float(np.nanmax(values)), 0.1) if alone else LIMIT for feature, values in own.items()}
    x, y = show_panels(seen, own, limits, seen.truth[known.index(keypoint)], opacity, alone)
    section = (
        header.section_picker("Look closer", SECTIONS, key="responses_section") if instance is not None else SECTIONS[0]
    )
    if section == SECTIONS[0]:
        show_pixel(maps, classifiers, keypoint, x, y)
    else:
        show_histogram(data, category, keypoint, features, pickers.SEEN[seen_as])

    def sheet() -> bytes:
        columns = [figures.Column(seen.title, [seen.image])] + [
            figures.Column(
                f"{feature_title(feature)}, {-limits[feature]:.2g} to {limits[feature]:.2g}",
                [figures.score_overlay(seen.image, values, limit=limits[feature], opacity=opacity)],
            )
            for feature, values in own.items()
        ]
        return images.encode(figures.image_grid(columns, [keypoint_title(keypoint)]), format="PNG")

    name = f"{keypoint} by {', '.join(features)}"
    header.how_computed(
        HOW,
        {
            "data": f"{data.title}, {data.digest[:8]}",
            "seen": seen_as + (f", box widened by {protocol.margin:g}" if protocol.longer_side_px else ""),
            "network": f"{BACKBONE}, weights {caches.network(BACKBONE).digest[:8]}",
            "train objects": len(train),
            "features": ", ".join(map(feature_title, features)),
            "costs": ", ".join(f"{each.linear.cost:g}" for each in classifiers.values()),
            "covers": ", ".join(str(tuple(each.region)) for each in maps.values()),
            "versions": f"classifiers {classification.VERSION}, layers at every pixel {every_pixel.VERSION}",
        },
    )
    exports.export_row(
        downloads={
            "responses.png": sheet,
            f"{name}.npy": lambda: array_file(np.stack([*own.values()])),
            f"{name}.tiff": lambda: tiff_file(own.values()),
        },
        python=""
        if instance is None
        else python_lines(
            source,
            category,
            instance,
            keypoint,
            {feature: each.linear.cost for feature, each in classifiers.items()},
            protocol,
        ),
    )


page()
