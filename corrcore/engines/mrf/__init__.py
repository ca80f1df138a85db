"""Labels of least energy on a grid."""

from corrcore.engines.mrf.solve import (
    BATCH_BYTES,
    LARGEST,
    VERSION,
    Method,
    Progress,
    Solution,
    energy,
    minimise,
    minimise_batch,
    roughness,
)

__all__ = [
    "BATCH_BYTES",
    "LARGEST",
    "VERSION",
    "Method",
    "Progress",
    "Solution",
    "energy",
    "minimise",
    "minimise_batch",
    "roughness",
]
