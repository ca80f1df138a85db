"""Labels of least energy on a grid."""

from corrcore.engines.mrf.marginals import min_marginals
from corrcore.engines.mrf.problem import Method, Solution, energy, roughness
from corrcore.engines.mrf.solve import VERSION, minimise, minimise_batch

__all__ = ["VERSION", "Method", "Solution", "energy", "min_marginals", "minimise", "minimise_batch", "roughness"]
