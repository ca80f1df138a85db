"""An index's folder: the files in it, what its manifest and journal say, and what is said when they are wrong.

A finished index is a folder of these files; while it is built, the folder's name ends in ``.partial``.

- ``manifest.json``: how it was built, and what it holds; written last.
- ``photos.jsonl``: the journal, a line per photo in the order of the data, after one line about the build.
- ``pixels.u8``: the pixels of every picture that is not mirrored, row by row.
- ``LAYER.f16``, ``LAYER.i8``, ``LAYER.f32``: unit descriptors of a layer, their 8-bit codes and the codes' scales
  (`corrcore.engines.knn.quantise`), a row per cell.
- ``shards``: only while it is built, what several processes describe apart (`corrcore.patch_index.shards`).
"""

import errno
import hashlib
import json
import os
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from corrcore.geometry import ReceptiveField
from corrcore.settings import Settings

FORMAT = 2
_DIGEST_BYTES = 16
PARTIAL, DELETING = ".partial", ".deleting"  # what names of folders end in
MANIFEST, JOURNAL, LOCK, PIXELS = "manifest.json", "photos.jsonl", "lock", "pixels.u8"
SHARDS = "shards"  # the folder of what is described apart, while an index is built


class IndexNotFoundError(FileNotFoundError):
    """An index, or a file of it, is not there. The text says where we looked and what to do."""


class IndexUnfinishedError(IndexNotFoundError):
    """The build of an index was stopped, or is running. The text says how to go on."""


class IndexDamagedError(OSError):
    """An index's files do not fit its manifest. The text says which, and how to mend it."""


class IndexNotWrittenError(OSError):
    """The disk is full, or a folder cannot be written. The text says which, and what to do."""


class Picture(NamedTuple):
    """A photo at a scale, perhaps mirrored."""

    scale: float
    mirrored: bool
    width: int
    height: int


@dataclass(frozen=True)
class PhotoEntry:
    """One photo of an index: its line in the journal.

    `digests` are of its pixels as they were and as shrunk, `grids` the rows and columns of every picture's cells by
    layer, `check` the checksum of its bytes in the data files. `stamp` is what the photo said of its content. The
    `fingerprint` finds its copies (`corrcore.patch_index.copies`): empty for a picture that has none, None where it was
    not taken.
    """

    photo: str
    digests: tuple[str, ...]
    pictures: tuple[Picture, ...]
    channels: Mapping[str, int]
    grids: Mapping[str, tuple[tuple[int, int], ...]]
    check: int = 0
    stamp: str = ""
    fingerprint: str | None = None

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "PhotoEntry":
        """Raises KeyError, TypeError or ValueError for a record that is no photo's."""
        return cls(
            photo=str(record["photo"]),
            digests=tuple(map(str, record["digests"])),
            pictures=tuple(
                Picture(float(scale), bool(mirrored), int(width), int(height))
                for scale, mirrored, width, height in record["copies"]
            ),
            channels={layer: int(channels) for layer, channels in record["channels"].items()},
            grids={
                layer: tuple((int(rows), int(columns)) for rows, columns in grids)
                for layer, grids in record["grids"].items()
            },
            check=int(record["check"]),
            stamp=str(record.get("stamp", "")),
            fingerprint=record.get("fingerprint"),
        )

    def content(self) -> dict[str, Any]:
        """What the index's digest is made from, as JSON: not what the photo's file was, nor what can be computed."""
        return {
            "photo": self.photo,
            "digests": self.digests,
            "copies": self.pictures,
            "channels": self.channels,
            "grids": self.grids,
            "check": self.check,
        }

    def to_json(self) -> dict[str, Any]:
        """The record `from_json` reads."""
        return self.content() | {"stamp": self.stamp, "fingerprint": self.fingerprint}

    def n_bytes(self) -> dict[str, int]:
        """How many bytes the photo takes in each data file."""
        sizes = {PIXELS: sum(3 * picture.width * picture.height for picture in self.pictures if not picture.mirrored)}
        for layer, grids in self.grids.items():
            cells, channels = sum(rows * columns for rows, columns in grids), self.channels[layer]
            sizes |= zip(layer_files(layer), (2 * channels * cells, channels * cells, 4 * cells), strict=True)
        return sizes


@dataclass(frozen=True)
class SkippedPhoto:
    """A photo that could not be used, and why: its line in the journal."""

    photo: str
    reason: str

    def to_json(self) -> dict[str, Any]:
        """The record `entry_from_json` reads."""
        return {"photo": self.photo, "skipped": self.reason}


