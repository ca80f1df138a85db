"""Which layer tells keypoints apart: Table 3, Figure 4, the confusion matrix, and right and wrong calls."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from corrcore import decoding, experiments, extractors, images
from corrcore.datasets.records import Instance, KeypointDataset
from corrcore.experiments import published
from corrcore.tasks import classification
from corrcore.tasks.classification import CropProtocol
from dashboard import figures, links
from dashboard.parts import exports, header, pickers, result_panel, url_state
from dashboard.services import caches
from dashboard.titles import feature_title, keypoint_title
from dashboard.wording import escape_markdown

BACKBONE = pickers.BACKBONE
PROTOCOLS = pickers.PROTOCOLS
FEATURE_ROWS = experiments.NAMING
SECTIONS = ("Cost (Figure 4)", "Confusion matrix", "Right and wrong")
N_CALLS, AROUND_PX = 12, 40
PUBLISHED = ", published"
PLAIN = {"displayModeBar": False}

HOW = """
A descriptor is taken at every visible keypoint: of a layer that of the cell whose receptive field is nearest, of SIFT exactly
there. One linear support vector machine a keypoint, each against all others (squared hinge, as liblinear has it), learns
from the train objects; the cost C is that of best accuracy in five-fold cross validation on train, whose folds share no photo.
Accuracy is over all visible keypoints of the val objects, with 95 % bootstrap intervals over photos. Long, Zhang and
Darrell (2014), Section 5, Table 3 and Figure 4. The paper does not say at which size objects are seen, nor how left and right
are counted, and both matter: hence the choice of how they are seen.
"""


def result_file(data: KeypointDataset, category: str, protocol: str) -> Path:
    return experiments.default_folder(data, BACKBONE) / experiments.classification_file(category, protocol)


def settings_of(data: KeypointDataset, category: str, protocol: str) -> dict[str, Any]:
    return experiments.classification_settings(
        data, category, backbone=caches.network(BACKBONE), protocol=experiments.PROTOCOLS[protocol]
    )


def known_result(data: KeypointDataset, category: str, protocol: str) -> dict[str, Any] | None:
    """What was computed for the photos, weights and code as they are, of all features; None where there is no such thing."""
    try:
        settings = settings_of(data, category, protocol)
    except ValueError:  # a category without train or val objects
        return None
    kept = experiments.read(result_file(data, category, protocol), settings)
    return kept if kept is not None and all(feature in kept["summary"] for feature in FEATURE_ROWS) else None


def result_or_panel(data: KeypointDataset, category: str, protocol: str) -> dict[str, Any] | None:
    """A category's results, or what makes them; at once for drawn animals."""
    file = result_file(data, category, protocol)

    def work(*, progress: Callable[[float, str], None]) -> dict[str, Any]:
        file.parent.mkdir(parents=True, exist_ok=True)
        experiments.forget_others(file, settings_of(data, category, protocol))
        return experiments.classify(
            data,
            category,
            backbone=caches.network(BACKBONE),
            features=FEATURE_ROWS,
            protocol=experiments.PROTOCOLS[protocol],
            out=file,
            progress=progress,
        )

    return result_panel.result_panel(
        f"Nothing has been computed for {category} yet",
        f"{len(FEATURE_ROWS)} features at every keypoint, and classifiers of them at seven costs: some two minutes on two cores.",
        ("classification", str(file)),
        work,
        read=lambda: known_result(data, category, protocol),
        automatic=data.synthetic,
        button=f"Compute for {category}",
        label=f"Table 3, {category}",
    )


