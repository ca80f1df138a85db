"""What every page lets one choose: the index that is searched, and a photo. Choices live in the URL."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st

from corrcore import datasets, decoding, experiments, extractors, images
from corrcore.datasets.records import Instance, KeypointDataset
from corrcore.datasets.samples import one_of_each_scene
from corrcore.decoding import ImageError
from corrcore.geometry import PixelBox
from corrcore.patch_index import SAMPLES as SAMPLES_INDEX
from corrcore.patch_index import IndexDamagedError, IndexNotFoundError, PatchIndex
from corrcore.settings import Settings
from dashboard.components import image_click
from dashboard.parts import layout
from dashboard.services import caches

BACKBONE = "alexnet"  # of the pages on keypoints
SMOOTHNESSES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)  # that objects are aligned with
PRIORS = {  # where detectors' priors are from, by what is added to a feature to name the row
    "+prior": "the object most alike",
    f"+{experiments.PRIORS} priors": f"the {experiments.PRIORS} most alike",
    "": "none",
}
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
SHEET_COLUMNS = 8
GAP_PX = 0

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


def url_state(name: str, default: str) -> str:
    """A choice made by clicking: from the URL, else from this session, else the default. Kept in both."""
    value = st.query_params.get(name) or st.session_state.get(f"chosen {name}") or default
    if value:
        set_url_state(name, value)
    return value


def set_url_state(name: str, value: str) -> None:
    st.session_state[f"chosen {name}"] = value
    if st.query_params.get(name) != value:
        st.query_params[name] = value


def pixel_of(
    image: np.ndarray, within: PixelBox | None = None, *, start: tuple[int, int] | None = None
) -> tuple[int, int]:
    """The pixel (x, y) that was clicked last, on any page; where there is none in the picture, `start` or the middle."""
    box = within or PixelBox(0, 0, image.shape[1], image.shape[0])
    if re.fullmatch(r"[0-9]{1,5},[0-9]{1,5}", at := url_state("at", "")):
        x, y = (int(part) for part in at.split(","))
        if box.left <= x < box.right and box.top <= y < box.bottom:
            return x, y
    return start or ((box.left + box.right) // 2, (box.top + box.bottom) // 2)


def check_link(name: str, allowed: Collection[str]) -> None:
    """Says so where a link asks for what a widget bound to the URL does not offer, before the widget drops it.

    It stays until another choice is made, for a page runs again when its work is done.
    """
    left_out: dict[str, tuple[str, Any]] = st.session_state.setdefault("left_out", {})
    if asked := [value for value in st.query_params.get_all(name) if value not in allowed]:
        left_out[name] = ", ".join(asked)[:64], None
    if name not in left_out:
        return
    what, chosen_then = left_out[name]
    chosen = st.session_state.get(name)
    if chosen_then is None:
        left_out[name] = what, chosen
    elif chosen != chosen_then:
        del left_out[name]
        return
    st.warning(
        f"This link asks for {name} {layout.escape_markdown(what)}, which does not exist here; another is shown.",
        icon=":material/link_off:",
    )


def python_index(index: PatchIndex) -> str:
    """How the chosen index is opened in Python."""
    if index.name.startswith(f"{SAMPLES_INDEX}-"):
        return "indexes.samples(backbone)"
    return f'indexes.PatchIndex(indexes.default_root() / "{index.name}")'


def python_dataset(source: str) -> tuple[str, str]:
    """The imports that opening a data set takes in Python, and what to open it by."""
    root, folder = Settings.from_environment().data, caches.available().spec(source).folder
    if folder is None or root is None:
        return "", repr(source)
    below = "".join(f", {part!r}" for part in folder.relative_to(root).parts)
    return "import os\nfrom pathlib import Path\n\n", f'Path(os.environ["CORRCORE_DATA"]{below})'


def choose_index() -> PatchIndex:
    """The index to search. Stops the page with a sentence where it cannot be opened."""
    names = caches.index_names()
    asked = st.query_params.get("index")
    if asked and asked not in names:
        st.warning(
            f"This link needs the index {layout.escape_markdown(asked[:64])}, which is not on this machine; these are the samples. "
            "Indexes are built on the Data page.",
            icon=":material/link_off:",
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
        index.check_made_by(caches.network(index.backbone))
    except (IndexNotFoundError, IndexDamagedError, OSError, ValueError) as error:
        st.error(str(error), icon=":material/error:")
        st.stop()
    patches = index.n_patches(index.layers[0])
    st.caption(f"{len(index.photos):,} photos, {patches:,} patches a layer")
    if name == SAMPLES_INDEX:
        st.caption(
            "Enough to see how it works, too few for conv4 and conv5 to find good neighbours: build an index on the Data page."
        )
    return index


def choose_photo(index: PatchIndex) -> Chosen:
    """A photo from the samples, the index, or the user's own. Stops the page while there is none."""
    reference = url_state("photo", "sample:chelsea")
    kinds = {"sample": SAMPLE, "indexed": INDEXED, "upload": UPLOAD}
    kind = st.segmented_control(
        "Photo",
        list(kinds.values()),
        default=kinds.get(reference.partition(":")[0], SAMPLE),
        key="photo_from",
        label_visibility="collapsed",
        required=True,
    )
    if kind == SAMPLE:
        return _choose_sample(index, reference)
    if kind == INDEXED:
        return _choose_indexed(index, reference)
    return _choose_upload(index, reference)


