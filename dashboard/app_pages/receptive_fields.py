"""What one descriptor responds to: averages of its nearest neighbours' receptive fields, Figure 2."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st

from corrcore import experiments, images
from corrcore.geometry import CellGrid, PixelBox
from corrcore.patch_index import Cells, PatchIndex
from corrcore.store import default_folder
from corrcore.tasks import averaging
from corrcore.tasks.averaging import Study, expand_contrast
from dashboard import figures
from dashboard.components import Outline, image_click
from dashboard.parts import exports, header, job_panel, pickers, result_panel, url_state
from dashboard.services import caches, sessions
from dashboard.services.jobs import Job
from dashboard.wording import escape_markdown

KS = (5, 50, 500)
ZOOM = 1.4
SEED = 0
N_SEEDS = 30
RANDOM, CLICKED = "Random descriptor", "Point in a photo"

HOW = """
The seed is one descriptor of a layer. Its *k* most similar descriptors in other photos are found by cosine similarity,
exactly, and their whole receptive fields are averaged; the contrast of each average is then stretched to its 1st to 99th
percentile. Where a receptive field crosses its photo's border only the pixels inside count, so every pixel is a mean over
those neighbours that have it. Long, Zhang and Darrell (2014), Section 3.1, Figure 2.

**Agreement radius.** At each distance from the centre, how much less the 50 nearest receptive fields differ from one
another than receptive fields drawn at random do:

$$ \\text{agreement}(r) = 1 - \\frac{\\text{variance of neighbours at } r}{\\text{variance of random fields at } r} $$

1 means they all show the same there, 0 that they have nothing in common. What neighbours share all over, such as light and
colour, tells nothing of where things are; so the agreement radius is where agreement has lost half of what it loses between
the centre and the rim. Agreement that falls evenly would give half the distance to the rim.
"""


@dataclass(frozen=True)
class Seed:
    """Where the seed descriptors of all layers are: a picture, a pixel of it, and a descriptor a layer."""

    image: np.ndarray
    title: str
    pixel: tuple[int, int]
    grids: Mapping[str, CellGrid]
    descriptors: Mapping[str, Any]  # tensors
    same: tuple[int, ...]
    python: str
    shareable: bool = True


def random_seed(index: PatchIndex, layers: tuple[str, ...], number: int) -> Seed:
    """A patch of the index drawn by a seed number, and the cells of the other layers at its place."""
    drawn = np.random.default_rng(number).integers(0, index.n_patches(layers[0]), size=1)
    cells = index.locate(layers[0], drawn)
    picture = int(cells.pictures[0])
    x, y = index.grid(layers[0], picture).centres()[cells.rows[0], cells.columns[0]]
    grids = {layer: index.grid(layer, picture) for layer in layers}
    descriptors = {}
    for layer, grid in grids.items():
        row, column = grid.nearest(x, y)
        ids = index.ids(layer, Cells(np.array([picture]), np.array([row]), np.array([column])))
        descriptors[layer] = index.descriptors(layer, ids)[0]
    photo = int(index.photo_of[picture])
    title = index.photos[photo] + (", mirrored" if index.mirrored[picture] else "")
    python = f"""drawn = np.random.default_rng({number}).integers(0, index.n_patches(layer), size=1)
descriptor = index.descriptors(layer, drawn)[0]
exclude = [int(index.photo_of[index.locate(layer, drawn).pictures[0]])]"""
    return Seed(index.picture(picture), title, (round(x), round(y)), grids, descriptors, (photo,), python)


def clicked_seed(index: PatchIndex, layers: tuple[str, ...]) -> Seed:
    """The descriptors of a chosen photo at a chosen pixel."""
    chosen = pickers.choose_photo(index)
    features = caches.network(index.backbone).extract(chosen.image, layers)
    x, y = url_state.pixel_of(chosen.image, start=chosen.start)
    grids = {layer: grid.cells for layer, grid in features.items()}
    descriptors = {layer: grid.descriptors[grid.cells.nearest(x, y)].float().cpu() for layer, grid in features.items()}
    python = f"""{chosen.python}