def show_table(results: dict[str, dict[str, Any]], categories: tuple[str, ...]) -> None:
    """Table 3: a row a feature, a column a category, the published number beside it; the mean where all are there."""
    import pandas as pd  # Streamlit has it loaded

    columns: dict[str, Sequence[float | None]] = {}
    for each in categories:
        summary = results[each]["summary"] if each in results else {}
        columns[each] = [summary[row]["accuracy"] if row in summary else None for row in FEATURE_ROWS]
        paper = [published.classification(row, each) for row in FEATURE_ROWS]
        if any(number is not None for number in paper):
            columns[each + PUBLISHED] = paper
    if len(categories) > 1 and all(each in results for each in categories):
        own = [columns[each] for each in categories]
        columns["mean"] = np.mean(np.array(own, dtype=float), axis=0).tolist()
    table = pd.DataFrame(columns, index=pd.Index([feature_title(row) for row in FEATURE_ROWS], name="feature"))

    def shade(value: float) -> str:
        if value is None or np.isnan(value):
            return ""
        ink = "; color: white" if value > 60 else ""
        return f"background-color: rgba(15, 107, 125, {min(max(value, 0) / 100, 1):.2f}){ink}"

    theirs = [name for name in columns if name.endswith(PUBLISHED)]
    ours = [name for name in columns if name not in theirs]
    shown = table.style.map(shade, subset=ours).map(lambda _: "color: gray", subset=theirs)
    shown = shown.format("{:.1f}", na_rep="", subset=ours).format("{:.0f}", na_rep="", subset=theirs)
    st.dataframe(shown, width="stretch", placeholder="–")
    if theirs:
        st.caption(
            "Published: Long, Zhang and Darrell (2014), Table 3. They do not say at which size objects are seen, nor whether the left "
            'and the right one of a pair are told apart; compare "left and right alike".'
        )


def show_calls(
    data: KeypointDataset,
    category: str,
    source: str,
    found: tuple[str, dict[str, Any]],
    names: list[str],
    protocol: str,
) -> None:
    """Some right and some wrong calls by a feature, cut out around the keypoint; each opens the object's response map."""
    feature, record = found
    seen = next((title for title, name in pickers.SEEN.items() if name == protocol), None)
    by_name = {one.name: one for one in data.visible_instances(category, "val")}
    labels, called = np.array(record["labels"]), np.array(record["called"])
    known = list(data.keypoint_names[category])
    for title, some in (("Wrong", np.flatnonzero(labels != called)), ("Right", np.flatnonzero(labels == called))):
        drawn = f"; {N_CALLS} of them, drawn at random" if len(some) > N_CALLS else ""
        st.markdown(f"**{title}: {len(some)} of {len(labels)}{drawn}**")
        picked = np.sort(np.random.default_rng(0).permutation(some)[:N_CALLS])
        places = header.two_a_row(title.lower()).columns(6, gap="small")
        for number, sample in enumerate(picked):
            instance = by_name.get(record["objects"][sample])
            if instance is None:
                continue
            with places[number % 6]:
                try:
                    st.image(
                        images.encode(around(instance, record["keypoints"][sample], protocol), format="JPEG"),
                        width="stretch",
                    )
                except (decoding.ImageError, OSError):
                    continue
                keypoint = known[record["keypoints"][sample]]
                shown = escape_markdown(keypoint_title(keypoint))
                wrong = "" if title == "Right" else f", called {escape_markdown(keypoint_title(names[called[sample]]))}"
                if seen is None:  # no map is made that way
                    st.markdown(shown + wrong)
                    continue
                link = links.Responses(
                    data=pickers.dataset_title(source),
                    category=category,
                    object=instance.name,
                    keypoint=keypoint_title(keypoint),
                    features=(feature_title(feature),),
                    scale=seen,
                ).url
                st.markdown(f"[{shown}]({link}){wrong}")


def around(instance: Instance, keypoint: int, protocol: str) -> np.ndarray:
    image, placement = classification.view(instance, experiments.PROTOCOLS[protocol])
    x, y = placement.to_crop(instance.keypoints)[keypoint]
    side = 2 * AROUND_PX + 1
    cut = images.crop_resized(image, (x - side / 2, y - side / 2, x + side / 2, y + side / 2), width=side, height=side)
    return figures.draw_crosses(cut, [((AROUND_PX, AROUND_PX), figures.keypoint_colour(keypoint))], scale=2)


def python_lines(source: str, category: str, protocol: CropProtocol) -> str:
    imports, where = pickers.python_dataset(source)
    return f"""{imports}from corrcore import backbones, datasets, experiments
from corrcore.tasks.classification import CropProtocol

data, backbone = datasets.open_dataset({where}), backbones.load({BACKBONE!r})
result = experiments.classify(data, {category!r}, backbone=backbone, protocol={protocol!r}, out="classification.json")
for feature, found in result["summary"].items():
    print(feature, found["accuracy"], found["cost"])
"""