def entry_from_json(record: Mapping[str, Any]) -> PhotoEntry | SkippedPhoto:
    """A line of the journal. Raises KeyError, TypeError or ValueError for a record that is none."""
    if "skipped" in record:
        return SkippedPhoto(str(record["photo"]), str(record["skipped"]))
    return PhotoEntry.from_json(record)


@dataclass(frozen=True)
class BuildSettings:
    """What an index was asked to hold of its photos. `extractor` names the network, or what else described them."""

    extractor: str
    extractor_digest: str
    layers: tuple[str, ...]
    scales: tuple[float, ...]
    mirror: bool
    longer_side: int | None

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "BuildSettings":
        """Raises KeyError or TypeError for a record that is none."""
        return cls(
            extractor=record["backbone"],
            extractor_digest=record["backbone_digest"],
            layers=tuple(record["layers"]),
            scales=tuple(record["scales"]),
            mirror=record["mirror"],
            longer_side=record["longer_side"],
        )

    def to_json(self) -> dict[str, Any]:
        """The record `from_json` reads."""
        return {
            "backbone": self.extractor,
            "backbone_digest": self.extractor_digest,
            "layers": self.layers,
            "scales": self.scales,
            "mirror": self.mirror,
            "longer_side": self.longer_side,
        }


@dataclass(frozen=True)
class Manifest:
    """What a finished index says of itself.

    `digest` names the content: results are cached under it. `skipped` are photos that could not be used, with the
    reason; `held_out` are those that were left out on purpose.
    """

    digest: str
    settings: BuildSettings
    receptive_fields: Mapping[str, ReceptiveField]
    channels: Mapping[str, int]
    skipped: Mapping[str, str]
    held_out: tuple[str, ...]

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Manifest":
        """Raises KeyError, TypeError, ValueError or AttributeError for a record that is none."""
        settings = BuildSettings.from_json(record["settings"])
        return cls(
            digest=record["digest"],
            settings=settings,
            receptive_fields={layer: ReceptiveField(**record["fields"][layer]) for layer in settings.layers},
            channels={layer: int(record["channels"][layer]) for layer in settings.layers},
            skipped=dict(record["skipped"].items()),
            held_out=tuple(record["held_out"]),
        )

    def to_json(self) -> dict[str, Any]:
        """The record `from_json` reads, with the format's number."""
        return {
            "format": FORMAT,
            "digest": self.digest,
            "settings": self.settings.to_json(),
            "fields": {layer: asdict(field) for layer, field in self.receptive_fields.items()},
            "channels": self.channels,
            "skipped": self.skipped,
            "held_out": self.held_out,
        }


def layer_files(layer: str) -> tuple[str, str, str]:
    """The files of a layer's descriptors, codes and scales."""
    return f"{layer}.f16", f"{layer}.i8", f"{layer}.f32"


def data_files(layers: Sequence[str]) -> list[str]:
    """All files that a photo's bytes go to, in the order of its checksum."""
    return [PIXELS, *(file for layer in layers for file in layer_files(layer))]


def content_digest(settings: BuildSettings, entries: Iterable[PhotoEntry]) -> str:
    """The name of an index's content: `digest` of the format, the settings and all entries, taken one by one, which
    together may fill the memory.
    """
    content = hashlib.blake2b(f"[{FORMAT}, {json.dumps(settings.to_json())}, [".encode(), digest_size=_DIGEST_BYTES)
    for number, entry in enumerate(entries):
        content.update((", " * (number > 0) + json.dumps(entry.content())).encode())
    content.update(b"]]")
    return content.hexdigest()


def digest(value: object) -> str:
    """The name of a value, which must be JSON."""
    return hashlib.blake2b(json.dumps(value).encode(), digest_size=_DIGEST_BYTES).hexdigest()


def default_root() -> Path:
    """Where indexes live by name: ``indexes`` in the cache folder. They are never evicted."""
    return Settings.from_environment().indexes


def command(words: str, folder: Path, *, named: bool = True) -> str:
    """The command that does something with the index in a folder, as it is typed: its `words`, and the index's name."""
    root = "" if folder.parent == default_root() else f"--root {shlex.quote(str(folder.parent))} "
    return f"`corrcore {root}index {words}{' ' + shlex.quote(folder.name) if named else ''}`"


def partial_of(folder: Path) -> Path:
    """Where an index is while it is built."""
    return folder.with_name(folder.name + PARTIAL)