def _choose_sample(index: PatchIndex, reference: str) -> Chosen:
    known = one_of_each_scene()
    name = reference.removeprefix("sample:")
    if name not in known:
        if reference.startswith("sample:"):
            st.warning(
                f"There is no sample {layout.escape_markdown(name[:64])}; here is another.", icon=":material/link_off:"
            )
        name = next(iter(known))
    names = tuple(known)

    def pick(number: int) -> None:
        set_url_state("photo", f"sample:{names[number]}")

    gallery(caches.sample_thumbnails(names), names.index(name), [known[each].title for each in names], pick)
    image = caches.sample_photo(name)
    same = tuple(number for number, photo in enumerate(index.photos) if photo == name)
    same = tuple(sorted({*same, *index.photos_like(image)}))
    python = f'image = samples()["{name}"].load()'
    set_url_state("photo", f"sample:{name}")
    return Chosen(_working(image), known[name].title, f"sample:{name}", same, python)


def _choose_indexed(index: PatchIndex, reference: str) -> Chosen:
    name = reference.removeprefix("indexed:")
    chosen = index.photos.index(name) if name in index.photos else 0
    if reference.startswith("indexed:") and name not in index.photos:
        st.warning(
            f"There is no photo {layout.escape_markdown(name[:64])} in this index; here is another.",
            icon=":material/link_off:",
        )
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
        set_url_state("photo", f"indexed:{index.photos[shown[number]]}")

    thumbnails = caches.indexed_thumbnails(index.digest, shown, index)
    selected = shown.index(chosen) if chosen in shown else None
    gallery(thumbnails, selected, [index.photos[number] for number in shown], pick)
    set_url_state("photo", f"indexed:{index.photos[chosen]}")
    image = index.photo(chosen)
    same = tuple(sorted({chosen, *index.photos_like(image)}))
    python = f"image = index.photo(index.photos.index({index.photos[chosen]!r}))"
    return Chosen(_working(image), index.photos[chosen], f"indexed:{index.photos[chosen]}", same, python)


