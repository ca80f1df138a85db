"""Which layer tells keypoints apart: Table 3, Figure 4, who is taken for whom, and right and wrong calls."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import streamlit as st

from corrcore import classification, datasets, experiments, images, sources
from corrcore.classification import Protocol
from corrcore.datasets.records import Instance, KeypointDataset
from dashboard import choices, figures, layout, published, resources

BACKBONE = "alexnet"
PROTOCOLS = {
    "box": "in a box of 500 px",
    "small": "in a box of 250 px",
    "photo": "in the photo as it is",
    "raw": "in a box of 500 px, descriptors as they are",
    "three": "in a box of 500 px, 3 x 3 cells together",
    "sideless": "in a box of 500 px, left and right alike",
    "exact": "in a box of 500 px, layers at the keypoint's pixel",
    "exact-photo": "in the photo as it is, layers at the keypoint's pixel",
}
FEATURE_ROWS = experiments.NAMING
SECTIONS = ("Cost (Figure 4)", "Who is taken for whom", "Right and wrong")
N_CALLS, AROUND_PX = 12, 40
PLAIN = {"displayModeBar": False}

HOW = """
A descriptor is taken at every visible keypoint: of a layer that of the cell whose receptive field is nearest, of SIFT exactly
there. One linear support vector machine a keypoint, each against all others (squared hinge, as liblinear has it), learns
from the train objects; the cost C is that of best accuracy in five-fold cross validation on train, whose folds share no photo.
Accuracy is over all visible keypoints of the val objects, with 95 % bootstrap intervals over objects. Long, Zhang and
Darrell (2014), Section 5, Table 3 and Figure 4. The paper does not say at which size objects are seen, nor how left and right
are counted, and both matter: hence the choice of how they are seen.
"""


def result_file(data: KeypointDataset, category: str, protocol: str) -> Path:
    return experiments.default_folder(data, BACKBONE) / experiments.classification_file(category, protocol)


def compute(data: KeypointDataset, category: str, protocol: str, *, at_once: bool) -> None:
    """A button that computes a category's results, or without one `at_once`; the job's progress."""
    file = result_file(data, category, protocol)
    key = "classification", str(file)
    job = resources.measurement(key)
    if resources.read_only():
        st.info("Nothing has been computed for this yet on this server.", icon=":material/table_chart:")
        return
    running = job is not None and not job.finished
    pressed = not at_once and st.button(f"Compute for {category}", key="compute", disabled=running, type="primary")
    if pressed or (at_once and job is None):
        backbone = resources.network(BACKBONE)

        def work(*, progress: Callable[[float, str], None]) -> dict[str, Any]:
            file.parent.mkdir(parents=True, exist_ok=True)
            return experiments.classify(
                data,
                category,
                backbone=backbone,
                features=FEATURE_ROWS,
                protocol=experiments.PROTOCOLS[protocol],
                out=file,
                progress=progress,
            )

        job = layout.begin_measurement(work, f"Table 3, {category}", key)
    if job is not None:
        layout.job_panel(job)


def show_table(results: dict[str, dict[str, Any]], categories: tuple[str, ...]) -> None:
    """Table 3: a row a feature, a column a category, the published number beside it."""
    import pandas as pd  # Streamlit has it loaded

    columns: dict[str, list[float | None]] = {}
    for each in categories:
        summary = results[each]["summary"] if each in results else {}
        columns[each] = [summary[row]["accuracy"] if row in summary else None for row in FEATURE_ROWS]
        paper = [published.classification(row, each) for row in FEATURE_ROWS]
        if any(number is not None for number in paper):
            columns[f"{each}, published"] = [None if number is None else float(number) for number in paper]
    table = pd.DataFrame(columns, index=pd.Index([choices.feature_title(row) for row in FEATURE_ROWS], name="feature"))

    def shade(value: float) -> str:
        if value is None or np.isnan(value):
            return ""
        return f"background-color: rgba(15, 107, 125, {min(max(value, 0) / 100, 1):.2f})"

    st.dataframe(table.style.map(shade).format("{:.1f}", na_rep=""), width="stretch", placeholder="–")


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
    alike = experiments.PROTOCOLS[protocol].longer_side_px
    seen = next(title for title, name in choices.SEEN.items() if experiments.PROTOCOLS[name].longer_side_px == alike)
    by_name = {one.name: one for one in data.shown(category, "val")}
    labels, called = np.array(record["labels"]), np.array(record["called"])
    for title, some in (("Wrong", np.flatnonzero(labels != called)), ("Right", np.flatnonzero(labels == called))):
        st.markdown(f"**{title}: {len(some)} of {len(labels)}**")
        picked = np.sort(np.random.default_rng(0).permutation(some)[:N_CALLS])
        places = layout.two_a_row(title.lower()).columns(6, gap="small")
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
                except (images.ImageError, OSError):
                    continue
                keypoint = data.keypoint_names[category][record["keypoints"][sample]]
                name = names[called[sample]]
                link = urlencode(
                    {
                        "data": titled(source),
                        "category": category,
                        "object": instance.name,
                        "keypoint": keypoint,
                        "features": choices.feature_title(feature),
                        "seen": seen,
                    }
                )
                st.markdown(f"[{keypoint}](responses?{link})" + ("" if title == "Right" else f", called {name}"))


def titled(source: str) -> str:
    return choices.SYNTHETIC if source == datasets.TOY else source


def around(instance: Instance, keypoint: int, protocol: str) -> np.ndarray:
    image, placement = classification.view(instance, experiments.PROTOCOLS[protocol])
    x, y = placement.to_cut_out(instance.keypoints)[keypoint]
    side = 2 * AROUND_PX + 1
    cut = images.cut(image, (x - side / 2, y - side / 2, x + side / 2, y + side / 2), width=side, height=side)
    return figures.marked(cut, [((AROUND_PX, AROUND_PX), figures.keypoint_colour(keypoint))], scale=2)


def python_lines(source: str, category: str, protocol: Protocol) -> str:
    imports, where = choices.python_dataset(source)
    return f"""{imports}from corrcore import backbones, datasets, experiments
