"""What one descriptor responds to: averages of its nearest neighbours' receptive fields, Figure 2."""

import numpy as np
import streamlit as st

from corrcore import images
from corrcore.geometry import PixelBox
from corrcore.patch_index import PatchIndex
from corrcore.tasks import averaging
from corrcore.tasks.averaging import Study, expand_contrast
from dashboard import figures
from dashboard.app_pages.receptive_fields_parts import effective, of_place, profiles, seeds
from dashboard.app_pages.receptive_fields_parts.seeds import CLICKED, RANDOM, Seed
from dashboard.parts import exports, header, job_panel, photo_picker, url_state
from dashboard.services import sessions
from dashboard.wording import sentence

ZOOM, MOST_SEED = 2.5, 10**6

HOW = """
The seed is one descriptor of a layer. Its *k* most similar descriptors in other photos are found by cosine
similarity, exactly unless the index's line says approximate, and their whole receptive fields are averaged; the
contrast of each average is then stretched to its 1st to 99th percentile. Where a receptive field crosses its photo's
border only the pixels inside count, so every pixel is a mean over those neighbours that have it. Long, Zhang and Darrell (2014), Section 3.1, Figure 2.

**Agreement radius.** At each distance from the centre, how much less the 50 nearest receptive fields differ from one
another than receptive fields drawn at random do:

$$ \\text{agreement}(r) = 1 - \\frac{\\text{variance of neighbours at } r}{\\text{variance of random fields at } r} $$

1 means they all show the same there, 0 that they have nothing in common, less than 0 that they differ more than
random ones. What neighbours share all over, such as light and colour, tells nothing of where things are; so the
agreement radius is where agreement has lost half of what it loses between the centre and the rim. Agreement that
falls evenly would give half the distance to the rim. It is measured on pictures; the *effective* receptive field of
Luo et al. (2016) is another thing, the pixels that a descriptor's gradient reaches.
"""

ABOUT = (
    "seed_image: the seed's picture at working size; seed_pixel: (x, y) in its pixels; seed_pixel_of_photo: the same "
    "in the photo's own. "
    "LAYER_mean_kN: the average of N receptive fields, whose middle is a cell's centre, and LAYER_count_kN how many "
    "of them had each "
    "pixel. LAYER_neighbour_centres: (x, y) in pixels of the neighbours' photos as indexed, neither scaled nor "
    "mirrored."
)


def show_averages(found: dict[str, Study], index: PatchIndex) -> None:
    """Figure 2: a column a layer, a row a k, at true relative sizes."""
    colours = seeds.colours_of(index, list(found))
    widest = max(index.receptive_field(layer).window_px for layer in found)
    places = header.two_a_row("averages").columns(len(found), gap="small")
    for place, (layer, study) in zip(places, found.items(), strict=True):
        field = index.receptive_field(layer)
        with place:
            st.html(f"<span style='color: {colours[layer]}'>&#9632;</span> <b>{layer}</b> · {field.window_text}")
            share = field.window_px / widest
            for each in study.averages.averages:
                fewest, most = int(each.count.min()), int(each.count.max())
                border = f" · {fewest} to {most} at each pixel" if fewest < each.k else ""
                picture = expand_contrast(each.mean, each.count)
                with header.part_of_column(share, f"{layer} {each.k}", at_most=round(field.window_px * ZOOM)):
                    st.image(
                        images.encode(picture, format="PNG"),
                        width="stretch",
                        alt=f"Average of {each.k} receptive fields by {layer}",
                    )
                st.caption(f"k = {each.k}{border}")


def arrays(seed: Seed, index: PatchIndex, found: dict[str, Study]) -> bytes:
    """Everything on the page as one NPZ file; `about` in it says what each array is, and in which frame."""
    content: dict[str, np.ndarray] = {
        "about": np.array(ABOUT),
        "photos": np.array(index.photos),
        "seed_image": seed.image,
        "seed_pixel": np.array(seed.pixel),
        "seed_pixel_of_photo": np.array(seed.own),
    }
    for layer, study in found.items():
        ids = study.averages.ids
        cells = index.locate(layer, ids)
        content[f"{layer}_neighbour_ids"] = ids
        content[f"{layer}_neighbour_photos"] = cells.photos
        content[f"{layer}_neighbour_scales"] = cells.scales
        content[f"{layer}_neighbour_mirrored"] = cells.mirrored
        content[f"{layer}_neighbour_centres"] = index.centres(layer, ids)
        content[f"{layer}_similarities"] = study.averages.similarities
        content[f"{layer}_radii_px"] = study.agreement.radii_px
        content[f"{layer}_agreement"] = study.agreement.agreement
        for each in study.averages.averages:
            content[f"{layer}_mean_k{each.k}"] = each.mean
            content[f"{layer}_count_k{each.k}"] = each.count
    return exports.as_npz(content)


