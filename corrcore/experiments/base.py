"""An experiment: a task over many samples, as a frozen dataclass of plain values.

All else follows from the dataclass: what is written beside its results, the name of their file, its command,
its panel on a page and its table. A worker needs the dataclass and nothing else.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

import numpy as np

from corrcore import extractors, networks, store
from corrcore.datasets.records import Instance, KeypointDataset
from corrcore.experiments.context import Context
from corrcore.features import SIFT, Extractor, Feature

if TYPE_CHECKING:
    from corrcore.experiments.tables import KeypointTable

Sample = TypeVar("Sample")
State = TypeVar("State")
Record = TypeVar("Record")
Summary = TypeVar("Summary")

FORMAT = 3  # of results on disk
_LONGEST_NAME = 120  # bytes of a file's name; file systems take 255, and locks and drafts have longer ones


@dataclass(frozen=True)
class Experiment(ABC, Generic[Sample, State, Record, Summary]):
    """What is measured, on what, and how; `run` measures it.

    `kind` names it on the command line and in files, `title` on pages; `number` is that of the
    paper's table, where it is one. `versions` are of the code that computes
    it: results of others are measured anew. Fields named in `growing` do not tell one result from another: what
    they ask for is measured besides what is there already. Those `told_by_folder` are not repeated in the
    file's name, and what they stand for is told by the provenance; those `named` always stand in the name. One
    that is not `listed` is a part of others. One on an index may describe photos anew (`describes`), by the network
    that made the index.
    """

    kind: ClassVar[str]
    title: ClassVar[str]
    number: ClassVar[str] = ""
    versions: ClassVar[tuple[int, ...]] = ()
    growing: ClassVar[frozenset[str]] = frozenset()
    told_by_folder: ClassVar[frozenset[str]] = frozenset({"dataset", "network", "index"})
    named: ClassVar[frozenset[str]] = frozenset({"category", "keypoints", "photos"})
    listed: ClassVar[bool] = True
    describes: ClassVar[bool] = False

    def resolved(self, context: Context) -> Self:
        """The same with its defaults filled in by role and its features read; raises ValueError for what does
        not fit.
        """
        del context
        return self

    @abstractmethod
    def provenance(self, context: Context) -> Mapping[str, Any]:
        """Digests of all that it is measured on and by: photos, annotations, weights, indexes."""

    @abstractmethod
    def folder(self, context: Context) -> str:
        """The folder of its results in a store: other annotations, networks and indexes have another."""

    @abstractmethod
    def samples(self, context: Context) -> Mapping[str, Sample]:
        """What is measured, by name."""

    def parts(self) -> Mapping[str, "Experiment"]:
        """Experiments that `prepare` runs, by what they do for this one; where results are kept it finds them done."""
        return {}

    @abstractmethod
    def prepare(self, context: Context) -> State:
        """What all samples need, once per worker."""

    @abstractmethod
    def measure(self, sample: Sample, state: State) -> Record:
        """What is found of one sample. Raises ValueError for one that cannot be measured, OSError if that may pass."""

    @abstractmethod
    def read_record(self, plain: Mapping[str, Any]) -> Record:
        """A record as `to_jsonable` wrote it."""

    @abstractmethod
    def summarise(self, result: "Result[Record, Summary]") -> Summary:
        """All samples' records in a few numbers."""

    @abstractmethod
    def summary_rows(self, summary: Summary) -> Sequence[Mapping[str, str]]:
        """The summary as a table of text, a mapping per row from headings to cells: for terminals and pages."""

    @classmethod
    def mean_rows(cls, summaries: Sequence[Summary]) -> Sequence[Mapping[str, str]]:
        """The mean over several categories' summaries, as `summary_rows` has it; none where it would say nothing."""
        del summaries
        return ()

    def table(self, result: "Result[Record, Summary]") -> "KeypointTable | None":
        """The result as a table of keypoints; None where it is none. Raises ValueError where nothing was measured."""
        del result
        return None

    def notes(self, state: State) -> Mapping[str, Any]:
        """What `prepare` chose that readers of the results want to know."""
        del state
        return {}

    def note_lines(self, notes: Mapping[str, Any]) -> Sequence[str]:
        """The notes in sentences."""
        del notes
        return ()

    def stamp(self, sample: Sample) -> str:
        """Changes with a sample's content; one of another stamp is measured anew."""
        return stamp_of(getattr(sample, "photo", sample))

    def settings(self) -> dict[str, Any]:
        """The dataclass in plain values: equal settings, equal experiments."""
        named = {each.name: to_jsonable(getattr(self, each.name)) for each in fields(self)}
        kept = {name: value for name, value in named.items() if name not in self.growing}
        return {"experiment": self.kind, "versions": [FORMAT, *self.versions], **kept}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """The experiment that wrote these settings. Raises ValueError and TypeError for others."""
        known = {each.name: each for each in fields(cls)}
        return cls(**{name: from_jsonable(value) for name, value in settings.items() if name in known})

    def file_name(self, context: Context) -> str:
        """Its kind and what it is of, then whatever is not as usual."""
        usual = self.usual(context)
        about = [_words(getattr(self, each.name)) for each in fields(self) if each.name in self.named]
        unusual = [
            f"{each.name} {_words(value)}"
            for each in fields(self)
            if each.name not in self.named | self.told_by_folder | self.growing
            and (value := getattr(self, each.name)) != getattr(usual, each.name)
        ]
        words = [" ".join([self.kind, *about]), *unusual]
        plain = [plain_text(text) for text in words]
        name = ", ".join(plain)
        if plain != words or len(name.encode()) > _LONGEST_NAME:  # else two experiments might share a file
            kept = name.encode()[: _LONGEST_NAME - 20].decode(errors="ignore")
            name = f"{kept} {store.key(words=words)[:12]}"
        return f"{name}.jsonl"

    def usual(self, context: Context) -> Self:
        """The same experiment with every other field at its default."""
        kept = self.named | self.told_by_folder
        given = {each.name: getattr(self, each.name) for each in fields(self) if each.name in kept}
        return type(self)(**given).resolved(context)


