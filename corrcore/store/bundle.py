"""Results that come along with a package: one small file, read and never written where it is used."""

import io
import lzma
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from corrcore.store.files import write_atomically

_MADE = (1980, 1, 1, 0, 0, 0)  # of every part: the same content gives the same file


@dataclass(frozen=True)
class Bundle:
    """Files' contents by the keys that they are kept under (`store.key`), so that what was computed from other data,
    weights or code is not found.

    A bundle that is not there, or is damaged, is empty: what it would give is computed.
    """

    path: Path

    def get(self, key: str) -> bytes | None:
        """What is kept under a key; None where there is nothing."""
        try:
            with zipfile.ZipFile(self.path) as file:
                return file.read(key)
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, lzma.LZMAError):
            return None

    def keys(self) -> list[str]:
        """All keys."""
        try:
            with zipfile.ZipFile(self.path) as file:
                return file.namelist()
        except (OSError, zipfile.BadZipFile):
            return []


def write_bundle(path: Path, contents: Mapping[str, bytes]) -> None:
    """Writes a bundle, whole or not at all. Raises OSError where it cannot be written."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for key in sorted(contents):
            file.writestr(zipfile.ZipInfo(key, _MADE), contents[key], zipfile.ZIP_LZMA)
    write_atomically(path, content.getvalue())
