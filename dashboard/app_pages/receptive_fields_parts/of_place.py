"""How much of a match is place: the positional shares of an index's layers, as maps over cells and in numbers."""

from collections.abc import Sequence

import streamlit as st

from corrcore import images
from corrcore.concurrency import Progress
from corrcore.features import Extractor
from corrcore.patch_index import IndexedPhoto, PatchIndex, photos_of, spread
from corrcore.tasks import position
from corrcore.tasks.position import Position, kept_position, measure_position
from corrcore.tasks.position_records import position_row
from dashboard import figures
from dashboard.app_pages.receptive_fields_parts import of_layers, seeds
from dashboard.parts import exports, header, legends, photo_picker
from dashboard.services import caches

N_PHOTOS = (6, 16, 64)
SIDE_ON_SCREEN_PX = 260

HOW = r"""
Photos of the index are turned and mirrored at random, and square windows of them described, so that no place has a
content of its own. With $a_i(p)$ the descriptor of unit length at cell $p$ of view $i$, less its mean over the view,
the **positional share** is what views of different photos have in common, over all they vary:

$$ \text{share}(p) = \frac{\operatorname{mean}_{i \neq j}\ a_i(p) \cdot a_j(p)}{\operatorname{mean}_{i,\,q}\ \lVert a_i(q) \rVert^2} $$

0 is a layer that describes content alone, 1 one that describes the place alone. Padding at the border, position
embeddings, and what is made of them by the layers above are its causes. *Shifted* and *mirrored* are matches of windows
with moved copies of themselves, whose truth is known: how many cells find the same content, and how many the place they
had, and the median distance from the content. *Found again* are cells of smooth noise, which has no content, that are
matched to the same place of other noise. The principal components of what images without content (one colour, or noise)
have in common are *positional directions*, which `--without-position` of `corrcore match` and `evaluate pairs` takes out
of descriptors; beside their number stands how much of what photos vary by lies in them.
"""


def show(index: PatchIndex) -> None:
    """The section: it is computed by itself for a few photos."""
    extractor = caches.network(index.extractor)
    n_photos = st.segmented_control(
        "Photos", N_PHOTOS, default=N_PHOTOS[0], key="n_views", bind="query-params", required=True
    )
    photos = spread(photos_of(index), n_photos or N_PHOTOS[0])
    found = measured(extractor, index, photos, automatic=len(photos) <= N_PHOTOS[0])
    if found is None:
        return
    show_maps(found, index)
    rows = [position_row(each.layer, each) for each in found]
    st.dataframe({name: [row[name] for row in rows] for name in rows[0]}, hide_index=True, width="stretch")
    header.how_computed(
        HOW,
        {
            "network": f"{index.extractor}, weights {index.extractor_digest[:8]}",
            "photos": f"{found[0].n_photos} of {index.name}, {index.digest[:8]}",
            "windows": "{} x {} px".format(*found[0].size),
        },
    )
    exports.export_row(
        downloads={
            "position.csv": lambda: exports.as_csv(rows),
            "position.npz": lambda: exports.as_npz({f"{each.layer}_positional_share": each.map for each in found}),
        },
        python=python_lines(index, photos),
    )


def measured(
    extractor: Extractor, index: PatchIndex, photos: Sequence[IndexedPhoto], *, automatic: bool
) -> list[Position] | None:
    """What is kept of all layers, or what makes it."""
    layers, results = index.layers, caches.results()
    key = ("position", extractor.digest, tuple(layers), *(photo.stamp for photo in photos))

    def here(*, progress: Progress) -> list[Position]:
        return list(measure_position(extractor, layers, photos, results=results, progress=progress).values())

    return of_layers.measured(
        "position",
        here,
        lambda layer: kept_position(extractor, layer, photos, results=results),
        index,
        photos,
        key=key,
        automatic=automatic,
        words=(
            "How much of a match is place?",
            "What descriptors of different photos have in common at a place says.",
            "Positional shares",
        ),
    )


def show_maps(found: Sequence[Position], index: PatchIndex) -> None:
    """A map a layer, at one scale of colours."""
    colours, limit = seeds.colours_of(index, [each.layer for each in found]), figures.share_limit(found)
    st.markdown(
        "**How much of a match is place, and not thing?** The share of what descriptors vary by that goes with the "
        "place alone, by cell. **Look for** the border, where padding is seen."
    )
    places = header.two_a_row("places").columns(len(found), gap="small")
    for place, each in zip(places, found, strict=True):
        with place:
            st.html(f"<span style='color: {colours[each.layer]}'>&#9632;</span> <b>{each.layer}</b>")
            with header.part_of_column(1, f"place {each.layer}", at_most=SIDE_ON_SCREEN_PX):
                st.image(
                    images.encode(figures.share_picture(each, limit=limit), format="PNG"),
                    width="stretch",
                    alt=f"Positional share of {each.layer} by cell",
                )
            st.caption(f"positional share {100 * each.share:.1f} %")
    legends.colour_bar(figures.viridis_colours(), "0 %", f"{100 * limit:.0f} %")


def python_lines(index: PatchIndex, photos: Sequence[IndexedPhoto]) -> str:
    """The call that makes the numbers."""
    return f"""from corrcore import networks, patch_index
from corrcore.tasks.position import measure_position

network = networks.open("{index.extractor}")
index = {photo_picker.python_index(index)}
photos = [index.photo(number) for number in {[each.number for each in photos]}]
found = measure_position(network, {list(index.layers)}, photos, side_px={position.SIDE_PX})
print({{layer: each.share for layer, each in found.items()}})
"""
