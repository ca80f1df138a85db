"""Results kept on disk."""

from corrcore.store.cache import (
    Cache,
    Entry,
    Statistics,
    default_folder,
    key,
)

__all__ = [
    "Cache",
    "Entry",
    "Statistics",
    "default_folder",
    "key",
]