def _choose_upload(index: PatchIndex, reference: str) -> Chosen:
    uploaded = st.file_uploader(
        "A photo of yours", key="photo_upload", label_visibility="collapsed", max_upload_size=20, help=None
    )
    kept: dict[str, tuple[str, np.ndarray]] = st.session_state.setdefault("uploads", {})
    if uploaded is not None:
        try:
            image = decoding.decode(uploaded.getvalue(), name=uploaded.name)
        except ImageError as error:
            st.error(layout.escape_markdown(str(error)), icon=":material/broken_image:")
            st.stop()
        digest = images.digest(image)
        if digest not in kept:
            kept[digest] = (decoding.display_name(uploaded.name), image)
            while len(kept) > 1 and sum(each.nbytes for _, each in kept.values()) > UPLOAD_BYTES:
                del kept[next(iter(kept))]
        reference = f"upload:{digest}"
    name_and_image = kept.get(reference.removeprefix("upload:"))
    if name_and_image is None:
        if reference.startswith("upload:"):
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
    set_url_state("photo", reference)
    name, image = name_and_image
    python = f"image = decoding.decode({name!r})"
    return Chosen(_working(image), name, reference, tuple(index.photos_like(image)), python)


def dataset_title(source: str) -> str:
    """What a data set is called where it is chosen, and so in links."""
    return SYNTHETIC if source == datasets.TOY else source


def choose_category(at_data: Any, at_category: Any) -> tuple[str, KeypointDataset, str]:
    """A data set, by the name it is offered under, and a category of it; the page stops where it cannot be read."""
    there = caches.available()
    for fault in there.faults:
        st.warning(layout.escape_markdown(f"CORRCORE_DATA: {fault}"), icon=":material/folder_off:")
    offered = list(there.names)
    check_link("data", [dataset_title(each) for each in offered])
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
        st.error(layout.escape_markdown(str(error)), icon=":material/error:")
        st.stop()
    check_link("category", data.categories)
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
            f"Page of {n_sheets}, {len(offered)} objects", 1, n_sheets, sheet, key=f"sheet {data.digest} {category}"
        )
    shown = range((sheet - 1) * per_sheet, min(sheet * per_sheet, len(offered)))
    objects = [offered[n] for n in shown]
    thumbnails = caches.object_thumbnails(caches.state_of(objects), objects)
    gallery(
        thumbnails,
        chosen - shown.start if chosen in shown else None,
        [names[n] for n in shown],
        lambda number: set_url_state("object", names[shown[number]]),
    )
    return offered[chosen]


def asked_object(data: KeypointDataset, offered: list[Instance]) -> str:
    """The name of the object that the URL or this session asks for, if it is on offer; else of one to begin with."""
    names = [one.name for one in offered]
    first = names[first_choice(offered)]
    asked = url_state("object", first)
    if asked not in names:
        elsewhere = (one.name for other in data.categories for one in data.splits.get((other, "val"), ()))
        if asked not in elsewhere:  # else the category was changed
            st.session_state["missing object"] = asked, first
        asked = first
    missing, instead = st.session_state.get("missing object", ("", ""))
    if asked == instead:  # said until another is chosen, for a page runs again when its work is done
        st.warning(
            f"There is no object {layout.escape_markdown(missing[:64])} here; this is another.",
            icon=":material/link_off:",
        )
    set_url_state("object", asked)
    return asked


def first_choice(offered: list[Instance]) -> int:
    """An object that shows much of itself, to begin with."""
    return int(np.argmax([one.visible.sum() + min(min(one.size) / 200, 1) for one in offered]))


def show_left_out(what: str, reasons: Mapping[str, str]) -> None:
    """Annotations or objects that could not be used, by name, folded."""
    if reasons:
        with st.expander(f"{len(reasons)} {what} left out"):
            for each, reason in list(reasons.items())[:50]:
                st.caption(layout.escape_markdown(f"{each}: {reason}"))


def feature_title(feature: str) -> str:
    radius = extractors.sift_radius(feature)
    return feature if radius is None else f"SIFT, radius {radius:g} px"


def aligned_features() -> list[str]:
    """Those the Alignment page offers: the layers whose cells lie where those of the last do, and SIFT."""
    backbone = caches.network(BACKBONE)
    usual = backbone.receptive_field(backbone.architecture.default_layers[-1])
    fields = {layer: backbone.receptive_field(layer) for layer in backbone.layers}
    layers = [each for each, own in fields.items() if (own.stride, own.offset) == (usual.stride, usual.offset)]
    return [*layers, *(f"{extractors.SIFT}{radius}" for radius in (10, 20, 40))]


