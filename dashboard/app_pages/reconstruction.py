"""A photo rebuilt from other photos' patches, layer by layer: Figure 1."""

import streamlit as st

from corrcore import images
from dashboard import first_views
from dashboard.app_pages.reconstruction_parts import closer, figure, files
from dashboard.app_pages.reconstruction_parts.figure import RETRIEVED, SEED, Shown
from dashboard.parts import exports, header, job_panel, photo_picker, url_state
from dashboard.services import sessions

SECTIONS = ("Neighbours of the patch", "Compare with the input", "Numbers")

HOW = """
Every cell of a layer owns the patch, one stride wide, around the centre of its receptive field. Each patch is
replaced by the mean of the patches that its *k* most similar descriptors own in other photos (cosine similarity,
exact search unless the index's line says approximate; the photo itself is left out, at every scale and mirrored, and
so are its enlarged or recompressed copies unless they are kept). *Uniform rf* replaces it by patches drawn uniformly
from the 99 x 99 pixels around it in the same photo: what a descriptor without position could at best be expected to
do. Long, Zhang and Darrell (2014), Section 3, Figure 1.

**Localisation.** The nearest neighbour's patch, with its surroundings (three strides wide), is looked for at every
place of the cell's own receptive field by normalised cross-correlation of grey levels. The score is the probability
that it matches closer to where it should be than a place drawn uniformly from the receptive field:

$$ P(|\\text{offset}| < |\\text{uniform offset}|) + \\tfrac12 P(\\text{tie}) $$

To a descriptor that knows what is in its receptive field but not where, every shift of the content is as good, so
places are uniform and the score is 0.5. A few hundredths above that say nothing: photos show things in the middle
more often than at the rim. PSNR and SSIM, in contrast, reward the right colours.
"""


def page() -> None:
    """Controls, the search, and what it found."""
    header.header(
        "A photo, rebuilt from patches of other photos",
        "Each patch is replaced by what its nearest neighbours in feature space have there. **Look for** parts that "
        "stay in place (an eye is rebuilt from other eyes, a paw from paws) although the receptive fields are many "
        "patches wide.",
    )
    url_state.check_link("k", [str(k) for k in range(2, RETRIEVED + 1)])
    side, main = st.columns([1, 3], gap="medium")
    below = st.container()
    with side:
        index = photo_picker.choose_index(below)
        url_state.check_link("layers", index.layers)
        asked = st.pills(
            "Layers", index.layers, selection_mode="multi", default=index.layers, key="layers", bind="query-params"
        )
    layers = tuple(layer for layer in index.layers if layer in asked)
    with main:
        chosen = photo_picker.choose_photo(index, first_views.REBUILT)
        k = st.slider("k, neighbours averaged in the second row", 2, RETRIEVED, 5, key="k", bind="query-params")
    if not layers:
        st.info("Choose at least one layer.", icon=":material/layers:")
        st.stop()
    if (most := figure.retrievable(index, layers, chosen.same)) < k:
        st.warning(f"{index.name} has {most} patches besides this photo's own; choose a larger index.")
        st.stop()
    job = figure.submit(chosen, index, layers)
    found = job.result
    if found is None:
        photo, panel = st.columns([1, 4], gap="small")
        photo.markdown("**input**")
        photo.image(images.encode(chosen.image, format="JPEG"), width="stretch")
        with panel:
            job_panel.job_panel(job, again=sessions.forget_view)
        if job.result is not None:  # it ended between two looks
            st.rerun()
        st.stop()
    ks = (1, k)
    shown = Shown(chosen, index, found, figure.drawn_columns(chosen, index, found, ks), ks)
    url_state.check_pixel(chosen.image, shown.covered)
    figure.show_grid(shown)
    show_rest(shown, k)


def show_rest(shown: Shown, k: int) -> None:
    """What is below the figure."""
    section = header.section_picker("Look closer", SECTIONS, key="section")
    if section == SECTIONS[0]:
        closer.show_neighbours(shown, k)
    elif section == SECTIONS[1]:
        closer.show_comparison(shown)
    else:
        closer.show_numbers(shown)
    chosen, index = shown.chosen, shown.index
    width, height = chosen.size
    header.how_computed(
        HOW,
        {
            "network": f"{index.extractor}, weights {index.extractor_digest[:8]}",
            "index": f"{index.name}, {index.digest[:8]}",
            **photo_picker.window_parameter(index),
            "photo": f"{chosen.title}, {width} x {height} px, shown at {chosen.scale:.0%}",
            "left out": ", ".join(index.photos[number] for number in chosen.same)
            or "nothing: the photo is not in the index",
            "seed of uniform rf and of the cells measured": SEED,
        },
    )
    exports.export_row(
        downloads={
            "reconstruction.png": lambda: files.poster(shown),
            "reconstruction.npz": lambda: files.arrays(shown),
        },
        python=files.python_lines(shown, k),
    )


page()
