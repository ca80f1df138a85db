"""Views as visitors ask for them: pages with choices in their addresses."""

import random
from collections.abc import Iterator

from corrcore.datasets import drawn
from corrcore.datasets.samples import samples
from dashboard.navigation import PAGES

LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5")


def random_view(rng: random.Random) -> tuple[str, str]:
    """A page's path and a query: choices that make the app compute something, or find it again."""
    photo = f"photo=sample:{rng.choice([*drawn.unseen(), *samples()])}"
    at = f"at={rng.randrange(20, 200)},{rng.randrange(20, 200)}"
    queries = {
        "reconstruction": f"{photo}&{at}&k={rng.choice((1, 3, 5, 9))}",
        "receptive_fields": f"{photo}&{at}",
        "classification": f"feature={rng.choice(LAYERS)}",
        "responses": f"keypoint={rng.choice(('Nose', 'L_Eye', 'R_Eye'))}&{at}",
        "prediction": f"keypoint={rng.choice(('Nose', 'L_Eye', 'R_Eye'))}",
        "alignment": at,
    }
    page = rng.choice([spec.path for spec in PAGES])
    return ("" if page == "home" else page), queries.get(page, "")


def quick_views() -> Iterator[tuple[str, str]]:
    """Without end, one page after the other, as each shows itself at first."""
    while True:
        for spec in PAGES:
            yield ("" if spec is PAGES[0] else spec.path), ""
