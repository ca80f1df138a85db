"""A photo rebuilt from other photos' patches, layer by layer: Figure 1."""

import io
from collections.abc import Callable, Mapping

import numpy as np
import streamlit as st

from corrcore import images
from corrcore.geometry import PixelBox
from corrcore.patch_index import PatchIndex
from corrcore.tasks import reconstruction
from corrcore.tasks.reconstruction import Localisation, Reconstruction
from dashboard import figures
from dashboard.components import Outline, compare, image_click
from dashboard.parts import exports, header, job_panel, pickers, url_state
from dashboard.parts.pickers import Chosen
from dashboard.services import caches, sessions
from dashboard.services.jobs import Job
from dashboard.wording import escape_markdown

RETRIEVED = 50  # neighbours searched at once: any k up to this is drawn without searching again
SHOWN = 10
SEED = 0
FEWEST = 30  # patches from which localisation is told
SECTIONS = ("Neighbours of the patch", "Compare with the input", "Numbers")

HOW = """
Every cell of a layer owns the patch, one stride wide, around the centre of its receptive field. Each patch is replaced
by the mean of the patches that its *k* most similar descriptors own in other photos (cosine similarity, exact search;
the photo itself is left out, at every scale and mirrored). *Uniform rf* replaces it by patches drawn uniformly
from the 99 x 99 pixels around it in the same photo: what a descriptor without position could at best be expected to do.
Long, Zhang and Darrell (2014), Section 3, Figure 1.

**Localisation.** The nearest neighbour's patch, with its surroundings (three strides wide), is looked for at every place
of the cell's own receptive field by normalised cross-correlation of grey levels. The score is the probability that it
matches closer to where it should be than a place drawn uniformly from the receptive field:

$$ P(|\\text{offset}| < |\\text{uniform offset}|) + \\tfrac12 P(\\text{tie}) $$

To a descriptor that knows what is in its receptive field but not where, every shift of the content is as good, so places
are uniform and the score is 0.5. A few hundredths above that say nothing: photos show things in the middle more often than
at the rim. PSNR and SSIM, in contrast, reward the right colours.
"""


def submit(chosen: Chosen, index: PatchIndex, layers: tuple[str, ...]) -> Job[dict[str, Reconstruction]]:
    backbone, results = caches.network(index.backbone), caches.results()

    def work(*, progress: Callable[[float, str], None]) -> dict[str, Reconstruction]:
        found = {}
        for number, layer in enumerate(layers):

            def report(share: float, text: str, before: int = number) -> None:
                progress((before + share) / len(layers), text)

            report(0, f"searching {layer}")
            found[layer] = reconstruction.reconstruct(
                chosen.image,
                layer,
                backbone=backbone,
                index=index,
                k=retrievable(index, (layer,), chosen.same),
                exclude=chosen.same,
                seed=SEED,
                results=results if chosen.shareable else None,  # nothing of an upload is kept
                progress=report,
            )
        return found

    key = (images.digest(chosen.image), index.digest, layers, chosen.same)
    return job_panel.view_job(work, f"Rebuilding {escape_markdown(chosen.title)}", key)


def retrievable(index: PatchIndex, layers: tuple[str, ...], exclude: tuple[int, ...]) -> int:
    """The most neighbours that are searched; fewer than usual in a tiny index."""
    return min(RETRIEVED, *(index.n_patches(layer, exclude=exclude) for layer in layers))


def figure(
    chosen: Chosen, index: PatchIndex, found: dict[str, Reconstruction], ks: tuple[int, ...]
) -> list[figures.Column]:
    """The columns of Figure 1 after the input, on what all layers cover; a picture a k."""
    covered = common(found)
    rng = np.random.default_rng(SEED)
    cells = next(iter(found.values())).retrieval.cells
    uniform = [reconstruction.uniform(chosen.image, cells, k=k, rng=rng) for k in ks]
    columns = [figures.Column("uniform rf", [figures.crop(picture, covered) for picture in uniform])]
    for layer, result in found.items():
        key = (images.digest(chosen.image), index.digest, layer, chosen.same) if chosen.shareable else None
        pictures = [figures.crop(caches.rebuilt(key, k, result, index), covered) for k in ks]
        columns.append(figures.Column(layer, pictures))
    return columns


def common(found: dict[str, Reconstruction]) -> PixelBox:
    """What the patches of all layers cover."""
    boxes = [result.retrieval.cells.covered for result in found.values()]
    return PixelBox(*(side([box[n] for box in boxes]) for n, side in enumerate((max, max, min, min))))


def moved(box: PixelBox, by: PixelBox) -> tuple[int, int, int, int]:
    """A box of the photo, seen from what is covered."""
    return (box.left - by.left, box.top - by.top, box.right - by.left, box.bottom - by.top)


