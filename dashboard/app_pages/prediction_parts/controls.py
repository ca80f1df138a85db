"""Which prior, and how much it counts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from corrcore.experiments import Row
from corrcore.features import Feature
from corrcore.tasks.detection import PRIORS, PriorFusion
from dashboard import first_views
from dashboard.app_pages.prediction_parts.training import Learnt
from dashboard.parts import pickers, url_state

CHOSEN, AS_SET, BY_HAND = "as chosen on train", "as set for drawings", "by hand"
ETAS, SIGMAS_PX = (0.0, 1.0), (5.0, 100.0)  # lowest and highest that are chosen by hand


@dataclass(frozen=True)
class Weights:
    """How many objects the prior comes from, none for detectors alone, and by feature how it counts."""

    priors: int
    fusions: Mapping[Feature, PriorFusion | None]

    def row(self, feature: Feature) -> Row:
        """The row of the table that has such predictions."""
        return Row(feature, self.priors)

    def title(self, feature: Feature) -> str:
        """What was predicted by; of weights at their ends only what counts."""
        fusion = self.fusions[feature]
        if fusion is not None and fusion.eta == 1:
            return "the prior alone"
        alone = fusion is None or fusion.eta == 0
        return f"{feature.title} alone" if alone else self.row(feature).title


def choose_weights(places: Sequence[Any], learnt: Learnt) -> Weights:
    """The controls, one in each of four places."""
    at_prior, at_mode, at_eta, at_sigma = places
    detectors, titles = learnt.detectors, pickers.PRIOR_TITLES
    first = first_views.PRIORS if learnt.data.synthetic else PRIORS
    url_state.follow_default("prior", first)
    usual = AS_SET if learnt.data.synthetic else CHOSEN
    url_state.check_link("prior", titles.values())
    priors = at_prior.selectbox(
        "Prior from",
        sorted(titles, key=lambda n: n != first),
        format_func=titles.__getitem__,
        key="prior",
        bind="query-params",
    )
    if not priors:
        return Weights(0, dict.fromkeys(detectors))
    url_state.check_link("weights", (CHOSEN, AS_SET, BY_HAND))
    url_state.check_number("eta", *ETAS)
    url_state.check_number("sigma", *SIGMAS_PX)
    mode = at_mode.selectbox(
        "Weight and width",
        (usual, BY_HAND),
        key="weights",
        bind="query-params",
        help="Chosen by cross validation on train objects, for each feature. For drawn objects it is set.",
    )
    best = {feature: each.fusions[priors] for feature, each in detectors.items()}
    own = best[learnt.own]
    if mode != BY_HAND:
        at_eta.caption(f"{learnt.own.title}: weight η {own.eta:.3f}")
        at_sigma.caption(f"width σ {own.sigma_px:.0f} px")
        return Weights(priors, best)
    eta = at_eta.slider(
        "Weight η",
        *(*ETAS, own.eta, 0.005),
        key="eta",
        bind="query-params",
        format="%.3f",
        help="The exponent of p: 0 is the detectors alone, 1 the prior alone. A detector's values vary much less than the "
        "prior's, so a few hundredths count for much.",
    )
    sigma = at_sigma.slider(
        "Width σ, px",
        *(*SIGMAS_PX, own.sigma_px, 1.0),
        key="sigma",
        bind="query-params",
        format="%.0f",
        help="In pixels of the box, stretched to 500 x 500.",
    )
    return Weights(priors, {feature: PriorFusion(own.neighbours, sigma, eta) for feature in detectors})
