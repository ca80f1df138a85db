"""An index to search, and a photo to look at. Choices live in the URL."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import streamlit as st

from corrcore import images
from corrcore import patch_index as indexes
from corrcore.concurrency import Progress
from corrcore.datasets import drawn
from corrcore.datasets.samples import one_of_each_scene
from corrcore.features import Extractor
from corrcore.geometry import LEAST_WINDOW_STRIDES, WINDOW_STRIDES
from corrcore.patch_index import SAMPLES, PatchIndex
from corrcore.wording import counted
from dashboard.parts import job_panel, pickers, upload, url_state
from dashboard.parts.gallery import gallery
from dashboard.services import caches, people, thumbnails
from dashboard.state import session
from dashboard.titles import network_title
from dashboard.wording import escape_markdown, sentence

WINDOWS = (LEAST_WINDOW_STRIDES, 31)  # in cells, what may stand for fields without a size
SHORTER_SIDE_PX = 100  # of very wide or tall photos, as far as four times the longer side allows
DRAWN_INDEX = "Drawn animals"
SAMPLE, INDEXED, UPLOAD = "Samples", "Indexed photos", "Upload"


@dataclass(frozen=True)
class Chosen:
    """A photo to look at, at working size.

    `size` is its own (width, height). `itself` are the indexed photos with exactly its pixels, `copies` those that show
    the same enlarged or recompressed, and `same` all that are left out of the search. `start` is a pixel worth looking
    at first.
    """

    image: np.ndarray
    title: str
    reference: str
    size: tuple[int, int]
    python: str
    start: tuple[int, int] | None = None
    itself: tuple[int, ...] = ()
    copies: tuple[int, ...] = ()
    near: bool = True

    @property
    def same(self) -> tuple[int, ...]:
        """The indexed photos that are not searched."""
        return tuple(sorted({*self.itself, *(self.copies if self.near else ())}))

    @property
    def shareable(self) -> bool:
        """Whether what is computed of it may be kept: nothing of an upload is."""
        return not self.reference.startswith("upload:")

    @property
    def photographed(self) -> bool:
        """Whether it is a photograph among the samples, or an upload, which is taken for one."""
        kind, _, name = self.reference.partition(":")
        return kind == "upload" or (kind == "sample" and name not in drawn.unseen())

    @property
    def scale(self) -> float:
        """Pixels of the working image per pixel of the photo."""
        return self.image.shape[1] / self.size[0]

    def own(self, x: int, y: int) -> tuple[int, int]:
        """A pixel of the working image in the photo's own pixels."""
        height, width = self.image.shape[:2]
        return int((x + 0.5) * self.size[0] / width), int((y + 0.5) * self.size[1] / height)


def index_title(name: str) -> str:
    """What an index is called where it is chosen, and so in links: one of the drawn animals by what described them."""
    if name == SAMPLES:
        return DRAWN_INDEX
    if name.startswith(f"{SAMPLES}-"):
        return f"{DRAWN_INDEX}, by {name.removeprefix(f'{SAMPLES}-').rpartition('-')[0]}"
    return name


def is_drawn(index: PatchIndex) -> bool:
    """Whether it is the index of drawn animals that comes along."""
    return index.name.startswith(f"{SAMPLES}-")


def python_index(index: PatchIndex) -> str:
    """How the chosen index is opened in Python."""
    window = "" if index.window_strides == WINDOW_STRIDES else f".with_window({index.window_strides})"
    if is_drawn(index):
        return f"patch_index.samples(network){window}"
    how = "" if index.exact else ", probing=patch_index.Probing()"
    return f'patch_index.PatchIndex(patch_index.default_root() / "{index.name}"{how}){window}'


