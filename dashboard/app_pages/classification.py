"""Which layer tells keypoints apart: Table 3, Figure 4, the confusion matrix, and right and wrong calls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st
from numpy.typing import ArrayLike

from corrcore import decoding, images
from corrcore.datasets.records import Instance, KeypointDataset
from corrcore.experiments import PROTOCOLS, Classification, ClassificationSummary, FeatureAccuracy, Result, published
from corrcore.experiments.classification import ClassificationRecord
from corrcore.features import Extractor, Feature
from corrcore.tasks import classification
from corrcore.tasks.classification import CropProtocol
from dashboard import figures, links
from dashboard.parts import exports, header, pickers, result_panel, url_state
from dashboard.services import caches
from dashboard.titles import keypoint_title, network_title
from dashboard.wording import escape_markdown, sentence

SECTIONS = ("Cost (Figure 4)", "Confusion matrix", "Right and wrong")
N_CALLS, AROUND_PX = 12, 40
PUBLISHED = ", published"
PLAIN = {"displayModeBar": False}

HOW = """
A descriptor is taken at every visible keypoint: of a layer that of the cell whose receptive field is nearest, of SIFT
exactly there. One linear support vector machine per keypoint, each against all others (squared hinge, as liblinear
has it), learns from the train objects; the cost C is that of best accuracy in five-fold cross validation on train,
whose folds share no photo. Accuracy is over all visible keypoints of the val objects, with 95 % bootstrap intervals
over photos. Long, Zhang and Darrell (2014), Section 5, Table 3 and Figure 4. The paper does not say at which size
objects are seen, nor how left and right are counted, and both matter: hence the choice of how they are seen.
"""

ABOUT_CALLS = (
    "A sample is a keypoint of an object: objects, photos and keypoints (by number) have one entry each. labels are what "
    "samples are, the keypoints or left and right alike, and FEATURE_called what they were called, by number in classes. FEATURE_curve is the accuracy in cross "
    "validation at each of costs, FEATURE_cost the best."
)
Summaries = Mapping[str, ClassificationSummary]


@dataclass(frozen=True, eq=False)
class Asked:
    """The choices."""

    source: str
    data: KeypointDataset
    category: str
    network: Extractor
    protocol_name: str

    @property
    def protocol(self) -> CropProtocol:
        """How objects are seen."""
        return PROTOCOLS[self.protocol_name]

    def experiment(self, category: str) -> Classification:
        """What measures a category."""
        return Classification(self.source, category, network=self.network.name, protocol=self.protocol_name)


def choose() -> Asked:
    """The row of controls."""
    at_data, at_category, at_network, at_protocol = header.two_a_row("controls").columns([3, 2, 2, 5], gap="small")
    source, data, category = pickers.choose_category(at_data, at_category)
    url_state.check_link("seen", pickers.PROTOCOLS.values())
    network = pickers.choose_network(at_network)
    protocol = at_protocol.selectbox(
        "Crop and scale",
        list(pickers.PROTOCOLS),
        format_func=pickers.PROTOCOLS.__getitem__,
        key="seen",
        bind="query-params",
    )
    return Asked(source, data, category, network, protocol)


def known_summaries(asked: Asked) -> Summaries:
    """What was computed by the network's usual features, for the photos, weights and code as they are, by category."""
    context, found = caches.context(asked.source, asked.network.name), {}
    for category in asked.data.categories:
        try:
            result = caches.finished(asked.experiment(category).resolved(context), context)
            if result is not None:
                found[category] = result.summary
        except ValueError:  # no train or val objects, or features that were not measured on the same keypoints
            continue
    return found


def show_table(asked: Asked, summaries: Summaries) -> None:
    """Table 3: a row per feature, a column per category, the published number beside it; the mean where all are
    there.
    """
    import pandas as pd  # Streamlit has it loaded

    usual = Classification.usual_features(asked.network)
    rows = list(dict.fromkeys([*usual, *(each for found in summaries.values() for each in found.features)]))
    of = {"dataset": asked.data.name, "network": asked.network.name}
    columns: dict[str, Sequence[float | None]] = {}
    for category in asked.data.categories:
        found = summaries[category].features if category in summaries else {}
        columns[category] = [found[row].accuracy.value if row in found else None for row in rows]
        paper = [published.number("classification", row.key, category, **of) for row in rows]
        if any(number is not None for number in paper):
            columns[category + PUBLISHED] = paper
    if len(asked.data.categories) > 1 and all(category in summaries for category in asked.data.categories):
        own = np.array([columns[category] for category in asked.data.categories], dtype=float)
        columns["mean"] = own.mean(axis=0).tolist()
    table = pd.DataFrame(columns, index=pd.Index([row.title for row in rows], name="feature"))

    def shade(value: float) -> str:
        if value is None or np.isnan(value):
            return ""
        return f"background-color: {figures.heat(value / 100)}"

    theirs = [name for name in columns if name.endswith(PUBLISHED)]
    ours = [name for name in columns if name not in theirs]
    styled = table.style.map(shade, subset=ours).format("{:.1f}", na_rep="", subset=ours)
    styled = styled.format("{:.0f}", na_rep="", subset=theirs)
    st.dataframe(styled, width="content", placeholder="–")
    if theirs:
        st.caption(
            "Published: Long, Zhang and Darrell (2014), Table 3. They do not say at which size objects are seen, "
            "nor whether the "
            'left and the right one of a pair are told apart; compare "left and right alike".'
        )