def show_grid(
    chosen: Chosen, found: dict[str, Reconstruction], columns: list[figures.Column], ks: tuple[int, ...]
) -> None:
    """Input and columns side by side, every picture answering clicks."""
    covered = common(found)
    x, y = url_state.pixel_of(chosen.image, covered, start=chosen.start)
    selected = (x - covered.left, y - covered.top)

    def click(x: int, y: int) -> None:
        url_state.choose("at", f"{x + covered.left},{y + covered.top}")

    places = header.two_a_row("figure").columns(len(columns) + 1, gap="small")
    grids = {layer: result.retrieval.cells for layer, result in found.items()}
    first = next(iter(grids.values()))
    cell = {layer: cells.nearest(x, y) for layer, cells in grids.items()}
    outlines = [
        Outline(moved(cells.receptive_field.receptive_field_box(*cell[layer]), covered), figures.BLACK, width=1.5)
        for layer, cells in grids.items()
    ]
    outlines.append(
        Outline(moved(first.receptive_field.patch_box(*cell[next(iter(grids))]), covered), figures.YELLOW, width=2.5)
    )
    with places[0]:
        st.markdown("**input**", help="Click any picture to choose a patch.")
        image_click(
            images.encode(figures.crop(chosen.image, covered), format="JPEG"),
            alt=f"{chosen.title}, with one patch and its receptive fields",
            key="input",
            boxes=outlines,
            grid=click_grid(first, covered),
            on_click=click,
        )
        fields = ", ".join(f"{layer} {cells.receptive_field.size} px" for layer, cells in grids.items())
        st.caption(f"Yellow: the patch at ({x}, {y}). Black: its receptive fields, {fields}. Click any picture.")
    for place, column in zip(places[1:], columns, strict=True):
        with place:
            help_text = (
                "Patches drawn at random from the 99 px around each place of the same photo: no position within the field."
                if column.title == "uniform rf"
                else None
            )
            st.markdown(f"**{column.title}**", help=help_text)
            cells = grids.get(column.title, first)
            for k, picture in zip(ks, column.pictures, strict=True):
                image_click(
                    images.encode(picture, format="JPEG"),
                    alt=f"{chosen.title} rebuilt: {column.title}, k = {k}",
                    key=f"picture {column.title} {k}",
                    grid=click_grid(cells, covered),
                    selected=selected,
                    on_click=click,
                )
                st.caption(f"k = {k}")


def click_grid(cells, covered: PixelBox) -> tuple[float, float, int, int, int]:
    field = cells.receptive_field
    return (field.offset - covered.left, field.offset - covered.top, field.stride, cells.columns, cells.rows)


def show_neighbours(chosen: Chosen, index: PatchIndex, found: dict[str, Reconstruction], k: int) -> None:
    """For each layer, the k neighbours of the chosen patch: patch in receptive field in source photo."""
    x, y = url_state.pixel_of(chosen.image, common(found), start=chosen.start)
    shown = min(k, SHOWN)
    for layer, result in found.items():
        retrieval = result.retrieval
        row, column = retrieval.cells.nearest(x, y)
        cell = row * retrieval.cells.columns + column
        ids, similarities = retrieval.ids[cell, :shown], retrieval.similarities[cell, :shown]
        cells = index.locate(layer, ids)
        field = index.field(layer)
        st.markdown(f"**{layer}** · receptive field {field.size} px, patch {field.stride} px")
        with st.container(horizontal=True, gap="small"):
            view = figures.neighbour_view(
                chosen.image, field.receptive_field_box(row, column), field.patch_box(row, column)
            )
            with st.container(width=150):
                st.image(images.encode(view, format="JPEG"), caption="this patch", width=150)
            for number in range(len(ids)):
                row_, column_ = int(cells.rows[number]), int(cells.columns[number])
                picture = index.picture(int(cells.pictures[number]))
                view = figures.neighbour_view(
                    picture, field.receptive_field_box(row_, column_), field.patch_box(row_, column_)
                )
                name = index.photos[index.photo_of[cells.pictures[number]]]
                flipped = ", mirrored" if index.mirrored[cells.pictures[number]] else ""
                with st.container(width=150):
                    st.image(
                        images.encode(view, format="JPEG"),
                        caption=f"{similarities[number]:.2f} · {escape_markdown(name)}{flipped}",
                        width=150,
                    )
    if k > shown:
        st.caption(f"The nearest {shown} of {k}; all are in the NPZ file below.")