def choose_index(below: Any) -> PatchIndex:
    """The index to search. Stops the page with a sentence `below` where it cannot be opened, and while it is made."""
    names, may_build = caches.index_names(), people.may_measure()
    url_state.check_link(
        "index",
        [index_title(name) for name in names],
        sentence="This link needs the index {}, which is not on this machine; another is searched."
        + may_build * " Indexes are built on the Data page.",
    )
    name = st.selectbox(
        "Patches from",
        names,
        format_func=index_title,
        key="index",
        bind="query-params",
        help="The photos whose patches are searched." + may_build * " Build an index of your own on Data.",
    )
    try:
        if name == SAMPLES:
            index = _drawn_index(pickers.choose_network(st, below=below))
        else:
            index = caches.open_index(name)
            index.check_made_by(caches.network(index.extractor))
    except (OSError, ValueError) as error:
        below.error(sentence(error), icon=":material/error:")
        st.stop()
    patches = _patches_text([index.n_patches(layer) for layer in index.layers])
    if is_drawn(index):
        of = f"{len(index.photos)} drawn animals, {patches}."
        of += " For photographs build an index on the Data page." * may_build
    else:
        of = f"{counted(len(index.photos), 'photo')}, {patches}" + f"; {index.search_text}" * (not index.exact)
    named, network = escape_markdown(index_title(name)), network_title(index.extractor)
    st.caption(f"**{named}** · described by **{network}** · {of}")
    return _with_window(index)


def _with_window(index: PatchIndex) -> PatchIndex:
    """The index, with a square of the size asked for standing for fields that have none."""
    if not index.windowed:
        return index
    url_state.check_number("window", *WINDOWS)
    strides = st.number_input(
        "Window, in cells across",
        *WINDOWS,
        value=WINDOW_STRIDES,
        key="window",
        bind="query-params",
        help="For layers that see the whole image, or nearly so: a square of so many cells across stands for the "
        f"receptive field in averages, agreement and localisation; AlexNet's conv5 sees about {WINDOW_STRIDES}. "
        f"From {WINDOWS[0]} to {WINDOWS[1]}.",
    )
    return index.with_window(int(strides))


def window_parameter(index: PatchIndex) -> dict[str, str]:
    """The window, where some layer has a use for it, for a view's parameters."""
    return {"window": f"{index.window_strides} cells across"} if index.windowed else {}


def _patches_text(counts: Sequence[int]) -> str:
    """How many patches layers have: layers of different strides differ in it."""
    if min(counts) == max(counts):
        return f"{counted(counts[0], 'patch')} per layer"
    return f"{min(counts):,} to {max(counts):,} patches by layer"


def _drawn_index(network: Extractor) -> PatchIndex:
    """The index of drawn animals; made at first use, while the page says how far it is."""
    if (index := caches.sample_index(network.name)) is not None:
        return index
    keep = caches.sample_indexes()

    def work(*, progress: Progress) -> PatchIndex:
        keep[network.digest] = indexes.samples(network, progress=progress)
        return keep[network.digest]

    label = f"First use of {network.name}: describing the drawn animals"
    return job_panel.view(work, label, ("samples", network.digest))


def choose_photo(index: PatchIndex, begin: str) -> Chosen:
    """A photo from the samples, the index, or the user's own; the sample `begin` until one is chosen. Stops the page
    while there is none.
    """
    reference = url_state.asked("photo", f"sample:{begin}")
    kinds = {"sample": SAMPLE, "indexed": INDEXED, "upload": UPLOAD}
    kind = reference.partition(":")[0]
    kind = kind if kind in kinds else "sample"
    first = {"sample": f"sample:{begin}", "indexed": f"indexed:{index.photos[0]}", "upload": "upload:"}

    def change() -> None:
        to = next((name for name, title in kinds.items() if title == st.session_state["photo_from"]), "sample")
        url_state.choose("photo", session().photos.get(to, first[to]))

    st.session_state["photo_from"] = kinds[kind]  # which Back changes too
    st.segmented_control(
        "Photo", list(kinds.values()), key="photo_from", on_change=change, label_visibility="collapsed", required=True
    )
    choose = {"sample": _choose_sample, "indexed": _choose_indexed, "upload": _choose_upload}[kind]
    chosen = choose(index, reference)
    if is_drawn(index) and chosen.photographed:
        remedy = ": build an index of photographs on the Data page to see it rebuilt well" * people.may_measure()
        st.caption(f"A photograph finds little among drawn animals{remedy}.")
    chosen = _without_copies(chosen, index)
    url_state.show("photo", chosen.reference)
    session().photos[kind] = chosen.reference
    return chosen


