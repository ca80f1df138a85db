"""Table 4's rows for a category, and a button to compute them."""

import streamlit as st

from corrcore.experiments import ALPHAS, Prediction, published
from corrcore.wording import counted
from dashboard import links
from dashboard.app_pages.prediction_parts.training import Learnt
from dashboard.parts import exports, pickers
from dashboard.parts.result_panel import experiment_panel
from dashboard.wording import rough_duration, sentence

LOOKING_S = 0.3  # per object, by AlexNet on two cores


def show(learnt: Learnt) -> None:
    """The table, or what makes it."""
    category, network = learnt.category, learnt.network.name
    n = len(learnt.data.visible_instances(category, "val"))
    result = experiment_panel(
        Prediction(learnt.source, category, network=network),
        learnt.context,
        button=f"Compute for {category}",
        title=f"Table 4 has not been computed for {category} yet",
        text=f"All {counted(n, 'val object')} are looked at; that takes about {rough_duration(LOOKING_S * n)} by AlexNet on two "
        "cores, longer by larger networks.",
    )
    if result is None:
        return
    try:
        summary = result.summary
    except ValueError as error:
        st.error(sentence(error), icon=":material/error:")
        return
    lines = []
    for row in summary.rows:
        line = {"row": row.title}
        for alpha in ALPHAS:
            found = summary.accuracy(row, alpha=alpha)
            line[f"α = {alpha}"] = f"{found.value:.1f} {exports.interval_text(found)}"
        number = published.text("prediction", row.key, category, dataset=learnt.data.name, network=network)
        lines.append(line | {"published, α = 0.1": number})
    names = [name for name in lines[0] if any(line[name] for line in lines)]
    st.dataframe({name: [line[name] for line in lines] for name in names}, hide_index=True, width="stretch")
    of = f"{len(summary.objects)}" if len(summary.objects) == n else f"{len(summary.objects)} of {n}"
    link = links.Results(table="4 Prediction", data=pickers.dataset_title(learnt.source), category=category).url
    st.caption(
        f"PCK in percent, by {network} and SIFT: keypoints within α of the box's sides, over {of} val objects, the "
        "mean over "
        f"keypoint types, with 95 % intervals over objects. The [Results page]({link}) has all categories side by side."
    )
