"""Figure 1: a photo beside its reconstructions, a column a layer, every picture answering clicks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import streamlit as st

from corrcore import concurrency, images
from corrcore.concurrency import Progress
from corrcore.features import Feature
from corrcore.geometry import CellGrid, PixelBox
from corrcore.patch_index import PatchIndex
from corrcore.tasks import reconstruction
from corrcore.tasks.reconstruction import Reconstruction
from dashboard import figures
from dashboard.components import Outline, image_click
from dashboard.parts import header, job_panel, url_state
from dashboard.parts.photo_picker import Chosen
from dashboard.services import caches
from dashboard.services.jobs import Job
from dashboard.wording import escape_markdown

RETRIEVED = 50  # neighbours searched at once: any k up to this is drawn without searching again
SEED = 0
UNIFORM = "uniform rf"
UNIFORM_HELP = (
    "Patches drawn at random from the 99 px around each place of the same photo: no position within the field."
)


@dataclass(frozen=True)
class Shown:
    """What the page shows: a photo, its reconstructions by layer, the columns drawn from them, and the ks drawn."""

    chosen: Chosen
    index: PatchIndex
    found: Mapping[str, Reconstruction]
    columns: list[figures.Column]
    ks: tuple[int, ...]

    @property
    def grids(self) -> dict[str, CellGrid]:
        """The photo's cells by layer."""
        return {layer: result.retrieval.cells for layer, result in self.found.items()}

    @property
    def covered(self) -> PixelBox:
        """What the patches of all layers cover."""
        return common(self.found)

    @property
    def pixel(self) -> tuple[int, int]:
        """The pixel whose patch is looked at."""
        return url_state.pixel_of(self.chosen.image, self.covered, start=self.chosen.start)

    @property
    def colours(self) -> dict[str, str]:
        """The layers' colours, the same on every page."""
        layers = caches.layers_of(self.index.extractor)
        return {layer: figures.feature_colour(Feature(self.index.extractor, layer), layers) for layer in self.found}


def submit(chosen: Chosen, index: PatchIndex, layers: tuple[str, ...]) -> Job[dict[str, Reconstruction]]:
    """Begins the search for the photo; that of the photo looked at before is cancelled."""
    extractor = caches.network(index.extractor)
    results = caches.results() if chosen.shareable else None

    def work(*, progress: Progress) -> dict[str, Reconstruction]:
        found = {}
        for number, layer in enumerate(layers):
            part = concurrency.part(progress, number / len(layers), 1 / len(layers))
            part(0, f"searching {layer}")
            found[layer] = reconstruction.reconstruct(
                chosen.image,
                layer,
                extractor=extractor,
                index=index,
                k=retrievable(index, (layer,), chosen.same),
                exclude=chosen.same,
                near=chosen.near,
                seed=SEED,
                results=results,
                progress=part,
            )
        return found

    key = (images.digest(chosen.image), index.digest, index.window_strides, layers, chosen.same)
    # Whoever else has the same photo sees the label, too: it does not have the name of a visitor's file.
    label = f"Rebuilding {escape_markdown(chosen.title)}" if chosen.shareable else "Rebuilding the photo"
    return job_panel.view_job(work, label, key)


def retrievable(index: PatchIndex, layers: tuple[str, ...], exclude: tuple[int, ...]) -> int:
    """The most neighbours that are searched; fewer than usual in a tiny index."""
    return min(RETRIEVED, *(index.n_patches(layer, exclude=exclude) for layer in layers))


def drawn_columns(
    chosen: Chosen, index: PatchIndex, found: dict[str, Reconstruction], ks: tuple[int, ...]
) -> list[figures.Column]:
    """The columns of Figure 1 after the input, on what all layers cover; a picture a k."""
    covered = common(found)
    rng = np.random.default_rng(SEED)
    cells = next(iter(found.values())).retrieval.cells
    uniform = [reconstruction.uniform(chosen.image, cells, k=k, rng=rng) for k in ks]
    columns = [figures.Column(UNIFORM, [figures.crop(picture, covered) for picture in uniform])]
    for layer, result in found.items():
        key = (images.digest(chosen.image), index.digest, layer, chosen.same) if chosen.shareable else None
        pictures = [figures.crop(caches.rebuilt(key, k, result, index), covered) for k in ks]
        columns.append(figures.Column(layer, pictures))
    return columns