def _without_copies(chosen: Chosen, index: PatchIndex) -> Chosen:
    """Says which copies of the photo the index holds, with a choice to search them; they are left out otherwise."""
    copies = sorted({*chosen.copies} - {*chosen.itself})
    if not copies:
        return replace(chosen, copies=())
    names = ", ".join(escape_markdown(index.photos[number]) for number in copies[:3])
    more = f" and {len(copies) - 3} more" if len(copies) > 3 else ""
    st.info(
        f"The index holds what shows the same, enlarged or recompressed: {names}{more}. It would be rebuilt from "
        "itself, so it is left out unless you keep it.",
        icon=":material/content_copy:",
    )
    keep = st.toggle("Search copies of the photo too", key="copies", bind="query-params")
    return replace(chosen, copies=tuple(copies), near=not keep)


def _choose_sample(index: PatchIndex, reference: str) -> Chosen:
    animals, photographs = drawn.unseen(), one_of_each_scene()
    titles = {name: each.title for name, each in (*animals.items(), *photographs.items())}
    names = tuple(titles)
    name = reference.removeprefix("sample:")
    url_state.check_choice("photo", name, name in titles, "There is no sample {}; here is another.")
    name = name if name in titles else names[0]

    def pick(number: int) -> None:
        url_state.choose("photo", f"sample:{names[number]}")

    gallery(thumbnails.of_samples(names), names.index(name), list(titles.values()), pick)
    image = caches.sample_photo(name)
    if name in animals:
        python = f'from corrcore.datasets import drawn\nimage = drawn.unseen()["{name}"].load()'
        start = animals[name].eye
    else:
        python = f'from corrcore.datasets.samples import samples\nimage = samples()["{name}"].load()'
        start = (173, 115) if name == "chelsea" else None  # her eye
    return _chosen(image, titles[name], f"sample:{name}", python, index, start=start)


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
    n_sheets = -(-len(numbers) // pickers.PER_SHEET)
    current = numbers.index(chosen) // pickers.PER_SHEET + 1 if chosen in numbers else 1
    sheet = current
    if n_sheets > 1:
        of = f"; {counted(len(numbers), 'photo')}"
        sheet = pickers.choose_page(st, of, n_sheets, current, f"photo_sheet {index.digest} {find}")
    shown = tuple(numbers[(sheet - 1) * pickers.PER_SHEET : sheet * pickers.PER_SHEET])

    def pick(number: int) -> None:
        url_state.choose("photo", f"indexed:{index.photos[shown[number]]}")

    pictures = thumbnails.of_indexed(index.digest, shown, index)
    selected = shown.index(chosen) if chosen in shown else None
    gallery(pictures, selected, [index.photos[number] for number in shown], pick)
    python = f"image = index.photo(index.photos.index({index.photos[chosen]!r}))"
    found = _chosen(index.photo(chosen), index.photos[chosen], f"indexed:{index.photos[chosen]}", python, index)
    return replace(found, itself=tuple(sorted({chosen, *found.itself})))


def _choose_upload(index: PatchIndex, reference: str) -> Chosen:
    if (digest := upload.newly_uploaded("A photo of yours", key="photo_upload")) is not None:
        reference = f"upload:{digest}"
        url_state.choose("photo", reference)
    digest = reference.removeprefix("upload:")
    if (photo := session().uploads.get(digest)) is None:
        upload.say_that_it_stays() if digest else upload.say_what_may_be()
        st.stop()
    python = f"from corrcore import decoding\nimage = decoding.decode({photo.name!r})"
    return _chosen(photo.image, photo.name, reference, python, index)


def _chosen(
    image: np.ndarray,
    title: str,
    reference: str,
    python: str,
    index: PatchIndex,
    *,
    start: tuple[int, int] | None = None,
) -> Chosen:
    working = working_size(image)
    if working.shape != image.shape:
        python += f"\nimage = images.resize(image, longer_side={max(working.shape)})"
    itself = {*index.photos_like(image, near=False), *index.photos_like(working, near=False)}
    copies = index.photos_like(image)
    size = (image.shape[1], image.shape[0])
    return Chosen(working, title, reference, size, python, start, tuple(sorted(itself)), tuple(copies))


def working_size(image: np.ndarray) -> np.ndarray:
    """Large photos at the size of PASCAL's, but not so small that no receptive field fits; small ones as they are."""
    shorter, longer = sorted(image.shape[:2])
    scale = max(pickers.LONGER_SIDE_PX / longer, min(SHORTER_SIDE_PX / shorter, 4 * pickers.LONGER_SIDE_PX / longer))
    return images.resize(image, longer_side=round(longer * scale)) if scale < 1 else image
