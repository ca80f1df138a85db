"""What is kept on disk: keys, files written whole, arrays with digests, locks, and the cache of results."""

from corrcore.store.arrays import load_arrays, save_arrays
from corrcore.store.bundle import Bundle, write_bundle
from corrcore.store.cache import Cache, Entry, Statistics
from corrcore.store.files import DiskFullError, explain, write_atomically
from corrcore.store.keys import file_digest, key, text_digest
from corrcore.store.locks import LockedError, exclusive

__all__ = [
    "Bundle",
    "Cache",
    "DiskFullError",
    "Entry",
    "LockedError",
    "Statistics",
    "exclusive",
    "explain",
    "file_digest",
    "key",
    "load_arrays",
    "save_arrays",
    "text_digest",
    "write_atomically",
    "write_bundle",
]