image = images.resize(image, longer_side={max(chosen.image.shape)})
grid = backbone.extract(image, [layer])[layer]
descriptor = grid.descriptors[grid.cells.nearest({x}, {y})]
exclude = {list(chosen.same)}"""
    return Seed(chosen.image, chosen.title, (x, y), grids, descriptors, chosen.same, python, chosen.shareable)


def submit(seed: Seed, index: PatchIndex, layers: tuple[str, ...]) -> Job[dict[str, Study]]:
    results = caches.results() if seed.shareable else None  # nothing of an upload is kept

    def work(*, progress: Callable[[float, str], None]) -> dict[str, Study]:
        found = {}
        for number, layer in enumerate(layers):

            def report(share: float, text: str, before: int = number) -> None:
                progress((before + share) / len(layers), text)

            report(0, f"searching {layer}")
            found[layer] = averaging.study(
                seed.descriptors[layer],
                layer,
                index=index,
                ks=ks_of(index, layer, seed.same),
                exclude=seed.same,
                seed=SEED,
                results=results,
                progress=report,
            )
        return found

    key = (images.digest(seed.image), seed.pixel, index.digest, layers, seed.same)
    return job_panel.view_job(work, "Averaging receptive fields", key)


def ks_of(index: PatchIndex, layer: str, exclude: tuple[int, ...]) -> tuple[int, ...]:
    """The k of Figure 2, as far as a small index can serve them; if it can none, all that it has."""
    most = index.n_patches(layer, exclude=exclude)
    return tuple(k for k in KS if k <= most) or (most,)


def colours_of(index: PatchIndex, layers: Sequence[str]) -> dict[str, str]:
    return figures.feature_colours(layers, caches.layers_of(index.backbone))


def show_seed(seed: Seed, index: PatchIndex, layers: tuple[str, ...]) -> None:
    x, y = seed.pixel
    outlines, colours = [], colours_of(index, layers)
    for layer in layers:
        field = seed.grids[layer].receptive_field
        box = field.receptive_field_box(*seed.grids[layer].nearest(x, y))
        outlines.append(Outline(box, colours[layer], width=2))
    grid = seed.grids[layers[0]]
    patch = grid.receptive_field.patch_box(*grid.nearest(x, y))
    outlines.append(Outline(patch, figures.YELLOW, width=2.5))

    def click(x: int, y: int) -> None:
        url_state.choose("at", f"{x},{y}")

    st.markdown("**Seed**", help="Yellow: one patch. The squares: the receptive field of each layer around it.")
    image_click(
        images.encode(seed.image, format="JPEG"),
        alt=f"{seed.title} with the seed's receptive fields",
        key="seed_photo",
        boxes=outlines,
        grid=(
            grid.receptive_field.offset,
            grid.receptive_field.offset,
            grid.receptive_field.stride,
            grid.columns,
            grid.rows,
        ),
        on_click=click,
    )
    note = "" if st.session_state.get("seed_from") == RANDOM else " Click the photo to choose another point."
    st.caption(f"{escape_markdown(seed.title)}, at ({x}, {y}) px.{note}")


def show_averages(found: dict[str, Study], index: PatchIndex) -> None:
    """Figure 2: a column a layer, a row a k, at true relative sizes."""
    colours = colours_of(index, list(found))
    for place, (layer, study) in zip(st.columns(len(found), gap="small"), found.items(), strict=True):
        field = index.field(layer)
        with place:
            swatch = f"<span style='color: {colours[layer]}'>&#9632;</span>"
            st.html(f"{swatch} <b>{layer}</b> · {field.size} px")
            for each in study.averages.averages:
                fewest, most = int(each.count.min()), int(each.count.max())
                border = f" · {fewest} to {most} at each pixel" if fewest < each.k else ""
                picture = expand_contrast(each.mean, each.count)
                st.image(images.encode(picture, format="PNG"), width=round(field.size * ZOOM))
                st.caption(f"k = {each.k}{border}")


def show_profiles(found: dict[str, Study], index: PatchIndex, layers: tuple[str, ...]) -> None:
    chart, beside = st.columns([3, 2], gap="medium")
    profiles = {layer: study.agreement for layer, study in found.items()}
    with chart:
        st.markdown(
            "**How far from the centre do neighbours agree?** 1: they all show the same; 0: no more alike than random "
            "receptive fields. The dot is the agreement radius."
        )
        st.plotly_chart(
            figures.agreement_profile(profiles, colours_of(index, layers)),
            key="profile",
            config={"displayModeBar": False},
        )
    with beside:
        show_over_seeds(index, layers)
    st.markdown("**This seed**")
    st.dataframe(
        {
            "layer": list(found),
            "agreement radius": [radius_text(study.agreement.agreement_radius_px) for study in found.values()],
            "agreement at the centre": [f"{study.agreement.agreement[0]:.2f}" for study in found.values()],
            "half the field": [f"{index.field(layer).size / 2:.0f} px" for layer in found],
            "stride": [f"{index.field(layer).stride} px" for layer in found],
            "similarity of the 5th": [f"{study.averages.similarities[:5][-1]:.2f}" for study in found.values()],
        },
        hide_index=True,
        width="stretch",
    )
    st.caption(
        "Agreement radius: where agreement has lost half of what it loses from the centre to the rim. Where it is low at "
        "the centre, one seed says little."
    )


def radius_text(radius: float) -> str:
    if np.isnan(radius):
        return "no agreement"
    return f"{radius:.0f} px" if np.isfinite(radius) else "does not fall"


def show_over_seeds(index: PatchIndex, layers: tuple[str, ...]) -> None:
    """The agreement radius as a property of the layer: its median over random seeds, computed when asked for."""
    folder = default_folder() / "experiments"
    path = folder / f"radius-{averaging.VERSION}-{index.digest[:16]}-{'-'.join(layers)}.json"

    def work(*, progress: Callable[[float, str], None]) -> dict[str, Any]:
        folder.mkdir(parents=True, exist_ok=True)
        return experiments.agreement_radius(N_SEEDS, index=index, layers=layers, out=path, progress=progress)

    result = result_panel.result_panel(
        "One seed says little",
        f"The median over {N_SEEDS} random seeds says how near neighbours agree by each layer.",
        ("radius", index.digest, layers),
        work,
        read=lambda: experiments.read(path) if experiments.is_complete(path) else None,
        button=f"Measure over {N_SEEDS} random seeds",
        label="Measuring agreement radii",
    )
    if result is not None:
        summary = result["summary"]
        rows = {layer: summary[layer]["agreement_radius_px"] for layer in layers}
        st.dataframe(
            {
                "layer": list(rows),
                "median agreement radius": [radius_text(number_of(row["median"])) for row in rows.values()],
                "95 % interval": [
                    " to ".join(radius_text(number_of(row[end])) for end in ("low", "high")) for row in rows.values()
                ],
                "seeds that agree": [f"{row['samples']} of {N_SEEDS}" for row in rows.values()],
            },
            hide_index=True,
            width="stretch",
        )
        st.caption("Seeds whose neighbours do not even agree at the centre are left out.")


def number_of(value: float | str | None) -> float:
    """A number as results have it: null for none, infinities in words."""
    return float("nan") if value is None else float(value)


def arrays(seed: Seed, found: dict[str, Study]) -> bytes:
    """Everything on the page as one NPZ file."""
    content: dict[str, np.ndarray] = {"seed_image": seed.image, "seed_pixel": np.array(seed.pixel)}
    for layer, study in found.items():
        content[f"{layer}_neighbour_ids"] = study.averages.ids
        content[f"{layer}_similarities"] = study.averages.similarities
        content[f"{layer}_radii_px"] = study.agreement.radii_px
        content[f"{layer}_agreement"] = study.agreement.agreement
        for each in study.averages.averages:
            content[f"{layer}_mean_k{each.k}"] = each.mean
            content[f"{layer}_count_k{each.k}"] = each.count
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **content)
    return file.getvalue()


def poster(seed: Seed, index: PatchIndex, found: dict[str, Study], layers: tuple[str, ...]) -> bytes:
    colours = colours_of(index, layers)
    boxes: list[tuple[PixelBox, str]] = []
    for layer in layers:
        cells = seed.grids[layer]
        boxes.append((cells.receptive_field.receptive_field_box(*cells.nearest(*seed.pixel)), colours[layer]))
    averages = figures.averages_sheet([study.averages for study in found.values()])
    photo = images.resize(figures.draw_boxes(seed.image, boxes), longer_side=averages.shape[0])
    canvas = np.full((averages.shape[0], photo.shape[1] + averages.shape[1], 3), 255, np.uint8)
    canvas[: photo.shape[0], : photo.shape[1]] = photo
    canvas[:, photo.shape[1] :] = averages
    return images.encode(canvas, format="PNG")


def python_lines(seed: Seed, index: PatchIndex, layers: tuple[str, ...]) -> str:
    return f"""import numpy as np
