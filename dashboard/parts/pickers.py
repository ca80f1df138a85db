"""What every page lets one choose: the index that is searched, and a photo. Choices live in the URL."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st

from corrcore import datasets, decoding, images, networks
from corrcore.datasets.records import Instance, KeypointDataset
from corrcore.datasets.samples import one_of_each_scene
from corrcore.decoding import ImageError
from corrcore.features import SIFT, Extractor, Feature
from corrcore.patch_index import SAMPLES as SAMPLES_INDEX
from corrcore.patch_index import IndexDamagedError, IndexNotFoundError, PatchIndex
from corrcore.tasks.detection import PRIORS
from dashboard.parts import url_state
from dashboard.parts.gallery import gallery
from dashboard.services import caches, thumbnails
from dashboard.state import Upload, session
from dashboard.wording import counted, escape_markdown

SMOOTHNESSES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)  # that objects are aligned with
PRIOR_TITLES = {1: "the object most alike", PRIORS: f"the {PRIORS} most alike", 0: "none"}  # by how many it is from
SEEN = {"box, 250 px": "small", "box, 500 px": "box", "photo as it is": "photo"}  # the scales responses are shown at
PROTOCOLS = {  # how objects are seen to name their keypoints
    "box": "in a box of 500 px",
    "small": "in a box of 250 px",
    "photo": "in the photo as it is",
    "raw": "in a box of 500 px, descriptors as they are",
    "three": "in a box of 500 px, 3 x 3 cells together",
    "sideless": "in a box of 500 px, left and right alike",
    "exact": "in a box of 500 px, layers at the keypoint's pixel",
    "exact-photo": "in the photo as it is, layers at the keypoint's pixel",
}
LONGER_SIDE_PX = 500
SHORTER_SIDE_PX = 100  # of very wide or tall photos, as far as four times the longer side allows
UPLOAD_BYTES = 60 * 2**20  # of decoded pixels one session may keep
PER_SHEET = 16

SYNTHETIC = "Drawn animals (synthetic)"
SAMPLE, INDEXED, UPLOAD = "Samples", "Indexed photos", "Upload"


@dataclass(frozen=True)
class Chosen:
    """A photo to look at: its pixels at working size, and the indexed photos that show the same thing."""

    image: np.ndarray
    title: str
    reference: str
    same: tuple[int, ...]
    python: str

    @property
    def start(self) -> tuple[int, int] | None:
        """A pixel worth looking at first: in the first sample, an eye."""
        return (173, 115) if self.reference == "sample:chelsea" else None

    @property
    def shareable(self) -> bool:
        return not self.reference.startswith("upload:")


def python_index(index: PatchIndex) -> str:
    """How the chosen index is opened in Python."""
    if index.name.startswith(f"{SAMPLES_INDEX}-"):
        return "indexes.samples(network)"
    return f'indexes.PatchIndex(indexes.default_root() / "{index.name}")'


def python_dataset(source: str) -> str:
    """What a data set is opened by in Python and in experiments."""
    folder = caches.available().spec(source).folder
    return repr(source if folder is None else str(folder))


def shell_dataset(source: str) -> str:
    """What a data set is opened by on the command line."""
    return shlex.quote(str(caches.available().spec(source).folder or source))


def choose_index() -> PatchIndex:
    """The index to search. Stops the page with a sentence where it cannot be opened."""
    names = caches.index_names()
    url_state.check_link(
        "index",
        names,
        sentence="This link needs the index {}, which is not on this machine; another is searched. Indexes are built on the Data page.",
    )
    name = st.selectbox(
        "Patches from",
        names,
        key="index",
        bind="query-params",
        help="The photos whose patches are searched. Build one from your own photos on the Data page.",
    )
    try:
        index = caches.open_index(name)
        index.check_made_by(caches.network(index.extractor))
    except (IndexNotFoundError, IndexDamagedError, OSError, ValueError) as error:
        st.error(str(error), icon=":material/error:")
        st.stop()
    patches = index.n_patches(index.layers[0])
    st.caption(f"{counted(len(index.photos), 'photo')}, {counted(patches, 'patch')} per layer")
    if name == SAMPLES_INDEX:
        st.caption(
            "Enough to see how it works, too few for conv4 and conv5 to find good neighbours: build an index on the Data page."
        )
    return index


def choose_photo(index: PatchIndex) -> Chosen:
    """A photo from the samples, the index, or the user's own. Stops the page while there is none."""
    reference = url_state.asked("photo", "sample:chelsea")
    kinds = {"sample": SAMPLE, "indexed": INDEXED, "upload": UPLOAD}
    kind = reference.partition(":")[0]
    kind = kind if kind in kinds else "sample"
    first = {"sample": "sample:chelsea", "indexed": f"indexed:{index.photos[0]}", "upload": "upload:"}

    def change() -> None:
        to = next(name for name, title in kinds.items() if title == st.session_state["photo_from"])
        url_state.choose("photo", session().photos.get(to, first[to]))

    st.session_state["photo_from"] = kinds[kind]  # which Back changes too
    st.segmented_control(
        "Photo", list(kinds.values()), key="photo_from", on_change=change, label_visibility="collapsed", required=True
    )
    choose = {"sample": _choose_sample, "indexed": _choose_indexed, "upload": _choose_upload}[kind]
    chosen = choose(index, reference)
    url_state.show("photo", chosen.reference)
    session().photos[kind] = chosen.reference
    return chosen