def result_or_panel(asked: Asked) -> Result[ClassificationRecord, ClassificationSummary] | None:
    """The category's result, or what makes it; at once for drawn animals."""
    n_features, category = len(Classification.usual_features(asked.network)), escape_markdown(asked.category)
    return result_panel.experiment_panel(
        asked.experiment(asked.category),
        caches.context(asked.source, asked.network.name),
        title=f"Nothing has been computed for {category} yet",
        text=f"{n_features} features at every keypoint, and classifiers of them at seven costs: some two minutes on two cores "
        "for AlexNet, longer for larger networks.",
        automatic=asked.data.synthetic,
        button=f"Compute for {asked.category}",
    )


def show_best(asked: Asked, summary: ClassificationSummary, best: Feature) -> None:
    """Which feature does best, and how chance does."""
    found = summary.features[best]
    accuracy, n_classes = found.accuracy, len(summary.classes)
    st.caption(
        f"{escape_markdown(asked.category)}, {network_title(asked.network.name)}: {best.title} does "
        f"best, {accuracy.value:.1f} % "
        f"{escape_markdown(exports.interval_text(accuracy))} of {found.keypoints} keypoints, "
        f"{found.mean_of_classes:.1f} % as "
        f"the mean over {n_classes} classes; by chance {100 / n_classes:.0f} %."
        + " Drawings are less varied than photos, which suits SIFT: try a data set of photos."
        * asked.data.synthetic
    )


def show_costs(asked: Asked, costs: Sequence[float], found: Mapping[Feature, FeatureAccuracy]) -> None:
    """Figure 4."""
    kinds = {
        "Layers": {feature: each for feature, each in found.items() if not feature.is_sift},
        "SIFT": {feature: each for feature, each in found.items() if feature.is_sift},
    }
    highest = float(np.nanmax([each.curve for each in found.values()], initial=0.01))
    colours = figures.feature_colours(found, asked.network.layers)
    for place, (title, some) in zip(st.columns(2, gap="medium"), kinds.items(), strict=True):
        place.markdown(f"**{title}: accuracy in cross validation on train**")
        curves = {feature: (costs, each.curve) for feature, each in some.items()}
        chosen = {feature: each.cost for feature, each in some.items()}
        figure = figures.accuracy_curves(curves, chosen, colours=colours, highest=highest)
        place.plotly_chart(figure, key=f"curves {title}", config=PLAIN)


def choose_feature(features: Sequence[Feature], best: Feature) -> Feature:
    """The feature whose calls are shown, the best one to begin with."""
    url_state.spell_out("feature", {feature.key: feature.title for feature in features})
    url_state.check_link("feature", [name for feature in features for name in (feature.title, feature.key)])
    if st.session_state.get("feature", best) not in features:  # of another network
        del st.session_state["feature"]
    chosen = st.selectbox(
        "Feature",
        features,
        features.index(best),
        lambda feature: f"{feature.title}",
        key="feature",
        bind="query-params",
    )
    return chosen or best


def show_calls(asked: Asked, feature: Feature, record: ClassificationRecord, classes: Sequence[str]) -> None:
    """Some right and some wrong calls by a feature, cut out around the keypoint; each opens the object's
    response map.
    """
    by_name = {one.name: one for one in asked.data.visible_instances(asked.category, "val")}
    right = record.labels == record.called
    for title, some in (("Wrong", np.flatnonzero(~right)), ("Right", np.flatnonzero(right))):
        drawn = f"; {N_CALLS} of them, drawn at random" if len(some) > N_CALLS else ""
        st.markdown(f"**{title}: {len(some)} of {len(right)}{drawn}**")
        picked = np.sort(np.random.default_rng(0).permutation(some)[:N_CALLS])
        places = header.two_a_row(title.lower()).columns(6, gap="small")
        for number, sample in enumerate(picked):
            instance, keypoint = by_name.get(record.objects[sample]), int(record.keypoints[sample])
            if instance is None:
                continue
            called = classes[int(record.called[sample])] if title == "Wrong" else ""
            with places[number % 6]:
                show_call(asked, feature, instance, keypoint, called)


def show_call(asked: Asked, feature: Feature, instance: Instance, keypoint: int, called: str) -> None:
    """One call: what is around the keypoint, its name, and what it was `called` if that is another."""
    try:
        picture = images.encode(around(instance, keypoint, asked.protocol), format="JPEG")
    except (decoding.ImageError, OSError):
        return
    title = keypoint_title(asked.data.keypoint_names[asked.category][keypoint])
    st.image(picture, width="stretch", alt=f"Around {title} of {instance.name}")
    wrong = f", called {escape_markdown(keypoint_title(called))}" if called else ""
    seen = next((title for title, name in pickers.SEEN.items() if name == asked.protocol_name), None)
    if seen is None:  # no map is made that way
        st.markdown(escape_markdown(title) + wrong)
        return
    link = links.Responses(
        data=pickers.dataset_title(asked.source),
        category=asked.category,
        network=asked.network.name,
        object=instance.name,
        keypoint=title,
        features=(feature.key,),
        scale=seen,
    ).url
    st.markdown(f"[{escape_markdown(title)}]({link}){wrong}")


