"""A route per page: what a link to a view of it says, and the only place that knows the keys of queries. No streamlit.

The keys are the fields of the page's route; widgets bound to the URL have the same.

>>> Responses(data="VOC2011", category="cat", features=("conv4", "conv5"), at="30,40").url
'responses?data=VOC2011&category=cat&features=conv4&features=conv5&at=30%2C40'
>>> parse("https://example.org/app/responses?category=cat&features=conv4&utm=1")
Responses(data='', category='cat', network='', mode='', object='', keypoint='', features=('conv4',), ...)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self
from urllib.parse import parse_qs, urlencode, urlsplit

Query = Mapping[str, str | Sequence[str]]


def query_string(query: Query) -> str:
    """A query as it stands in an address."""
    return urlencode(query, doseq=True)


@dataclass(frozen=True)
class Route:
    """A view of a page. Empty fields are left to the page."""

    path: ClassVar[str] = ""
    clicked: ClassVar[tuple[str, ...]] = ()  # what is chosen by clicking, and goes along from page to page
    prefixes: ClassVar[tuple[str, ...]] = ()  # of keys that there is one of per feature

    @property
    def query(self) -> dict[str, str | Sequence[str]]:
        """The fields that say something."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value}

    @property
    def url(self) -> str:
        """The address, relative to the app's."""
        return f"{self.path}?{query_string(self.query)}" if self.query else self.path

    @classmethod
    def of(cls, query: Mapping[str, Sequence[str]]) -> Self:
        """The view that a query asks for; keys of other pages are passed over."""
        found: dict[str, Any] = {}
        for field in fields(cls):
            if values := [value for value in query.get(field.name, ()) if value]:
                found[field.name] = tuple(values) if field.default == () else values[-1]
        return cls(**found)

    @classmethod
    def knows(cls, key: str) -> bool:
        """Whether a key is one of the page's."""
        return key in {field.name for field in fields(cls)} or key.startswith(cls.prefixes)


@dataclass(frozen=True)
class Home(Route):
    """The first page."""


@dataclass(frozen=True)
class Match(Route):
    """A point of one photo, found in another."""

    path: ClassVar[str] = "match"
    clicked: ClassVar[tuple[str, ...]] = ("photo_1", "photo_2", "point_of", "point", "points")
    photo_1: str = ""  # "sample:NAME", "object:DATA:NAME" or "upload:DIGEST"
    photo_2: str = ""
    point_of: str = ""  # the photo that the point is of, "first" or "second"
    point: str = ""  # "X,Y"
    points: str = ""  # "X,Y,NAME;...", set on the first photo
    networks: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    found_by: str = ""
    match_section: str = ""
    field_by: str = ""
    drawn_as: str = ""
    foreground: str = ""
    opacity: str = ""
    placeless: str = ""


@dataclass(frozen=True)
class Reconstruction(Route):
    """A photo rebuilt from an index's patches."""

    path: ClassVar[str] = "reconstruction"
    clicked: ClassVar[tuple[str, ...]] = ("photo", "at")
    index: str = ""
    network: str = ""
    window: str = ""
    photo: str = ""  # "sample:NAME", "indexed:NAME" or "upload:DIGEST"
    copies: str = ""
    at: str = ""  # "X,Y"
    layers: tuple[str, ...] = ()
    k: str = ""
    section: str = ""
    compare_layer: str = ""
    compare_k: str = ""


@dataclass(frozen=True)
class ReceptiveFields(Route):
    """The averages of one descriptor's neighbours."""

    path: ClassVar[str] = "receptive_fields"
    clicked: ClassVar[tuple[str, ...]] = ("photo", "at")
    index: str = ""
    network: str = ""
    window: str = ""
    photo: str = ""
    copies: str = ""
    at: str = ""
    seed_from: str = ""
    seed: str = ""
    n_seeds: str = ""
    radius_section: str = ""
    n_photos: str = ""
    n_views: str = ""


@dataclass(frozen=True)
class _OfKeypoints(Route):
    data: str = ""
    category: str = ""
    network: str = ""


