"""The photos at an address that fsspec reads: in an archive, in a cloud's bucket, or one within the other.

Such are ``s3://bucket/photos``, ``gs://bucket/photos``, ``zip://photos.zip`` and ``zip://*.jpg::s3://bucket/photos.zip``.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs
from jaxtyping import UInt8

from corrcore import decoding
from corrcore.datasets import folder
from corrcore.datasets.folder import FolderPhoto, PhotoListing, printable_name, reason_by_name, reason_by_suffix
from corrcore.datasets.records import DatasetNotFoundError
from corrcore.decoding import MAX_BYTES, MAX_PIXELS, SUFFIXES
from corrcore.settings import prepared_path

PROTOCOLS = ("s3", "s3a", "gs", "gcs", "zip", "tar", "memory", "file", "local")
"""That an address may name. Of fsspec's others some reach whatever answers this machine, as ``http`` and ``ftp`` do."""

_LOCAL = ("file://", "local://")
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}  # of this package, by protocol
_CONTENT = ("ETag", "etag", "md5Hash", "crc32c", "CRC")  # what file systems call a digest of a file,
_TIME = ("LastModified", "last_modified", "updated", "mtime", "modified", "created", "date_time")  # else when it is of


@dataclass(frozen=True)
class AddressedPhoto:
    """A photo in a file system of fsspec's. `name` is its path below what was listed, fit to show.

    `stamp` is what the file system said of its content when it was listed: a digest, or else its time, and its size.
    The limits are those of `FolderPhoto`.
    """

    name: str
    filesystem: AbstractFileSystem
    path: str
    stamp: str
    size: int | None = None
    max_pixels: int | None = MAX_PIXELS
    max_bytes: int | None = MAX_BYTES

    def load(self) -> UInt8[np.ndarray, "height width 3"]:
        """The upright picture. Raises ImageError where there is none or it is over the limits."""
        title = f"'{decoding.display_name(self.name)}'"
        decoding.check_bytes(title, self.size or 0, self.max_bytes)
        end = None if self.max_bytes is None else self.max_bytes + 1  # of a file that is not of the size it says
        try:
            data = self.filesystem.cat_file(self.path, end=end)
        except Exception as error:  # of whatever package reads such files
            msg = f"{title} cannot be read ({_reason(error)}); check that it is there and try again."
            raise decoding.ImageNotReadError(msg) from error
        return decoding.decode(data, name=self.name, max_pixels=self.max_pixels, max_bytes=self.max_bytes)


def prepared_source(text: str) -> str | Path:
    """Where photos are, as a user writes it: an address as it is, anything else as `settings.prepared_path` has it.

    ``file://`` before a path says nothing more.
    """
    if "::" not in text and text.startswith(_LOCAL):
        return prepared_path(text.partition("://")[2])
    return text if "://" in text or "::" in text else prepared_path(text)


def check(address: str) -> None:
    """Raises DatasetNotFoundError for an address with a password in it, and one that names other than `PROTOCOLS`.

    The sentences repeat nothing that may be secret.
    """
    links = address.split("::")
    if any(re.search("://[^/@:]*:.*@", link) for link in links):
        msg = (
            "an address must hold no password or key, which others could read where it is shown; take that part out, "
            "up to the @, and give it where its package looks: the environment or a file of one's own."
        )
        raise DatasetNotFoundError(msg)
    for link in links:
        protocol, mark, _ = link.partition("://")
        # fsspec takes a single word in a chain for a protocol
        if (mark or (len(links) > 1 and re.fullmatch("[a-z]+", link)) or link.startswith("data:")) and (
            protocol not in PROTOCOLS
        ):
            msg = (
                f"photos are not read from {printable_name(protocol.partition(':')[0])}://; give a folder, or an "
                "address such as s3://bucket/photos, gs://bucket/photos or zip://photos.zip."
            )
            raise DatasetNotFoundError(msg)