def common(found: Mapping[str, Reconstruction]) -> PixelBox:
    """What the patches of all layers cover."""
    boxes = [result.retrieval.cells.covered for result in found.values()]
    return PixelBox(*(side([box[n] for box in boxes]) for n, side in enumerate((max, max, min, min))))


def moved(box: PixelBox, by: PixelBox) -> tuple[int, int, int, int]:
    """A box of the photo, seen from what is covered."""
    return (box.left - by.left, box.top - by.top, box.right - by.left, box.bottom - by.top)


def show_grid(shown: Shown) -> None:
    """Input and columns side by side, every picture answering clicks."""
    covered, (x, y) = shown.covered, shown.pixel
    places = header.two_a_row("figure").columns(len(shown.columns) + 1, gap="small")
    with places[0]:
        _show_input(shown)
    first = next(iter(shown.grids.values()))
    for place, column in zip(places[1:], shown.columns, strict=True):
        with place:
            st.markdown(f"**{column.title}**", help=UNIFORM_HELP if column.title == UNIFORM else None)
            cells = shown.grids.get(column.title, first)
            for k, picture in zip(shown.ks, column.pictures, strict=True):
                image_click(
                    images.encode(picture, format="JPEG"),
                    alt=f"{shown.chosen.title} rebuilt: {column.title}, k = {k}",
                    key=f"picture {column.title} {k}",
                    grid=_click_grid(cells, covered),
                    selected=(x - covered.left, y - covered.top),
                    on_click=_choose_pixel(covered),
                    zoom=f"{shown.chosen.reference} {covered}",
                )
                st.caption(f"k = {k}")


def _show_input(shown: Shown) -> None:
    covered, (x, y), grids = shown.covered, shown.pixel, shown.grids
    cell = {layer: cells.nearest(x, y) for layer, cells in grids.items()}
    outlines = [
        Outline(moved(cells.receptive_field.receptive_field_box(*cell[layer]), covered), figures.BLACK, width=1.5)
        for layer, cells in grids.items()
    ]
    layer, first = next(iter(grids.items()))
    patch = first.receptive_field.patch_box(*cell[layer])
    outlines.append(Outline(moved(patch, covered), figures.YELLOW, width=2.5))
    st.markdown("**input**", help="Click any picture to choose a patch.")
    image_click(
        images.encode(figures.crop(shown.chosen.image, covered), format="JPEG"),
        alt=f"{shown.chosen.title}, with one patch and its receptive fields",
        key="input",
        boxes=outlines,
        grid=_click_grid(first, covered),
        on_click=_choose_pixel(covered),
        zoom=f"{shown.chosen.reference} {covered}",
    )
    fields = ", ".join(f"{layer} {cells.receptive_field.window_text}" for layer, cells in grids.items())
    own = shown.chosen.own(x, y)
    smaller = f", shown at {shown.chosen.scale:.0%} of its size" if shown.chosen.scale < 1 else ""
    st.caption(
        f"Yellow: the patch at ({own[0]}, {own[1]}) of the photo{smaller}. Black: its receptive fields, {fields}. "
        "Click any picture."
    )


def _choose_pixel(covered: PixelBox) -> Callable[[int, int], None]:
    def click(x: int, y: int) -> None:
        url_state.choose("at", f"{x + covered.left},{y + covered.top}")

    return click


def _click_grid(cells: CellGrid, covered: PixelBox) -> tuple[float, float, int, int, int]:
    field = cells.receptive_field
    return (field.offset - covered.left, field.offset - covered.top, field.stride, cells.columns, cells.rows)