def poster(seed: Seed, index: PatchIndex, found: dict[str, Study]) -> bytes:
    """The seed and its averages as one PNG."""
    colours = seeds.colours_of(index, index.layers)
    boxes: list[tuple[PixelBox, str]] = [
        (cells.receptive_field.receptive_field_box(*cells.nearest(*seed.pixel)), colours[layer])
        for layer, cells in seed.grids.items()
    ]
    averages = figures.averages_sheet([study.averages for study in found.values()])
    photo = images.resize(figures.draw_boxes(seed.image, boxes), longer_side=averages.shape[0])
    canvas = np.full((averages.shape[0], photo.shape[1] + averages.shape[1], 3), 255, np.uint8)
    canvas[: photo.shape[0], : photo.shape[1]] = photo
    canvas[:, photo.shape[1] :] = averages
    return images.encode(canvas, format="PNG")


def python_lines(seed: Seed, index: PatchIndex) -> str:
    """The call that makes the first column of the page."""
    layer = index.layers[0]
    return f"""import numpy as np
from corrcore import images, networks, patch_index
from corrcore.tasks import averaging

network = networks.open("{index.extractor}")
index = {photo_picker.python_index(index)}
layer = "{layer}"
{seed.python}
found = averaging.study(descriptor, layer, index=index, ks={seeds.ks_of(index, layer, seed.same)}, exclude=exclude)
pictures = [averaging.expand_contrast(each.mean, each.count) for each in found.averages.averages]
print(found.agreement.agreement_radius_px)
"""


def choose_seed(index: PatchIndex) -> Seed:
    """A point in a photo, or a random descriptor."""
    url_state.check_link("seed_from", [CLICKED, RANDOM])
    url_state.check_number("seed", 0, MOST_SEED)
    kind = st.segmented_control(
        "Seed", [CLICKED, RANDOM], default=CLICKED, key="seed_from", bind="query-params", required=True
    )
    if kind == RANDOM:
        number = st.number_input("Seed number", 0, MOST_SEED, 7, key="seed", bind="query-params", width=180)
        return seeds.random_seed(index, int(number))
    try:
        return seeds.clicked_seed(index)
    except ValueError as error:
        st.error(sentence(error), icon=":material/error:")
        st.stop()


def page() -> None:
    """The seed, its averages, and how far they agree."""
    header.header(
        "What does one descriptor respond to?",
        "The average of the receptive fields of a descriptor's nearest neighbours. **Look for** a centre that stays "
        "recognisable while its surroundings blur: similar descriptors have the same thing at the *centre* of their "
        "receptive fields, which they were never taught.",
    )
    side, main = st.columns([1, 3], gap="medium")
    below = st.container()
    with side:
        index = photo_picker.choose_index(below)
    with main:
        seed = choose_seed(index)
    job = seeds.submit(seed, index)
    left, right = st.columns([2, 5], gap="medium")
    with left:
        seeds.show_seed(seed, index)
    with right:
        job_panel.job_panel(job, again=sessions.forget_view)
        if job.result is not None:
            show_averages(job.result, index)
    found = job.result
    if found is None:
        st.stop()
    section = header.section_picker("Radius", effective.SECTIONS, key="radius_section")
    if section == effective.EFFECTIVE:
        effective.show(index, found)
        return
    if section == effective.PLACE:
        of_place.show(index)
        return
    profiles.show_profiles(found, index)
    profiles.show_over_seeds(index)
    header.how_computed(
        HOW,
        {
            "network": f"{index.extractor}, weights {index.extractor_digest[:8]}",
            "index": f"{index.name}, {index.digest[:8]}",
            **photo_picker.window_parameter(index),
            "left out": ", ".join(index.photos[number] for number in seed.same) or "nothing",
            "neighbours in the profile": averaging.PROFILE_K,
            "random receptive fields": averaging.N_RANDOM,
        },
    )
    exports.export_row(
        downloads={
            "receptive-fields.png": lambda: poster(seed, index, found),
            "receptive-fields.npz": lambda: arrays(seed, index, found),
        },
        python=python_lines(seed, index),
    )


page()