@dataclass(frozen=True, eq=False)
class Result(Generic[Record, Summary]):
    """What an experiment has found so far.

    `records` are by sample, in the order asked for; `skipped` are samples that could not be measured, with the reason;
    `asked` how many there are in all.
    """

    experiment: Experiment[Any, Any, Record, Summary]
    provenance: Mapping[str, Any]
    records: Mapping[str, Record]
    skipped: Mapping[str, str]
    asked: int
    notes: Mapping[str, Any]

    @property
    def finished(self) -> bool:
        """Whether every sample was measured, or could not be."""
        return len(self.records) + len(self.skipped) >= self.asked

    @cached_property
    def summary(self) -> Summary:
        """The records in a few numbers. Raises ValueError where none could be measured, with the first reason."""
        if not self.records:
            reason = next(iter(self.skipped.values()), "nothing has been measured yet.")
            msg = f"no sample of {self.asked} could be measured; the first: {reason}"
            raise ValueError(msg)
        return self.experiment.summarise(self)

    def to_json(self) -> bytes:
        """Settings, provenance and records as one JSON document, to take along."""
        content = {
            "settings": self.experiment.settings(),
            "provenance": self.provenance,
            "notes": self.notes,
            "summary": self.experiment.summary_rows(self.summary),
            "records": self.records,
            "skipped": self.skipped,
        }
        return json.dumps(to_jsonable(content), indent=1, allow_nan=False, ensure_ascii=False).encode()


def plain_text(text: str) -> str:
    """A name as files and folders may have it everywhere: `torchvision:resnet50` is `torchvision-resnet50`."""
    return "".join(letter if letter.isalnum() or letter in " .-_+" else "-" for letter in text)


def stamp_of(photo: object) -> str:
    """Changes with a photo's content; empty where there is none, or the photo is gone."""
    try:
        return str(getattr(photo, "stamp", ""))
    except OSError:
        return ""


def _words(value: object) -> str:
    """A value in a file's name."""
    if isinstance(value, Feature):
        return value.key
    if isinstance(value, (tuple, list)):
        return " ".join(map(_words, value)) or "none"
    return str(value)