def read_manifest(folder: Path) -> Manifest:
    """What the index in a folder says of itself.

    Raises IndexUnfinishedError or IndexNotFoundError where there is none, IndexDamagedError where it is of another
    format or none of ours, and OSError where it cannot be read.
    """
    path = folder / MANIFEST
    if folder.name.endswith(PARTIAL):
        folder = folder.with_name(folder.name.removesuffix(PARTIAL))
        raise IndexUnfinishedError(unfinished_text(folder))
    if not os.path.lexists(folder):
        if partial_of(folder).is_dir():
            raise IndexUnfinishedError(unfinished_text(folder))
        away = "" if folder.parent.is_dir() else f" ({folder.parent} is not there; is its drive connected?)"
        build = command("build PHOTOS --name", folder)
        msg = f"there is no patch index in {folder}{away}; build one with {build} or on the app's Data page."
        raise IndexNotFoundError(msg)
    if folder.is_dir() and not path.exists() and not (folder / JOURNAL).exists():
        msg = f"there is no patch index in {folder}: it has no {MANIFEST}; give the folder of an index."
        raise IndexNotFoundError(msg)
    text = read_text(path)
    try:
        record = json.loads(text)
        if record["format"] != FORMAT:
            msg = (
                f"{folder} has format {record['format']!r}, this version reads {FORMAT}; remove it with "
                f"{command('delete', folder)} and build it again."
            )
            raise IndexDamagedError(msg)
        return Manifest.from_json(record)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        msg = (
            f"{path} is damaged: it is no index's manifest; copy it anew from where it came from, or remove the index "
            f"with {command('delete', folder)} and build it again."
        )
        raise IndexDamagedError(msg) from None


def read_entries(folder: Path, layers: Sequence[str]) -> Iterator[PhotoEntry]:
    """The photos of a finished index, which must have every one of `layers`. Raises as `read_manifest` does."""
    path = folder / JOURNAL
    for number, line in enumerate(read_text(path).splitlines()[1:], start=2):
        try:
            entry = entry_from_json(json.loads(line))
            if isinstance(entry, PhotoEntry) and any(len(entry.grids[own]) != len(entry.pictures) for own in layers):
                raise ValueError
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
            remedy = f"remove the index with {command('delete', folder)} and build it again"
            msg = f"{path} is damaged in line {number}; {remedy}."
            raise IndexDamagedError(msg) from None
        if isinstance(entry, PhotoEntry):
            yield entry


def unfinished_text(folder: Path) -> str:
    """What a user whose index is not finished should know."""
    done, total = read_progress(partial_of(folder))
    count = f"{done:,} of {total:,} photos are done" if total else f"{done:,} photos are done"
    return (
        f"{folder} is not finished: {count}. The {command('build PHOTOS --name', folder)} that began it goes on from "
        f"there, with the same options; {command('delete', folder)} forgets it."
    )


def read_progress(partial: Path) -> tuple[int, int]:
    """How many photos of an unfinished index are safely on disk, and of how many (0: not known)."""
    done, total = _read_progress(partial)
    return done + sum(_read_progress(shard)[0] for shard in partial.glob(f"{SHARDS}/*")), total


def _read_progress(folder: Path) -> tuple[int, int]:
    try:
        first, *rest = (folder / JOURNAL).read_bytes().splitlines(keepends=True)
        total = json.loads(first).get("photos", 0)
    except (OSError, ValueError, AttributeError, RecursionError):
        return 0, 0
    return sum(line.endswith(b"\n") for line in rest), total if isinstance(total, int) else 0


def read_text(path: Path) -> str:
    """A file of an index. Raises IndexNotFoundError where it is not there, and OSError with a sentence for the rest."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise IndexNotFoundError(missing_text(path)) from None
    except UnicodeDecodeError:
        msg = f"{path} is damaged: it is no text; copy it anew from where it came from, or build the index again."
        raise IndexDamagedError(msg) from None
    except OSError as error:
        msg = f"{path} cannot be read ({error.strerror}); see that it is a file you may read and that its drive works."
        raise OSError(msg) from error


def missing_text(path: Path) -> str:
    """What is said of a file that is away: nobody is told to delete what may come back with its drive."""
    return f"{path} is not there; is its drive connected? Where it is lost, build the index again under another name."


@contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Raises IndexNotWrittenError, a sentence with a remedy, for what the system says of a folder."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # a sentence already
            raise
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        remedy = (
            "free some space, and the same command goes on from where it was"
            if full
            else "see that you may write there, or choose another folder with --root"
        )
        msg = f"{folder} cannot be written ({error.strerror}); {remedy}."
        raise IndexNotWrittenError(msg) from error