def show_comparison(
    chosen: Chosen, found: dict[str, Reconstruction], columns: list[figures.Column], ks: tuple[int, ...]
) -> None:
    titles = [column.title for column in columns]
    left, right = st.columns(2)
    title = left.segmented_control(
        "Picture", titles, default=titles[-1], key="compare_layer", bind="query-params", required=True
    )
    k = right.segmented_control(
        "k", ks, default=ks[-1], key="compare_k", bind="query-params", required=True, format_func=lambda k: f"k = {k}"
    )
    picture = columns[titles.index(title)].pictures[ks.index(k)]
    compare(
        images.encode(figures.crop(chosen.image, common(found)), format="JPEG"),
        images.encode(picture, format="JPEG"),
        labels=("input", f"{title}, k = {k}"),
        alt=f"{chosen.title} and its reconstruction by {title}",
        key="compare",
        width=720,
    )


def show_numbers(
    chosen: Chosen,
    index: PatchIndex,
    found: dict[str, Reconstruction],
    columns: list[figures.Column],
    ks: tuple[int, ...],
) -> None:
    covered = common(found)
    original = figures.crop(chosen.image, covered)
    whole = PixelBox(0, 0, original.shape[1], original.shape[0])
    titles = [column.title for column in columns]
    localised = [result.localisation for result in found.values()]
    if any(len(each.offsets) >= FEWEST for each in localised):
        show_localisation(localised, figures.feature_colours(index.layers, caches.layers_of(index.backbone)))
    else:
        st.info(
            "This photo has too little structure, or is too small for any receptive field to lie inside it, to measure "
            "localisation; choose a larger photo.",
            icon=":material/straighten:",
        )
    st.markdown("**How alike are the pictures?** These reward the right colours, wherever they are: see uniform rf.")
    table: dict[str, list[str]] = {"": titles}
    for position, k in enumerate(ks):
        table[f"similarity, k = {k}"] = [
            "" if (r := found.get(title)) is None else f"{r.retrieval.similarities[:, :k].mean():.3f}"
            for title in titles
        ]
        fidelities = [reconstruction.fidelity(original, column.pictures[position], whole) for column in columns]
        table[f"PSNR, k = {k} (dB)"] = [f"{each.psnr_db:.1f}" for each in fidelities]
        table[f"SSIM, k = {k}"] = [f"{each.ssim:.2f}" for each in fidelities]
    st.dataframe(table, hide_index=True, width="stretch")


def show_localisation(localised: list[Localisation], colours: Mapping[str, str]) -> None:
    st.markdown(
        "**Are patches put in the right place?** Within each receptive field, where the retrieved patch matches best. "
        "Score: 0.5 is chance, 1 is perfect. Dotted: places drawn uniformly from the receptive field."
    )
    st.dataframe(
        {
            "": [each.layer for each in localised],
            "localisation": [score(each) for each in localised],
            "within 8 px": [share(each) for each in localised],
            "patches measured": [str(len(each.offsets)) for each in localised],
        },
        hide_index=True,
        width="stretch",
    )
    st.caption(
        f"Measured are patches whose receptive field lies inside the photo and which have structure to match; below {FEWEST} "
        "nothing is said."
    )
    localised = [each for each in localised if len(each.offsets) >= FEWEST]
    chart, maps = st.columns(2)
    chart.plotly_chart(figures.match_distances(localised, colours), key="distances", config=PLAIN)
    highest = figures.highest_share(localised)
    with maps:
        for place, each in zip(st.columns(len(localised)), localised, strict=True):
            chart = figures.offset_map(each, highest_share=highest, height=220)
            place.plotly_chart(chart, key=f"offsets {each.layer}", config=PLAIN)
        st.caption(
            f"Offsets of the best matches; the right place is in the middle. Brightest: {highest:.0%} of a layer's "
            "matches in a square of 8 px; darkest: none."
        )


PLAIN = {"displayModeBar": False}


def score(localised: Localisation) -> str:
    if len(localised.offsets) < FEWEST:
        return "too few patches"
    return f"{localised.score:.2f} ± {localised.score_error:.2f}"


def share(localised: Localisation) -> str:
    near, chance = localised.share_within(8)
    return f"{near:.0%} (chance {chance:.0%})" if len(localised.offsets) >= FEWEST else "too few patches"


def arrays(
    chosen: Chosen,
    index: PatchIndex,
    found: dict[str, Reconstruction],
    columns: list[figures.Column],
    ks: tuple[int, ...],
) -> bytes:
    """Everything on the page as one NPZ file."""
    file = io.BytesIO()
    content: dict[str, np.ndarray] = {"image": chosen.image, "ks": np.array(ks)}
    for column in columns:
        for k, picture in zip(ks, column.pictures, strict=True):
            content[f"{column.title.replace(' ', '_')}_k{k}"] = picture
    for layer, result in found.items():
        retrieval, localised = result.retrieval, result.localisation
        cells = index.locate(layer, retrieval.ids.reshape(-1))
        content[f"{layer}_similarities"] = retrieval.similarities
        content[f"{layer}_neighbour_ids"] = retrieval.ids
        content[f"{layer}_neighbour_photos"] = index.photo_of[cells.pictures].reshape(retrieval.ids.shape)
        content[f"{layer}_neighbour_rows"] = cells.rows.reshape(retrieval.ids.shape)
        content[f"{layer}_neighbour_columns"] = cells.columns.reshape(retrieval.ids.shape)
        content[f"{layer}_offsets"] = localised.offsets
    content["photos"] = np.array(index.photos)
    np.savez_compressed(file, allow_pickle=False, **content)
    return file.getvalue()