from corrcore.classification import Protocol

data, backbone = datasets.open_dataset({where}), backbones.load({BACKBONE!r})
result = experiments.classify(data, {category!r}, backbone=backbone, protocol={protocol!r}, out="classification.json")
for feature, found in result["summary"].items():
    print(feature, found["accuracy"], found["cost"])
"""


def page() -> None:
    layout.header(
        "Which layer tells keypoints apart?",
        "Given only the descriptor at a keypoint, a linear classifier says which keypoint it is. **Look for** the rows that do best: "
        "layers learnt from nothing but the names of images against SIFT, at every size.",
    )
    at_data, at_category, at_protocol = layout.two_a_row("controls").columns([3, 2, 5], gap="small")
    source, data, category = choices.choose_category(at_data, at_category)
    choices.check_link("seen", PROTOCOLS.values())
    protocol = at_protocol.selectbox(
        "Objects seen", list(PROTOCOLS), format_func=PROTOCOLS.__getitem__, key="seen", bind="query-params"
    )
    results: dict[str, dict[str, Any]] = {}
    for each in data.categories:
        kept = experiments.read(result_file(data, each, protocol))
        if kept is not None:
            results[each] = kept
    drawn = " · **drawn, synthetic**" if data.synthetic else ""
    st.markdown(f"**Accuracy on val, %**{drawn}")
    show_table(results, data.categories)
    if category not in results:
        compute(data, category, protocol, at_once=data.synthetic)
        st.stop()
    result = results[category]
    found, names = result["summary"], result["settings"]["classes"]
    best = max(found, key=lambda feature: found[feature]["accuracy"])
    at_best = found[best]
    st.caption(
        f"{category}: {choices.feature_title(best)} does best, {at_best['accuracy']:.1f} % [{at_best['low']:.1f}, {at_best['high']:.1f}] of "
        f"{at_best['keypoints']} keypoints, {at_best['mean_of_classes']:.1f} % as the mean over {len(names)} classes; by chance "
        f"{100 / len(names):.0f} %. Published: Long, Zhang and Darrell (2014), Table 3."
    )
    section = layout.switch("Look closer", SECTIONS, key="classification_section")
    if section == SECTIONS[0]:
        costs = result["settings"]["costs"]
        kinds = {
            "Layers": [feature for feature in found if sources.sift_radius(feature) is None],
            "SIFT": [feature for feature in found if sources.sift_radius(feature) is not None],
        }
        for place, (title, some) in zip(st.columns(2, gap="medium"), kinds.items(), strict=True):
            place.markdown(f"**{title}: accuracy in cross validation on train**")
            curves = {feature: (costs, found[feature]["curve"]) for feature in some}
            chosen = {feature: found[feature]["cost"] for feature in some}
            place.plotly_chart(figures.accuracy_curves(curves, chosen), key=f"curves {title}", config=PLAIN)
    else:
        choices.check_link("feature", found)
        feature = st.selectbox(
            "Feature", list(found), list(found).index(best), choices.feature_title, key="feature", bind="query-params"
        )
        if section == SECTIONS[1]:
            st.plotly_chart(
                figures.confusion(np.array(found[feature]["confusion"]), names), key="confusion", config=PLAIN
            )
        else:
            show_calls(data, category, source, (feature, result["records"][feature]["measured"]), names, protocol)
    file = result_file(data, category, protocol)
    layout.how_computed(
        HOW,
        {
            "data": f"{data.title}, {data.digest[:8]}",
            "objects": result["settings"]["objects"],
            "seen": PROTOCOLS[protocol],
            "network": f"{BACKBONE}, weights {result['settings']['backbone_digest'][:8]}",
            "costs tried": ", ".join(f"{cost:g}" for cost in result["settings"]["costs"]),
        },
    )
    layout.quiet_row(
        downloads={f"classification {category}.json": file.read_bytes},
        python=python_lines(source, category, experiments.PROTOCOLS[protocol]),
    )


page()