def around(instance: Instance, keypoint: int, protocol: CropProtocol) -> np.ndarray:
    """What is around a keypoint, as the protocol shows it, with a cross in its colour."""
    image, transform = classification.view(instance, protocol)
    x, y = transform.to_crop(instance.keypoints)[keypoint]
    side = 2 * AROUND_PX + 1
    cut = images.crop_resized(image, (x - side / 2, y - side / 2, x + side / 2, y + side / 2), width=side, height=side)
    return figures.draw_crosses(cut, [((AROUND_PX, AROUND_PX), figures.keypoint_colour(keypoint))], scale=2)


def calls_file(
    asked: Asked, result: Result[ClassificationRecord, ClassificationSummary], costs: Sequence[float]
) -> bytes:
    """Every call, by feature, and accuracies over the costs."""
    records = result.records
    first = next(iter(records.values()))
    content: dict[str, ArrayLike] = {
        "about": ABOUT_CALLS,
        "data": f"{asked.data.name} {asked.data.digest}",
        "network": f"{asked.network.name} {asked.network.digest}",
        "seen": asked.protocol_name,
        "classes": result.summary.classes,
        "costs": costs,
        "labels": first.labels,
        "keypoints": first.keypoints,
        "objects": first.objects,
        "photos": first.photos,
    }
    for feature, record in records.items():
        content |= {
            f"{feature}_called": record.called,
            f"{feature}_curve": record.curve,
            f"{feature}_cost": record.cost,
        }
    return exports.as_npz(content)


def python_lines(asked: Asked) -> str:
    """The call that made the result."""
    return f"""from corrcore.experiments import Classification, run

experiment = Classification(
    {pickers.python_dataset(asked.source)}, {asked.category!r}, network={asked.network.name!r}, protocol={asked.protocol_name!r}
)
result = run(experiment)
for feature, found in result.summary.features.items():
    print(f"{{feature.title}}: {{found.accuracy.value:.1f}} % at cost {{found.cost:g}}")
"""


def show_how(asked: Asked, costs: Sequence[float]) -> None:
    """How the table comes about, and the parameters in force."""
    objects = {split: len(asked.data.visible_instances(asked.category, split)) for split in ("train", "val")}
    header.how_computed(
        HOW,
        {
            "data": f"{asked.data.title}, {asked.data.digest[:8]}",
            "objects": ", ".join(f"{n} {split}" for split, n in objects.items()),
            "seen": pickers.PROTOCOLS[asked.protocol_name],
            "network": f"{asked.network.name}, weights {asked.network.digest[:8]}",
            "costs tried": ", ".join(f"{cost:g}" for cost in costs),
        },
    )


def page() -> None:
    """Controls, the table, and a closer look at the chosen category."""
    header.header(
        "Which layer tells keypoints apart?",
        "Given only the descriptor at a keypoint, a linear classifier says which keypoint it is. **Look for** the "
        "layer that does "
        "best, of those learnt from nothing but the names of images, and for the radii at which SIFT comes near it "
        "or does better.",
    )
    asked = choose()
    drawn = " · **drawn, synthetic**" if asked.data.synthetic else ""
    st.markdown(f"**Accuracy on val by layers of {network_title(asked.network.name)} and by SIFT, %**{drawn}")
    at_table = st.container()
    result = result_or_panel(asked)
    with at_table:  # now, lest what ended in between were missing
        show_table(asked, known_summaries(asked))
    if result is None:
        st.stop()
    try:
        summary = result.summary
    except ValueError as error:
        st.error(sentence(error), icon=":material/error:")
        st.stop()
    found, costs = summary.features, classification.usual_costs(asked.protocol)
    best = max(found, key=lambda feature: found[feature].accuracy.value)
    show_best(asked, summary, best)
    pickers.show_left_out("object", {**result.records[best.key].left_out, **result.skipped})
    section = header.section_picker("Look closer", SECTIONS, key="classification_section")
    if section == SECTIONS[0]:
        show_costs(asked, costs, found)
    else:
        feature = choose_feature(list(found), best)
        if section == SECTIONS[1]:
            chart = figures.confusion(found[feature].confusion, summary.classes)
            st.plotly_chart(chart, key="confusion", config=PLAIN)
        else:
            show_calls(asked, feature, result.records[feature.key], summary.classes)
    show_how(asked, costs)
    name = f"classification {asked.category}, {asked.network.name}"
    exports.export_row(
        downloads={f"{name}.json": result.to_json, f"{name}.npz": lambda: calls_file(asked, result, costs)},
        python=python_lines(asked),
    )


page()
