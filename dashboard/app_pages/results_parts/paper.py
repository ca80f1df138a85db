"""The numbers in print, and the rule for what they stand beside: `corrcore.experiments.published`, asked here alone."""

from typing import get_args

from corrcore.experiments import Row, published

TABLES: dict[str, published.Numbered] = {table: table for table in get_args(published.Numbered)}


def number(kind: str, row: Row, category: str, *, data: str, network: str) -> float | None:
    """What is in print for a row and a category of an experiment; None for what is not."""
    table = TABLES.get(kind)
    return None if table is None else published.number(table, row.key, category, dataset=data, network=network)


def has_row(kind: str, row: Row, *, data: str, network: str) -> bool:
    """Whether a row is in print."""
    table = TABLES.get(kind)
    return table is not None and published.has_row(table, row.key, dataset=data, network=network)


def transfer_means(alpha: float, *, data: str, network: str) -> dict[Row, float]:
    """What is in print at the stricter alphas: Table 2's means over all categories, by row."""
    found = published.transfer_means(alpha, dataset=data, network=network)
    return {Row.parse(key, network=network): value for key, value in found.items()}


def receptive_field(layer: str, *, network: str) -> tuple[int, int] | None:
    """Size and stride in print of a network's layer."""
    return published.receptive_field(layer, network=network)