def mapped_features() -> list[str]:
    """Those the Responses page offers: every layer, and SIFT."""
    return [*caches.network(BACKBONE).layers, *(f"{extractors.SIFT}{radius}" for radius in (10, 20, 40, 80, 160))]


def row_title(row: str) -> str:
    """A row of a table, such as conv4, sift20, conv5+prior or NN."""
    if row == experiments.UNALIGNED:
        return "NN, not aligned"
    feature, plus, rest = row.partition("+")
    return f"{feature_title(feature)} + {rest}" if plus else feature_title(feature)


def feature_of(row: str) -> tuple[str, str]:
    """A row's feature, empty where it has none, and what is added to it.

    >>> [feature_of(row) for row in ("conv5", "conv5+5 priors", "5 priors", "NN")]
    [('conv5', ''), ('conv5', '+5 priors'), ('', '5 priors'), ('', 'NN')]
    """
    if row == experiments.UNALIGNED or (row.endswith(("prior", "priors")) and "+" not in row):
        return "", row
    feature, plus, rest = row.partition("+")
    return feature, plus + rest


def upload(what: str) -> tuple[np.ndarray, str] | None:
    """A photo and its name; kept while the session looks at something else."""
    key, kept = f"upload {what}", f"uploaded {what}"

    def changed() -> None:
        uploaded = st.session_state[key]
        st.session_state[kept] = None if uploaded is None else (uploaded.getvalue(), uploaded.name)

    st.file_uploader(what, key=key, max_upload_size=20, on_change=changed)
    if (found := st.session_state.get(kept)) is None:
        return None
    content, name = found
    try:
        photo = decoding.decode(content, name=name)
    except ImageError as error:
        st.error(layout.escape_markdown(str(error)), icon=":material/broken_image:")
        return None
    if st.session_state[key] is None:
        st.caption(f"Still here: {layout.escape_markdown(decoding.display_name(name))}")
    return photo, decoding.display_name(name)


def _working(image: np.ndarray) -> np.ndarray:
    """Large photos at the size of PASCAL's, but not so small that no receptive field fits; small ones as they are."""
    shorter, longer = sorted(image.shape[:2])
    scale = max(LONGER_SIDE_PX / longer, min(SHORTER_SIDE_PX / shorter, 4 * LONGER_SIDE_PX / longer))
    return images.resize(image, longer_side=round(longer * scale)) if scale < 1 else image


def gallery(
    thumbnails: Sequence[np.ndarray], selected: int | None, titles: Sequence[str], on_pick: Callable[[int], None]
) -> None:
    """Thumbnails to click, in rows of eight."""
    side = caches.THUMBNAIL_PX
    columns = min(SHEET_COLUMNS, len(thumbnails))
    rows = -(-len(thumbnails) // columns)
    pitch = side + GAP_PX
    canvas = np.full((rows * pitch, columns * pitch, 3), 255, np.uint8)
    for number, picture in enumerate(thumbnails):
        row, column = divmod(number, columns)
        top, left = row * pitch + GAP_PX // 2, column * pitch + GAP_PX // 2
        canvas[top : top + side, left : left + side] = picture

    def click(x: int, y: int) -> None:
        number = y // pitch * columns + x // pitch
        if number < len(thumbnails):
            on_pick(number)

    centre = (pitch - 1) / 2
    image_click(
        images.encode(canvas, format="JPEG"),
        alt="Photos to choose from: " + ", ".join(titles),
        key="gallery",
        grid=(centre, centre, pitch, columns, rows),
        selected=None
        if selected is None
        else (selected % columns * pitch + pitch // 2, selected // columns * pitch + pitch // 2),
        on_click=click,
        width=columns * 88,
    )