def poster(
    chosen: Chosen, found: dict[str, Reconstruction], columns: list[figures.Column], ks: tuple[int, ...]
) -> bytes:
    """The page's figure as one PNG."""
    covered = common(found)
    x, y = url_state.pixel_of(chosen.image, covered, start=chosen.start)
    original = figures.crop(chosen.image, covered)
    grids = [result.retrieval.cells for result in found.values()]
    boxes = [(cells.receptive_field.receptive_field_box(*cells.nearest(x, y)), figures.BLACK) for cells in grids]
    boxes.append((grids[0].receptive_field.patch_box(*grids[0].nearest(x, y)), figures.YELLOW))
    picture = figures.draw_boxes(original, [(PixelBox(*moved(box, covered)), colour) for box, colour in boxes])
    first = figures.Column("input", [picture])
    return images.encode(figures.image_grid([first, *columns], [f"k = {k}" for k in ks]), format="PNG")


def python_lines(chosen: Chosen, index: PatchIndex, layers: tuple[str, ...], k: int) -> str:
    return f"""from corrcore import backbones, images, index as indexes, reconstruction
from corrcore.datasets.samples import samples

backbone = backbones.load("{index.backbone}")
index = {pickers.python_index(index)}
{chosen.python}
image = images.resize(image, longer_side={max(chosen.image.shape)})
pictures = {{}}
for layer in {list(layers)}:
    found = reconstruction.retrieve(image, layer, backbone=backbone, index=index, k={k}, exclude={chosen.same})
    pictures[layer] = reconstruction.rebuild(found, index, k={k})
"""


def page() -> None:
    header.header(
        "A photo, rebuilt from patches of other photos",
        "Each patch is replaced by what its nearest neighbours in feature space have there. **Look for** parts that "
        "stay in place (eyes, edges, rims) although the receptive fields are many patches wide; deeper layers get "
        "more semantic and less literal.",
    )
    url_state.check_link("k", [str(k) for k in range(2, RETRIEVED + 1)])
    side, main = st.columns([1, 3], gap="medium")
    with side:
        index = pickers.choose_index()
        url_state.check_link("layers", index.layers)
        layers = st.pills(
            "Layers", index.layers, selection_mode="multi", default=index.layers, key="layers", bind="query-params"
        )
    layers = tuple(layer for layer in index.layers if layer in layers)
    with main:
        chosen = pickers.choose_photo(index)
        k = st.slider("k, neighbours averaged in the second row", 2, RETRIEVED, 5, key="k", bind="query-params")
    if not layers:
        st.info("Choose at least one layer.", icon=":material/layers:")
        st.stop()
    if (most := retrievable(index, layers, chosen.same)) < k:
        st.warning(f"{index.name} has {most} patches besides this photo's own; choose a larger index.")
        st.stop()
    ks = (1, k)
    job = submit(chosen, index, layers)
    found = job.result
    if found is None:
        photo, panel = st.columns([1, 4], gap="small")
        photo.markdown("**input**")
        photo.image(images.encode(chosen.image, format="JPEG"), width="stretch")
        with panel:
            job_panel.job_panel(job, again=sessions.forget_view)
        st.stop()
    columns = figure(chosen, index, found, ks)
    show_grid(chosen, found, columns, ks)
    section = header.section_picker("Look closer", SECTIONS, key="section")
    if section == SECTIONS[0]:
        show_neighbours(chosen, index, found, k)
    elif section == SECTIONS[1]:
        show_comparison(chosen, found, columns, ks)
    else:
        show_numbers(chosen, index, found, columns, ks)
    header.how_computed(
        HOW,
        {
            "network": f"{index.backbone}, weights {index.backbone_digest[:8]}",
            "index": f"{index.name}, {index.digest[:8]}",
            "photo": f"{chosen.title}, {chosen.image.shape[1]} x {chosen.image.shape[0]} px",
            "left out": ", ".join(index.photos[number] for number in chosen.same)
            or "nothing: the photo is not in the index",
            "seed of uniform rf and of the cells measured": SEED,
        },
    )
    exports.export_row(
        downloads={
            "reconstruction.png": lambda: poster(chosen, found, columns, ks),
            "reconstruction.npz": lambda: arrays(chosen, index, found, columns, ks),
        },
        python=python_lines(chosen, index, layers, k),
    )


page()
