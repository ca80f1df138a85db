"""Nearest neighbours by cosine, exactly."""

from corrcore.engines.knn.codes import quantise
from corrcore.engines.knn.on_ray import SearchCluster
from corrcore.engines.knn.table import DescriptorTable, Neighbours, Pass, Scan

__all__ = ["DescriptorTable", "Neighbours", "Pass", "Scan", "SearchCluster", "quantise"]
