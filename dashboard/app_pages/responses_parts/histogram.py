"""Where around a keypoint its score is highest, over all objects: Figure 5."""

from collections.abc import Mapping

import numpy as np
import streamlit as st

from corrcore.experiments import KeypointResponse, Responses
from corrcore.features import Feature
from corrcore.tasks.responses import SIDE_PX, WIDE_PX
from dashboard import figures
from dashboard.app_pages.responses_parts.controls import Asked
from dashboard.parts import exports, header, legends, pickers, result_panel
from dashboard.services import caches
from dashboard.titles import keypoint_title
from dashboard.wording import escape_markdown

SIDES = {f"{side} x {side} px": side for side in (SIDE_PX, WIDE_PX)}
PLAIN = {"displayModeBar": False}


def experiment_of(asked: Asked, side: int) -> Responses:
    """What measures the histogram."""
    return Responses(
        asked.source,
        asked.category,
        network=asked.network.name,
        features=asked.features,
        keypoints=(asked.keypoint,),
        protocol=asked.protocol_name,
        side=side,
    )


def show_histogram(asked: Asked) -> Responses:
    """The histogram, or the button that computes it; and the experiment."""
    keypoint = escape_markdown(keypoint_title(asked.keypoint))
    st.markdown(
        f"**Where the score of {keypoint} is highest** in a square around the true place, for all val objects that "
        "show it "
        "with room around. Maxima on the square's rim, beyond the dotted line, are counted but left out of the "
        "numbers: there "
        "the score may still be rising."
    )
    experiment = experiment_of(asked, SIDES[header.section_picker("Side of the square", tuple(SIDES), key="side")])
    result = result_panel.experiment_panel(
        experiment,
        caches.context(asked.source, asked.network.name),
        title=f"Nothing has been computed for {escape_markdown(asked.category)} and {keypoint} yet",
        text="On two cores that takes about two seconds per object, for squares of 81 px about five; it can be stopped and gone "
        "on with.",
        button=f"Compute for all {asked.category} objects",
    )
    if result is None:
        return experiment
    found = {feature: one for feature, of in result.summary.items() if (one := of[asked.keypoint]) is not None}
    pickers.show_left_out("object", result.skipped)
    if not found:
        st.info(
            f"No val object shows {keypoint} with so much room around it; choose a smaller square.",
            icon=":material/crop:",
        )
        return experiment
    _show(asked, experiment, found)
    return experiment


def _show(asked: Asked, experiment: Responses, found: Mapping[Feature, KeypointResponse]) -> None:
    st.markdown("  \n".join(in_words(feature, one) for feature, one in found.items()))
    highest = max(int(one.counts.max()) for one in found.values())
    for place, (feature, one) in zip(st.columns(len(found)), found.items(), strict=True):
        with place:
            st.markdown(f"**{feature.title}**")
            chart = figures.maxima_counts(one.counts, highest=highest)
            st.plotly_chart(chart, key=f"counts {feature.key}", config=PLAIN)
    legends.colour_bar(figures.viridis_colours(), "no maximum", f"{highest} on one pixel")
    if rows := [_table_row(feature, one) for feature, one in found.items() if one.within]:
        st.dataframe({name: [row[name] for row in rows] for name in rows[0]}, hide_index=True, width="stretch")
    st.markdown("**The mean score by distance from the keypoint**")
    profiles = {feature: one.profile for feature, one in found.items()}
    colours = figures.feature_colours(found, asked.network.layers)
    st.plotly_chart(figures.score_by_distance(profiles, colours=colours), key="by distance", config=PLAIN)
    st.download_button(
        "CSV",
        lambda: counts_csv(asked, experiment, found),
        f"maxima of {asked.keypoint}.csv",
        icon=":material/download:",
        on_click="ignore",
    )


def _table_row(feature: Feature, found: KeypointResponse) -> dict[str, str]:
    shares = {
        f"within {radius} px (chance)": f"{100 * own:.0f} % ({100 * chance:.0f})"
        for radius, (own, chance) in found.within.items()
    }
    return {
        "feature": feature.title,
        "objects": str(found.instances),
        **shares,
        "median (chance)": f"{found.median_px:.1f} px ({found.chance_median_px:.1f})",
        "on the boundary": f"{100 * found.boundary_share:.0f} %",
    }


def in_words(feature: Feature, found: KeypointResponse) -> str:
    """What a feature's histogram says, in a sentence."""
    if np.isnan(found.low):
        return f"**{feature.title}**: too few maxima inside the square to say anything."
    low, high, chance = found.low, found.high, found.chance_median_px
    against = "nearer than by" if high < chance else "farther than by" if low > chance else "not surely nearer than by"
    inner = round(found.instances * (1 - found.boundary_share))
    text = (
        f"**{feature.title}**: of the {inner} maxima inside, half lie within {found.median_px:.1f} px [{low:.1f}, "
        f"{high:.1f}] "
        f"of the keypoint, {against} chance ({chance:.1f} px)"
    )
    if found.finer is not None:
        stride = f"its stride alone ({found.stride_median_px:.1f} px)"
        said = {"yes": f"finer than {stride}", "no": f"not finer than {stride}"}
        text += f"; {said.get(found.finer, f'whether finer than {stride} stays open')}"
    return text + "."


def counts_csv(asked: Asked, experiment: Responses, found: Mapping[Feature, KeypointResponse]) -> bytes:
    """How many maxima fall on each pixel: x to the right and y down from the keypoint's, in pixels of what is seen."""
    half = experiment.side // 2
    return exports.as_csv(
        [
            {
                "network": asked.network.name,
                "feature": feature.key,
                "keypoint": asked.keypoint,
                "seen": asked.seen_as,
                "x from keypoint, px": column - half,
                "y from keypoint, px": row - half,
                "maxima": int(count),
            }
            for feature, one in found.items()
            for row, counts in enumerate(one.counts)
            for column, count in enumerate(counts)
        ]
    )
