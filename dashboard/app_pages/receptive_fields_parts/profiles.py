"""How far from the centre a seed's neighbours agree, in a chart, a table and in words."""

from collections.abc import Iterable, Mapping

import numpy as np
import streamlit as st

from corrcore.experiments import AgreementRadius, Context
from corrcore.geometry import WINDOW_STRIDES
from corrcore.patch_index import PatchIndex
from corrcore.tasks.averaging import LEAST_AGREEMENT, Agreement, Study
from dashboard import figures
from dashboard.app_pages.receptive_fields_parts.seeds import colours_of
from dashboard.parts import result_panel, url_state
from dashboard.services import caches

SEEDS = (10, 30, 100)


def show_profiles(found: Mapping[str, Study], index: PatchIndex) -> None:
    """The profiles of one seed, what they mean, and the radii beside the receptive fields."""
    profiles = {layer: study.agreement for layer, study in found.items()}
    chart, words = st.columns([3, 2], gap="medium")
    with chart:
        st.markdown("**How far from the centre do neighbours agree?** The dot is the agreement radius.")
        figure = figures.agreement_profile(profiles, colours_of(index, list(found)))
        st.plotly_chart(figure, key="profile", config={"displayModeBar": False})
    with words:
        st.markdown("**This seed**")
        for sentence in in_words(profiles):
            st.markdown(f"- {sentence}")
        st.caption(
            "1: neighbours all show the same; 0: they are no more alike than random receptive fields; below 0: less "
            "alike. "
            "Pixels are those of the picture that the network sees."
        )
    st.dataframe(
        {
            "layer": list(found),
            "agreement radius": [radius_text(profile.agreement_radius_px) for profile in profiles.values()],
            "half the receptive field": [f"{index.receptive_field(layer).window_px / 2:.0f} px" for layer in found],
            "from cell to cell": [f"{index.receptive_field(layer).stride} px" for layer in found],
            "at the centre": [f"{profile.agreement[0]:.2f}" for profile in profiles.values()],
            "at the rim": [f"{profile.agreement[-1]:.2f}" for profile in profiles.values()],
            "similarity of the 5th": [f"{study.averages.similarities[:5][-1]:.2f}" for study in found.values()],
        },
        hide_index=True,
        width="stretch",
    )


def in_words(profiles: Mapping[str, Agreement]) -> list[str]:
    """What the profiles mean, a sentence for each kind that is there."""
    falling = {layer: each for layer, each in profiles.items() if np.isfinite(each.agreement_radius_px)}
    flat = [layer for layer, each in profiles.items() if np.isinf(each.agreement_radius_px)]
    none = {layer: each for layer, each in profiles.items() if np.isnan(each.agreement_radius_px)}
    negative = [layer for layer, each in none.items() if each.agreement[0] <= -LEAST_AGREEMENT]
    unlike = [layer for layer in none if layer not in negative]
    sentences = []
    if falling:
        radii = _listed([f"{each.agreement_radius_px:.0f}" for each in falling.values()])
        sentences.append(
            f"{_listed(falling)}: neighbours show the same at the centre and differ outwards. Half of the agreement "
            f"that is lost "
            f"up to the rim is lost within {radii} px."
        )
    if flat:
        sentences.append(
            f"{_listed(flat)}: agreement does not fall. Neighbours are as alike at the rim as at the centre, by "
            f"their background or "
            "light, so this seed says nothing of where things are."
        )
    if negative:
        sentences.append(
            f"{_listed(negative)}: below zero at the centre. Neighbours differ more there than receptive fields "
            f"drawn at "
            "random, as black and white coats do: what they share is a shape or an edge, not its colours."
        )
    if unlike:
        sentences.append(
            f"{_listed(unlike)}: no agreement at the centre. The index holds no counterpart of this point, or only in "
            "other colours; try another point or a larger index."
        )
    return sentences


def radius_text(radius: float) -> str:
    """An agreement radius, or why there is none."""
    if np.isnan(radius):
        return "no agreement"
    return f"{radius:.0f} px" if np.isfinite(radius) else "does not fall"


def interval_text(low: float, high: float) -> str:
    """An interval of radii; where agreement does not fall they have no end.

    >>> interval_text(23.4, 41.0), interval_text(23.4, np.inf), interval_text(np.inf, np.inf)
    ('23 to 41 px', '23 px or more', 'does not fall')
    """
    if not np.isfinite(low):
        return radius_text(low)
    return f"{low:.0f} to {high:.0f} px" if np.isfinite(high) else f"{low:.0f} px or more"


def show_over_seeds(index: PatchIndex) -> None:
    """The agreement radius as a property of the layer: its median over random seeds, computed when asked for."""
    st.subheader("Over many seeds", anchor=False)
    url_state.check_link("n_seeds", [str(n) for n in SEEDS])
    n_seeds = st.segmented_control(
        "Random seeds", SEEDS, default=SEEDS[1], key="n_seeds", bind="query-params", required=True
    )
    n_seeds = n_seeds or SEEDS[1]
    context = Context(
        store=caches.store().folder,
        opened_indexes={index.name: index.with_window(WINDOW_STRIDES)},
        opened_networks={index.extractor: caches.network(index.extractor)},
    )
    result = result_panel.experiment_panel(
        AgreementRadius(
            index.name,
            layers=tuple(index.layers),
            limit=n_seeds,
            window=index.window_strides,
            approximate=not index.exact,
        ),
        context,
        title="One seed says little",
        text=f"The median over {n_seeds} random seeds says how near neighbours agree by each layer.",
        button=f"Measure over {n_seeds} random seeds",
    )
    if result is None:
        return
    rows = {layer: of["agreement_radius_px"] for layer, of in result.summary.items()}
    st.dataframe(
        {
            "layer": list(rows),
            "median agreement radius": [radius_text(row.value) for row in rows.values()],
            "95 % interval": [interval_text(row.low, row.high) for row in rows.values()],
            "half the receptive field": [f"{index.receptive_field(layer).window_px / 2:.0f} px" for layer in rows],
            "seeds that agree": [f"{row.samples} of {n_seeds}" for row in rows.values()],
        },
        hide_index=True,
        width="stretch",
    )
    st.caption("Seeds whose neighbours do not agree at the centre are left out.")


def _listed(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