def _choose_sample(index: PatchIndex, reference: str) -> Chosen:
    known = one_of_each_scene()
    name = reference.removeprefix("sample:")
    url_state.check_choice("photo", name, name in known, "There is no sample {}; here is another.")
    names = tuple(known)
    name = name if name in known else names[0]

    def pick(number: int) -> None:
        url_state.choose("photo", f"sample:{names[number]}")

    gallery(thumbnails.of_samples(names), names.index(name), [known[each].title for each in names], pick)
    image = caches.sample_photo(name)
    same = tuple(number for number, photo in enumerate(index.photos) if photo == name)
    same = tuple(sorted({*same, *index.photos_like(image)}))
    python = f'image = samples()["{name}"].load()'
    return Chosen(_working(image), known[name].title, f"sample:{name}", same, python)


def _choose_indexed(index: PatchIndex, reference: str) -> Chosen:
    name = reference.removeprefix("indexed:")
    there = name in index.photos
    chosen = index.photos.index(name) if there else 0
    url_state.check_choice("photo", name, there, "There is no photo {} in this index; here is another.")
    find = st.text_input("Find by name", key="photo_find", placeholder="part of a name", label_visibility="collapsed")
    numbers = [number for number, photo in enumerate(index.photos) if find.strip().lower() in photo.lower()]
    if not numbers:
        st.info(
            f"No photo of {index.name} has {find!r} in its name; delete some letters.", icon=":material/search_off:"
        )
        st.stop()
    n_sheets = -(-len(numbers) // PER_SHEET)
    current = numbers.index(chosen) // PER_SHEET + 1 if chosen in numbers else 1
    sheet = current
    if n_sheets > 1:
        sheet = st.number_input(f"Page, of {n_sheets}", 1, n_sheets, current, key=f"photo_sheet {index.digest} {find}")
    shown = tuple(numbers[(sheet - 1) * PER_SHEET : sheet * PER_SHEET])

    def pick(number: int) -> None:
        url_state.choose("photo", f"indexed:{index.photos[shown[number]]}")

    pictures = thumbnails.of_indexed(index.digest, shown, index)
    selected = shown.index(chosen) if chosen in shown else None
    gallery(pictures, selected, [index.photos[number] for number in shown], pick)
    image = index.photo(chosen)
    same = tuple(sorted({chosen, *index.photos_like(image)}))
    python = f"image = index.photo(index.photos.index({index.photos[chosen]!r}))"
    return Chosen(_working(image), index.photos[chosen], f"indexed:{index.photos[chosen]}", same, python)


def _choose_upload(index: PatchIndex, reference: str) -> Chosen:
    uploaded = st.file_uploader(
        "A photo of yours", key="photo_upload", label_visibility="collapsed", max_upload_size=20, help=None
    )
    kept = session().uploads
    if uploaded is not None and uploaded.file_id != session().read_upload:
        try:
            image = decoding.decode(uploaded.getvalue(), name=uploaded.name)
        except ImageError as error:
            st.error(escape_markdown(str(error)), icon=":material/broken_image:")
            st.stop()
        session().read_upload = uploaded.file_id  # once: going back from it is not asking for it again
        digest = images.digest(image)
        if digest not in kept:
            kept[digest] = Upload(decoding.display_name(uploaded.name), image)
            while len(kept) > 1 and sum(each.image.nbytes for each in kept.values()) > UPLOAD_BYTES:
                del kept[next(iter(kept))]
        reference = f"upload:{digest}"
        url_state.choose("photo", reference)
    digest = reference.removeprefix("upload:")
    if (photo := kept.get(digest)) is None:
        if digest:
            st.info(
                "This link shows an uploaded photo, which stays with whoever uploaded it. Upload the same file to see "
                "the same view.",
                icon=":material/upload_file:",
            )
        else:
            st.caption(
                "JPEG, PNG, WebP, TIFF and others up to 20 MB. It stays in this session's memory and is not stored."
            )
        st.stop()
    python = f"image = decoding.decode({photo.name!r})"
    return Chosen(_working(photo.image), photo.name, reference, tuple(index.photos_like(photo.image)), python)


def dataset_title(source: str) -> str:
    """What a data set is called where it is chosen, and so in links."""
    return SYNTHETIC if source == datasets.TOY else source


def choose_category(at_data: Any, at_category: Any) -> tuple[str, KeypointDataset, str]:
    """A data set, by the name it is offered under, and a category of it; the page stops where it cannot be read."""
    there = caches.available()
    for fault in there.faults:
        st.warning(escape_markdown(fault), icon=":material/folder_off:")
    offered = list(there.names)
    url_state.check_link("data", [dataset_title(each) for each in offered])
    name = at_data.selectbox(
        "Data set",
        offered,
        format_func=dataset_title,
        key="data",
        bind="query-params",
        help="Those in the folder that the environment variable CORRCORE_DATA names are offered besides.",
    )
    try:
        data = caches.dataset(name)
    except (OSError, ValueError) as error:
        st.error(escape_markdown(str(error)), icon=":material/error:")
        st.stop()
    url_state.check_link("category", data.categories)
    return name, data, at_category.selectbox("Category", data.categories, key="category", bind="query-params")


def choose_object(data: KeypointDataset, category: str, beside: Any) -> Instance:
    """A val object from a gallery, with a choice of the sheet `beside` it; the choice is in the URL.

    Raises ValueError or OSError where there is none to show.
    """
    offered = data.visible_instances(category, "val") if (category, "val") in data.splits else []
    if not offered:
        msg = f"No val object of {category} shows a keypoint; choose another category."
        raise ValueError(msg)
    names = [one.name for one in offered]
    asked = asked_object(data, offered)
    chosen = names.index(asked)
    per_sheet = PER_SHEET
    n_sheets = -(-len(offered) // per_sheet)
    sheet = chosen // per_sheet + 1
    if n_sheets > 1:
        sheet = beside.number_input(
            f"Page (of {n_sheets}; {counted(len(offered), 'object')})",
            1,
            n_sheets,
            sheet,
            key=f"sheet {data.digest} {category}",
        )
    shown = range((sheet - 1) * per_sheet, min(sheet * per_sheet, len(offered)))
    objects = [offered[n] for n in shown]
    gallery(
        thumbnails.of_objects(caches.state_of(objects), objects),
        chosen - shown.start if chosen in shown else None,
        [names[n] for n in shown],
        lambda number: url_state.choose("object", names[shown[number]]),
    )
    return offered[chosen]


def asked_object(data: KeypointDataset, offered: list[Instance]) -> str:
    """The name of the object that the URL or this session asks for, if it is on offer; else of one to begin with."""
    names = [one.name for one in offered]
    asked = url_state.asked("object", names[first_choice(offered)])
    if asked not in names and any(asked == one.name for other in data.splits.values() for one in other):
        url_state.accept("object", [asked])  # the category was changed
    url_state.check_choice("object", asked, asked in names, "There is no object {} here; this is another.")
    shown = asked if asked in names else names[first_choice(offered)]
    url_state.show("object", shown)
    return shown


def first_choice(offered: list[Instance]) -> int:
    """An object that shows much of itself, to begin with."""
    return int(np.argmax([one.visible.sum() + min(min(one.size) / 200, 1) for one in offered]))


def show_left_out(what: str, reasons: Mapping[str, str]) -> None:
    """Annotations or objects (`what` of them) that could not be used, by name, folded."""
    if reasons:
        with st.expander(f"{counted(len(reasons), what)} left out"):
            for each, reason in list(reasons.items())[:50]:
                st.caption(escape_markdown(f"{each}: {reason}"))


def choose_network(place: Any) -> Extractor:
    """The network whose layers are asked; the page stops where its weights are not here."""
    names = networks.names()
    url_state.check_link("network", names)
    name = place.selectbox("Network", names, key="network", bind="query-params") or names[0]
    try:
        return caches.network(name)
    except (OSError, ValueError) as error:
        st.error(escape_markdown(str(error)), icon=":material/error:")
        st.stop()


def aligned_features(network: Extractor) -> tuple[Feature, ...]:
    """Those the Alignment page offers: the layers whose cells lie where those of the layer for transfer do, and SIFT."""
    usual = network.receptive_field(network.roles.transfer)
    fields = {layer: network.receptive_field(layer) for layer in network.layers}
    layers = [each for each, own in fields.items() if (own.stride, own.offset) == (usual.stride, usual.offset)]
    return (*(Feature(network.name, layer) for layer in layers), *(Feature(SIFT, r) for r in ("10", "20", "40")))


def mapped_features(network: Extractor) -> tuple[Feature, ...]:
    """Those the Responses page offers: every layer, and SIFT."""
    radii = ("10", "20", "40", "80", "160")
    return (*(Feature(network.name, layer) for layer in network.layers), *(Feature(SIFT, r) for r in radii))


def _working(image: np.ndarray) -> np.ndarray:
    """Large photos at the size of PASCAL's, but not so small that no receptive field fits; small ones as they are."""
    shorter, longer = sorted(image.shape[:2])
    scale = max(LONGER_SIDE_PX / longer, min(SHORTER_SIDE_PX / shorter, 4 * LONGER_SIDE_PX / longer))
    return images.resize(image, longer_side=round(longer * scale)) if scale < 1 else image