def page() -> None:
    header.header(
        "Which layer tells keypoints apart?",
        "Given only the descriptor at a keypoint, a linear classifier says which keypoint it is. **Look for** the rows that do best: "
        "layers learnt from nothing but the names of images against SIFT, at every size.",
    )
    at_data, at_category, at_protocol = header.two_a_row("controls").columns([3, 2, 5], gap="small")
    source, data, category = pickers.choose_category(at_data, at_category)
    url_state.check_link("seen", PROTOCOLS.values())
    protocol = at_protocol.selectbox(
        "Crop and scale", list(PROTOCOLS), format_func=PROTOCOLS.__getitem__, key="seen", bind="query-params"
    )
    results: dict[str, dict[str, Any]] = {}
    for each in data.categories:
        kept = known_result(data, each, protocol)
        if kept is not None:
            results[each] = kept
    drawn = " · **drawn, synthetic**" if data.synthetic else ""
    st.markdown(f"**Accuracy on val, %**{drawn}")
    show_table(results, data.categories)
    if (result := result_or_panel(data, category, protocol)) is None:
        st.stop()
    found, names = result["summary"], result["settings"]["classes"]
    best = max(found, key=lambda feature: found[feature]["accuracy"])
    at_best = found[best]
    st.caption(
        f"{category}: {feature_title(best)} does best, {at_best['accuracy']:.1f} % [{at_best['low']:.1f}, {at_best['high']:.1f}] of "
        f"{at_best['keypoints']} keypoints, {at_best['mean_of_classes']:.1f} % as the mean over {len(names)} classes; by chance "
        f"{100 / len(names):.0f} %."
        + (
            " Drawings are less varied than photos, which suits SIFT: try a data set of photos."
            if data.synthetic
            else ""
        )
    )
    pickers.show_left_out("object", result["records"][best]["measured"]["left_out"])
    section = header.section_picker("Look closer", SECTIONS, key="classification_section")
    if section == SECTIONS[0]:
        costs = result["settings"]["costs"]
        kinds = {
            "Layers": [feature for feature in found if extractors.sift_radius(feature) is None],
            "SIFT": [feature for feature in found if extractors.sift_radius(feature) is not None],
        }
        highest = max(max(each["curve"]) for each in found.values())
        colours = figures.feature_colours(found, caches.layers_of(BACKBONE))
        for place, (title, some) in zip(st.columns(2, gap="medium"), kinds.items(), strict=True):
            place.markdown(f"**{title}: accuracy in cross validation on train**")
            curves = {feature: (costs, found[feature]["curve"]) for feature in some}
            chosen = {feature: found[feature]["cost"] for feature in some}
            place.plotly_chart(
                figures.accuracy_curves(curves, chosen, colours=colours, highest=highest),
                key=f"curves {title}",
                config=PLAIN,
            )
    else:
        url_state.check_link("feature", [feature_title(feature) for feature in found])
        order = list(found)
        feature = (
            st.selectbox("Feature", order, order.index(best), feature_title, key="feature", bind="query-params") or best
        )
        if section == SECTIONS[1]:
            st.plotly_chart(
                figures.confusion(np.array(found[feature]["confusion"]), names), key="confusion", config=PLAIN
            )
        else:
            show_calls(data, category, source, (feature, result["records"][feature]["measured"]), names, protocol)
    file = result_file(data, category, protocol)
    header.how_computed(
        HOW,
        {
            "data": f"{data.title}, {data.digest[:8]}",
            "objects": ", ".join(f"{n} {split}" for split, n in result["settings"]["objects"].items()),
            "seen": PROTOCOLS[protocol],
            "network": f"{BACKBONE}, weights {result['settings']['backbone_digest'][:8]}",
            "costs tried": ", ".join(f"{cost:g}" for cost in result["settings"]["costs"]),
        },
    )
    exports.export_row(
        downloads={f"classification {category}.json": file.read_bytes},
        python=python_lines(source, category, experiments.PROTOCOLS[protocol]),
    )


page()