@dataclass(frozen=True)
class Alignment(_OfKeypoints):
    """An object and its neighbours, warped onto it."""

    path: ClassVar[str] = "alignment"
    clicked: ClassVar[tuple[str, ...]] = ("object", "neighbour", "at")
    mode: str = ""
    object: str = ""
    upper: str = ""
    lower: str = ""
    smoothness: str = ""
    method: str = ""
    iterations: str = ""
    neighbour: str = ""  # "ROW:NAME", a row being "upper" or "lower"
    at: str = ""
    alignment_section: str = ""


@dataclass(frozen=True)
class Classification(_OfKeypoints):
    """Keypoints told apart."""

    path: ClassVar[str] = "classification"
    seen: str = ""
    feature: str = ""
    classification_section: str = ""


@dataclass(frozen=True)
class Responses(_OfKeypoints):
    """A keypoint's classifiers at every pixel of an object."""

    path: ClassVar[str] = "responses"
    clicked: ClassVar[tuple[str, ...]] = ("object", "at")
    mode: str = ""
    object: str = ""
    keypoint: str = ""
    features: tuple[str, ...] = ()
    scale: str = ""
    opacity: str = ""
    alone: str = ""
    part: str = ""
    at: str = ""
    responses_section: str = ""
    side: str = ""


@dataclass(frozen=True)
class Prediction(_OfKeypoints):
    """An object's keypoints, predicted in its box."""

    path: ClassVar[str] = "prediction"
    clicked: ClassVar[tuple[str, ...]] = ("object",)
    prefixes: ClassVar[tuple[str, ...]] = ("own_",)
    mode: str = ""
    object: str = ""
    prior: str = ""
    weights: str = ""
    eta: str = ""
    sigma: str = ""
    keypoint: str = ""
    by: str = ""
    opacity: str = ""
    map: str = ""
    prediction_section: str = ""


@dataclass(frozen=True)
class Results(_OfKeypoints):
    """A table of the paper's, computed here."""

    path: ClassVar[str] = "results"
    table: str = ""
    view: str = ""  # of one network, or of several
    networks: tuple[str, ...] = ()  # that stand side by side
    swept: str = ""  # of which objects layers were swept
    swept_networks: tuple[str, ...] = ()
    how: str = ""
    seen: str = ""
    alpha: str = ""
    average: str = ""
    cell: str = ""  # "ROW,COLUMN"
    results_section: str = ""
    first: str = ""
    second: str = ""
    rows: tuple[str, ...] = ()
    result: str = ""  # of an experiment that has no table of keypoints
    judged: str = ""  # the result whose confidences are drawn
    judged_features: tuple[str, ...] = ()  # whose confidences are drawn


@dataclass(frozen=True)
class Data(Route):
    """The indexes, and what else is on this machine."""

    path: ClassVar[str] = "data"


@dataclass(frozen=True)
class Status(Route):
    """How the server is doing."""

    path: ClassVar[str] = "status"


ROUTES: tuple[type[Route], ...] = (
    Home,
    Match,
    Reconstruction,
    ReceptiveFields,
    Alignment,
    Classification,
    Responses,
    Prediction,
    Results,
    Data,
    Status,
)


def route(path: str) -> type[Route] | None:
    """The route of the page at a path; None where there is no such page."""
    return next((each for each in ROUTES if each.path == path), None)


def parse(url: str) -> Route | None:
    """The view at an address; None where no page is."""
    split = urlsplit(url)
    found = route(split.path.rpartition("/")[2])
    return None if found is None else found.of(parse_qs(split.query))


def clicked(path: str) -> tuple[str, ...]:
    """The keys of what is chosen by clicking on a page."""
    return found.clicked if (found := route(path)) else ()


def address(url: str, *queries: Query) -> str:
    """An address with the queries laid one over the other, without what other pages' links say."""
    split = urlsplit(url)
    found = route(split.path.rpartition("/")[2])
    merged = {name: value for query in queries for name, value in query.items()}
    if found is not None and found is not Home:
        merged = {name: value for name, value in merged.items() if found.knows(name)}
    return split._replace(path=split.path or "/", query=query_string(merged)).geturl()
