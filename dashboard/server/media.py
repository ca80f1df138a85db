"""Pictures and files that Streamlit keeps in memory, under addresses that cannot be guessed.

Streamlit names a file in its memory by a digest of the content: who knows or guesses the content can ask whether
somebody looks at it, and two large files that differ somewhere between their beginning, middle and end share a name.
"""

import hashlib
import secrets

from streamlit.runtime import Runtime
from streamlit.runtime.media_file_storage import MediaFileKind
from streamlit.runtime.memory_media_file_storage import MemoryFile, MemoryMediaFileStorage

_KEY = secrets.token_bytes(32)  # of this process


class HiddenMediaStorage(MemoryMediaFileStorage):
    """Files under keyed digests of all of their content."""

    def load_and_get_id(
        self, path_or_data: str | bytes, mimetype: str, kind: MediaFileKind, filename: str | None = None
    ) -> str:
        """Adds a file and returns its name; the same for the same content, as Streamlit needs it."""
        data = self._read_file(path_or_data) if isinstance(path_or_data, str) else path_or_data
        digest = hashlib.blake2b(key=_KEY, digest_size=24)
        for part in (mimetype.encode(), (filename or "").encode("utf-8", "surrogatepass"), data):
            digest.update(len(part).to_bytes(8, "big"))
            digest.update(part)
        name = digest.hexdigest()
        self._files_by_id.setdefault(name, MemoryFile(data, mimetype, kind, filename))
        return name


def hide_addresses(server: Runtime) -> None:
    """Has a server name its files so. Streamlit makes its storage itself, so the one that there is changes its type."""
    storage = server.media_file_mgr._storage
    if type(storage) is MemoryMediaFileStorage:
        storage.__class__ = HiddenMediaStorage
    if not isinstance(storage, HiddenMediaStorage):
        msg = f"the storage of Streamlit's pictures must be its own in memory; got {type(storage).__name__}."
        raise TypeError(msg)