def to_jsonable(value: Any) -> Any:
    """Plain values as JSON holds them: NaN as null, infinities in words, arrays as lists, features in full."""
    if isinstance(value, Feature):
        return str(value)
    if isinstance(value, np.ndarray):
        return to_jsonable(value.tolist())
    if isinstance(value, np.generic):
        return to_jsonable(value.item())
    if isinstance(value, Mapping):
        return {str(name): to_jsonable(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_jsonable(inner) for inner in value]
    if hasattr(value, "__dataclass_fields__"):
        return {each.name: to_jsonable(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, float) and not np.isfinite(value):
        return None if np.isnan(value) else str(value)
    return value


def from_jsonable(value: Any) -> Any:
    """Settings' values as dataclasses take them: lists become tuples."""
    return tuple(from_jsonable(inner) for inner in value) if isinstance(value, list) else value


@dataclass(frozen=True)
class ObjectExperiment(Experiment[Sample, State, Record, Summary]):
    """An experiment on the objects of one category of a data set, described by features of a network and SIFT."""

    dataset: str
    category: str
    network: str = networks.DEFAULT
    features: tuple[Feature | str, ...] = ()
    limit: int | None = None

    learnt_from: ClassVar[tuple[str, ...]] = ("train",)  # splits that every record depends on
    sample_noun: ClassVar[str] = "object"

    @classmethod
    def usual_features(cls, network: Extractor) -> tuple[Feature, ...]:
        """Those compared unless others are asked for: the network's layers by role, and SIFT."""
        raise NotImplementedError

    def resolved(self, context: Context) -> Self:
        """With its features parsed, the network's by role where none are given; raises ValueError for what is
        not there.
        """
        network = context.network(self.network)
        data = context.dataset(self.dataset)
        if self.limit is not None and self.limit < 1:
            msg = f"limit must be at least 1 object, or None for all; got {self.limit}."
            raise ValueError(msg)
        if self.category not in data.keypoint_names:
            msg = f"category of {data.name} must be one of {', '.join(data.categories)}; got {self.category!r}."
            raise ValueError(msg)
        self = replace(self, network=network.name)  # in full
        return replace(self, features=checked_features(self.feature_list or self.usual_features(network), network))

    @property
    def feature_list(self) -> tuple[Feature, ...]:
        """The features, parsed."""
        return tuple(extractors.named(each, network=self.network) for each in self.features)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """See `Experiment.from_settings`; features are parsed."""
        found = super().from_settings(settings)
        return replace(found, features=found.feature_list)

    def instances(self, context: Context, split: str, limit: int | None = None) -> list[Instance]:
        """The split's objects that show a keypoint; with a limit so many of them."""
        limit = self.limit if limit is None else limit
        return subsample(context.dataset(self.dataset).visible_instances(self.category, split), limit)

    def provenance(self, context: Context) -> Mapping[str, Any]:
        """Annotations, the photos that are learnt from, and whatever describes them."""
        data = context.dataset(self.dataset)
        photos = [one for split in self.learnt_from for one in self._of_split(context, split)]
        return {
            "data": data.name,
            "data_digest": data.digest,
            "keypoints": list(data.keypoint_names[self.category]),
            "photos": store.key(stamps=[[one.name, stamp_of(one.photo)] for one in photos]),
            "extractors": extractor_digests(self.described_by, context.network(self.network)),
        }

    @property
    def described_by(self) -> tuple[Feature, ...]:
        """The features whose extractors every record depends on."""
        return self.feature_list

    def _of_split(self, context: Context, split: str) -> list[Instance]:
        """The objects whose photos count."""
        return self.instances(context, split)

    def folder(self, context: Context) -> str:
        """Named by the data set, the state of its annotations, and the network."""
        return dataset_folder(context.dataset(self.dataset), self.network)


def dataset_folder(data: KeypointDataset, network: str) -> str:
    """The folder of a data set's results, which another state of its annotations does not share."""
    return f"{data.name} {data.digest[:8]} {plain_text(network)}"


def checked_features(features: Sequence[Feature], network: Extractor) -> tuple[Feature, ...]:
    """Features of a network and SIFT, parsed. Raises ValueError for others, and for one that stands twice."""
    if others := [str(each) for each in features if each.extractor not in (network.name, SIFT)]:
        msg = f"features must be layers of {network.name}, or SIFT; measure {', '.join(others)} with another network."
        raise ValueError(msg)
    if twice := [each.key for n, each in enumerate(features) if each in features[:n]]:
        msg = f"every feature may stand once; {', '.join(twice)} stands twice."
        raise ValueError(msg)
    return extractors.parse(features, network) if features else ()


def extractor_digests(features: Sequence[Feature], network: Extractor) -> dict[str, str]:
    """What makes descriptors, by the extractors' names; the network is always among them."""
    found = {network.name: network.digest}
    return found | {
        feature.extractor: extractors.extractor_of(feature, network).digest
        for feature in features
        if feature.extractor not in found
    }


def subsample(samples: Sequence[Sample], limit: int | None) -> list[Sample]:
    """All, or with a limit so many at random, which a higher limit has too."""
    order = np.random.default_rng(0).permutation(len(samples))
    return [samples[n] for n in order[:limit]] if limit else list(samples)
