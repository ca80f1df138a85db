"""Nearest neighbours by cosine: exactly, and approximately from compressed descriptors."""

from corrcore.engines.knn.codes import quantise
from corrcore.engines.knn.compressed import Compression, Probing, compress
from corrcore.engines.knn.held import SearchCluster
from corrcore.engines.knn.table import DescriptorTable, Neighbours, Pass, Scan

__all__ = [
    "Compression",
    "DescriptorTable",
    "Neighbours",
    "Pass",
    "Probing",
    "Scan",
    "SearchCluster",
    "compress",
    "quantise",
]