from corrcore.tasks import averaging
from corrcore import networks, images, patch_index as indexes
from corrcore.datasets.samples import samples

backbone = networks.load("{index.backbone}")
index = {pickers.python_index(index)}
layer = "{layers[0]}"
{seed.python}
found = averaging.average(descriptor, layer, index=index, ks={ks_of(index, layers[0], seed.same)}, exclude=exclude)
pictures = [averaging.expand_contrast(each.mean, each.count) for each in found.averages]
"""


def page() -> None:
    header.header(
        "What does one descriptor respond to?",
        "The average of the receptive fields of a descriptor's nearest neighbours. **Look for** a sharp centre that "
        "blurs outwards: similar descriptors have the same thing at the *centre* of their receptive fields, which they "
        "were never taught.",
    )
    side, main = st.columns([1, 3], gap="medium")
    with side:
        index = pickers.choose_index()
    with main:
        kind = st.segmented_control(
            "Seed", [RANDOM, CLICKED], default=CLICKED, key="seed_from", bind="query-params", required=True
        )
        layers = tuple(index.layers)
        if kind == RANDOM:
            number = st.number_input("Seed number", 0, 10**6, 7, key="seed", bind="query-params", width=180)
            seed = random_seed(index, layers, int(number))
        else:
            try:
                seed = clicked_seed(index, layers)
            except ValueError as error:
                st.error(str(error), icon=":material/error:")
                st.stop()
    job = submit(seed, index, layers)
    left, right = st.columns([2, 5], gap="medium")
    with left:
        show_seed(seed, index, layers)
    with right:
        job_panel.job_panel(job, again=sessions.forget_view)
        if job.result is not None:
            show_averages(job.result, index)
    found = job.result
    if found is None:
        st.stop()
    show_profiles(found, index, layers)
    header.how_computed(
        HOW,
        {
            "network": f"{index.backbone}, weights {index.backbone_digest[:8]}",
            "index": f"{index.name}, {index.digest[:8]}",
            "left out": ", ".join(index.photos[number] for number in seed.same) or "nothing",
            "neighbours in the profile": averaging.PROFILE_K,
            "random receptive fields": averaging.N_RANDOM,
        },
    )
    exports.export_row(
        downloads={
            "receptive-fields.png": lambda: poster(seed, index, found, layers),
            "receptive-fields.npz": lambda: arrays(seed, found),
        },
        python=python_lines(seed, index, layers),
    )


page()