def photos_in(
    source: str | Path, *, max_pixels: int | None = MAX_PIXELS, max_bytes: int | None = MAX_BYTES
) -> PhotoListing[FolderPhoto] | PhotoListing[AddressedPhoto]:
    """The photos of what `prepared_source` gives: `photos` of an address, `folder.photos` of a path."""
    if isinstance(source, str):
        return photos(source, max_pixels=max_pixels, max_bytes=max_bytes)
    return folder.photos(source, max_pixels=max_pixels, max_bytes=max_bytes)


def photos(
    address: str, *, max_pixels: int | None = MAX_PIXELS, max_bytes: int | None = MAX_BYTES
) -> PhotoListing[AddressedPhoto]:
    """All photos below an address, or those that its pattern matches, by name, as `folder.photos` finds them.

    Nothing but the listing is read. Raises DatasetNotFoundError as `check` does, and for an address that cannot be
    listed or has no photo.
    """
    check(address)
    title = printable_name(address)
    with _blaming(address, title):
        filesystem, path = url_to_fs(re.sub(r"^(zip|tar)://(?=[^:])(?!.*::)", r"\1://::", address))
        root, files = _files(filesystem, path)
    found: dict[str, AddressedPhoto] = {}
    left_out: dict[str, str] = {}
    for own, about in sorted(files.items(), key=lambda item: item[0].split("/")):
        relative = own.removeprefix(root).lstrip("/")
        name = printable_name(relative)
        suffix = os.path.splitext(relative)[1].lower()
        unread = reason_by_suffix(suffix)
        if suffix not in SUFFIXES and unread is None:
            continue
        reason = next(filter(None, map(reason_by_name, relative.split("/"))), unread)
        if reason is not None:
            left_out[name] = reason
        else:
            found[name] = AddressedPhoto(name, filesystem, own, _stamp(about), about.get("size"), max_pixels, max_bytes)
    listing = PhotoListing(tuple(found.values()), left_out)
    listing.check(title)
    return listing


def _files(filesystem: AbstractFileSystem, path: str) -> tuple[str, Mapping[str, Mapping[str, Any]]]:
    """Where a listing begins, and what the file system says of every file in it."""
    found: Any
    if (pattern := re.search(r"[*?\[]", path)) and not filesystem.exists(path):
        found = filesystem.glob(path, detail=True)
        root = path[: pattern.start()].rpartition("/")[0]
    elif path and filesystem.isfile(path):
        found, root = {path: filesystem.info(path)}, path.rpartition("/")[0]
    else:
        inner = f"{path.rstrip('/')}/JPEGImages" if path else "JPEGImages"
        root = inner if filesystem.isdir(inner) else path
        found = filesystem.find(root, detail=True)
        if not found and path and not filesystem.exists(root):
            raise FileNotFoundError(2, os.strerror(2))
    return root, {name: about for name, about in found.items() if about.get("type") == "file"}


def _stamp(about: Mapping[str, Any]) -> str:
    known = next((f"{key} {about[key]}" for key in (*_CONTENT, *_TIME) if about.get(key)), "")
    return f"{about.get('size')} {known}"


@contextmanager
def _blaming(address: str, title: str) -> Iterator[None]:
    """Raises DatasetNotFoundError for whatever a file system says of an address."""
    try:
        yield
    except ImportError as error:
        protocols = [link.partition("://")[0] for link in address.split("::")]
        extra = next((_EXTRAS[protocol] for protocol in protocols if protocol in _EXTRAS), None)
        remedy = f"install it with `pip install 'corrcore[{extra}]'`" if extra else "install it"
        msg = f"{title} needs a package that is not installed ({_reason(error)}); {remedy}."
        raise DatasetNotFoundError(msg) from error
    except FileNotFoundError as error:
        msg = f"there is nothing at {title}; check the address."
        raise DatasetNotFoundError(msg) from error
    except Exception as error:  # of whatever package reads such files
        msg = f"{title} cannot be listed ({_reason(error)}); check the address, and that it may be read from here."
        raise DatasetNotFoundError(msg) from error


def _reason(error: Exception) -> str:
    """What a package says of an error, on one line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return decoding.printable(str(text)).rstrip(".")
