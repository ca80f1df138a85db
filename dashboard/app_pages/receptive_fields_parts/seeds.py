"""The descriptor that neighbours are looked for: at a point of a photo, or a random one of the index."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import streamlit as st

from corrcore import concurrency, images
from corrcore.concurrency import Progress
from corrcore.features import Feature
from corrcore.geometry import CellGrid
from corrcore.patch_index import PatchIndex
from corrcore.tasks import averaging
from corrcore.tasks.averaging import Study
from dashboard import figures, first_views
from dashboard.components import Outline, image_click
from dashboard.parts import job_panel, photo_picker, url_state
from dashboard.services import caches
from dashboard.services.jobs import Job
from dashboard.wording import escape_markdown

KS = (5, 50, 500)
SEED = 0
RANDOM, CLICKED = "Random descriptor", "Point in a photo"


@dataclass(frozen=True)
class Seed:
    """Where the seed descriptors of all layers are: a picture, a pixel of it, and a descriptor a layer.

    `own` is the pixel in the photo's own pixels. `same` are the indexed photos that are not searched.
    """

    image: np.ndarray
    title: str
    pixel: tuple[int, int]
    own: tuple[int, int]
    grids: Mapping[str, CellGrid]
    descriptors: Mapping[str, Any]  # tensors
    same: tuple[int, ...]
    python: str
    shareable: bool = True


def random_seed(index: PatchIndex, number: int) -> Seed:
    """A patch of the index drawn by a seed number, and the cells of the other layers at its place."""
    layers = index.layers
    drawn = np.random.default_rng(number).integers(0, index.n_patches(layers[0]), size=1)
    cells = index.locate(layers[0], drawn)
    picture, photo = int(cells.pictures[0]), int(cells.photos[0])
    x, y = index.grid(layers[0], picture).centres()[cells.rows[0], cells.columns[0]]
    grids = {layer: index.grid(layer, picture) for layer in layers}
    descriptors = {
        layer: index.descriptors(layer, np.array([index.id_at(layer, picture, *grid.nearest(x, y))]))[0]
        for layer, grid in grids.items()
    }
    python = f"""drawn = np.random.default_rng({number}).integers(0, index.n_patches(layer), size=1)
descriptor = index.descriptors(layer, drawn)[0]
exclude = [int(index.locate(layer, drawn).photos[0])]"""
    pixel = (round(x), round(y))
    own_x, own_y = index.centres(layers[0], drawn)[0]
    own = (round(float(own_x)), round(float(own_y)))
    title = index.picture_title(picture)
    return Seed(index.picture(picture), title, pixel, own, grids, descriptors, (photo,), python)


def clicked_seed(index: PatchIndex) -> Seed:
    """The descriptors of a chosen photo at a chosen pixel. Raises ValueError for a photo that is too small."""
    chosen = photo_picker.choose_photo(index, first_views.AVERAGED)
    features = caches.network(index.extractor).extract(chosen.image, index.layers)
    url_state.check_pixel(chosen.image)
    x, y = url_state.pixel_of(chosen.image, start=chosen.start)
    grids = {
        layer: replace(grid.cells, receptive_field=index.receptive_field(layer)) for layer, grid in features.items()
    }
    descriptors = {layer: grid.descriptors[grid.cells.nearest(x, y)].float().cpu() for layer, grid in features.items()}
    python = f"""{chosen.python}
grid = network.extract(image, [layer])[layer]
descriptor = grid.descriptors[grid.cells.nearest({x}, {y})]
exclude = {list(chosen.same)}"""
    return Seed(
        chosen.image,
        chosen.title,
        (x, y),
        chosen.own(x, y),
        grids,
        descriptors,
        chosen.same,
        python,
        chosen.shareable,
    )


def submit(seed: Seed, index: PatchIndex) -> Job[dict[str, Study]]:
    """Begins the search for the seed; that of the seed looked at before is cancelled."""
    results, layers = caches.results() if seed.shareable else None, index.layers

    def work(*, progress: Progress) -> dict[str, Study]:
        found = {}
        for number, layer in enumerate(layers):
            part = concurrency.part(progress, number / len(layers), 1 / len(layers))
            part(0, f"searching {layer}")
            found[layer] = averaging.study(
                seed.descriptors[layer],
                layer,
                index=index,
                ks=ks_of(index, layer, seed.same),
                exclude=seed.same,
                seed=SEED,
                results=results,
                progress=part,
            )
        return found

    key = (images.digest(seed.image), seed.pixel, index.digest, index.window_strides, layers, seed.same)
    return job_panel.view_job(work, "Averaging receptive fields", key)


def ks_of(index: PatchIndex, layer: str, exclude: tuple[int, ...]) -> tuple[int, ...]:
    """The k of Figure 2, as far as a small index can serve them; if it can none, all that it has."""
    most = index.n_patches(layer, exclude=exclude)
    return tuple(k for k in KS if k <= most) or (most,)


def colours_of(index: PatchIndex, layers: Sequence[str]) -> dict[str, str]:
    """The layers' colours, the same on every page."""
    known = caches.layers_of(index.extractor)
    return {layer: figures.feature_colour(Feature(index.extractor, layer), known) for layer in layers}


def show_seed(seed: Seed, index: PatchIndex) -> None:
    """The seed's photo, with its receptive fields."""
    x, y = seed.pixel
    layers, colours = index.layers, colours_of(index, index.layers)
    outlines = [
        Outline(grid.receptive_field.receptive_field_box(*grid.nearest(x, y)), colours[layer], width=2)
        for layer, grid in seed.grids.items()
    ]
    grid = seed.grids[layers[0]]
    field = grid.receptive_field
    outlines.append(Outline(field.patch_box(*grid.nearest(x, y)), figures.YELLOW, width=2.5))

    def click(x: int, y: int) -> None:
        url_state.choose("at", f"{x},{y}")

    st.markdown("**Seed**", help="Yellow: one patch. The squares: the receptive field of each layer around it.")
    image_click(
        images.encode(seed.image, format="JPEG"),
        alt=f"{seed.title} with the seed's receptive fields",
        key="seed_photo",
        boxes=outlines,
        grid=(field.offset, field.offset, field.stride, grid.columns, grid.rows),
        on_click=click,
    )
    note = "" if st.session_state.get("seed_from") == RANDOM else " Click the photo to choose another point."
    st.caption(f"{escape_markdown(seed.title)}, at ({seed.own[0]}, {seed.own[1]}) px of the photo.{note}")
