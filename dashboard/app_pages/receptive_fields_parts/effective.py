"""The effective receptive fields of an index's layers: pictures, numbers beside the agreement radius, and files."""

from collections.abc import Mapping, Sequence

import streamlit as st

from corrcore import concurrency, images
from corrcore.concurrency import Progress
from corrcore.networks import ModuleNetwork
from corrcore.patch_index import IndexedPhoto, PatchIndex, photos_of, spread
from corrcore.tasks import effective_field as fields
from corrcore.tasks.averaging import Study
from corrcore.tasks.effective_field import EffectiveField, effective_field, even_radius, kept_field
from corrcore.wording import counted
from dashboard import figures
from dashboard.app_pages.receptive_fields_parts import of_layers, profiles, seeds
from dashboard.parts import exports, header, legends, photo_picker
from dashboard.services import caches

AGREEMENT, EFFECTIVE, PLACE = SECTIONS = ("Agreement", "Effective", "Position")
N_PHOTOS = (4, 16, 64)
ZOOM = 2.5

HOW = """
The gradient of a cell's numbers by the pixels: how much each pixel moves the descriptor. Its absolute value, summed over
colours, is averaged over cells far apart in several photos of the index, cells that see padding left out:

$$ \\text{field}(\\delta) = \\operatorname{mean}_{\\text{photos, cells } c} \\left| \\frac{\\partial}{\\partial x_{c+\\delta}}
\\sum_i s_i\\, y_{c,i} \\right| $$

The signs $s_i$ are random, others for each photo: with all of them +1, as Luo et al. have it, units that pull a pixel
both ways cancel. The **effective radius** is that of the disc around the centre that holds half of the gradient. If all
pixels of the window counted alike it would be 0.4 of the window's side. Luo, Li, Urtasun and Zemel (2016),
*Understanding the effective receptive field in deep convolutional networks*. The **agreement radius** is another thing:
how far neighbours of one descriptor show the same.
"""


def show(index: PatchIndex, studies: Mapping[str, Study]) -> None:
    """The section: it is computed by itself for a few photos."""
    network = caches.network(index.extractor)
    if not isinstance(network, ModuleNetwork):
        st.info(
            f"{index.extractor} has no gradients by pixels, so no effective receptive field.", icon=":material/info:"
        )
        return
    n_photos = st.segmented_control(
        "Photos", N_PHOTOS, default=N_PHOTOS[0], key="n_photos", bind="query-params", required=True
    )
    photos = spread(photos_of(index), n_photos or N_PHOTOS[0])
    found = measured(network, index, photos, automatic=len(photos) <= N_PHOTOS[0])
    if found is None:
        return
    show_pictures(found, index)
    rows = table(found, studies)
    st.dataframe({name: [row[name] for row in rows] for name in rows[0]}, hide_index=True, width="stretch")
    st.caption(
        "Effective radius: half of the gradient lies within it. The agreement radius is of the seed above. Pixels are "
        "those of the picture that the network sees."
    )
    header.how_computed(
        HOW,
        {
            "network": f"{index.extractor}, weights {index.extractor_digest[:8]}",
            "photos": f"{len(photos)} of {index.name}, {index.digest[:8]}",
            "cells": ", ".join(f"{each.layer} {each.n_cells}" for each in found),
            "photos shrunk to": f"{fields.LONGER_SIDE_PX} px where larger",
        },
    )
    exports.export_row(
        downloads={
            "effective-fields.png": lambda: images.encode(figures.fields_sheet(found), format="PNG"),
            "effective-fields.npz": lambda: exports.as_npz(fields.as_arrays(found)),
            "effective-fields.csv": lambda: exports.as_csv(numbers(found, studies)),
        },
        python=python_lines(index, photos),
    )


def measured(
    network: ModuleNetwork, index: PatchIndex, photos: Sequence[IndexedPhoto], *, automatic: bool
) -> list[EffectiveField] | None:
    """What is kept of all layers, or what makes it."""
    stamps, layers = (photo.stamp for photo in photos), index.layers
    key, results = ("effective fields", network.digest, tuple(layers), *stamps), caches.results()

    def here(*, progress: Progress) -> list[EffectiveField]:
        return [
            effective_field(
                network,
                layer,
                photos,
                results=results,
                progress=concurrency.part(progress, number / len(layers), 1 / len(layers)),
            )
            for number, layer in enumerate(layers)
        ]

    return of_layers.measured(
        "field",
        here,
        lambda layer: kept_field(network, layer, photos, results=results),
        index,
        photos,
        key=key,
        automatic=automatic,
        words=(
            "Which pixels move a descriptor?",
            f"The gradients of {counted(fields.N_CELLS * len(photos), 'cell')} of each layer say.",
            "Effective receptive fields",
        ),
    )


def show_pictures(found: Sequence[EffectiveField], index: PatchIndex) -> None:
    """A map a layer at true relative sizes, in the same colours."""
    colours = seeds.colours_of(index, [each.layer for each in found])
    limit, widest = figures.field_limit(found), max(each.side_px for each in found)
    st.markdown(
        "**Which pixels move the descriptor?** The circle holds half of the gradient, the frame is the theoretical "
        "receptive field. **Look for** how little of the frame counts."
    )
    places = header.two_a_row("effective").columns(len(found), gap="small")
    for place, each in zip(places, found, strict=True):
        with place:
            field = each.receptive_field
            st.html(
                f"<span style='color: {colours[each.layer]}'>&#9632;</span> <b>{each.layer}</b> · {field.size_text}"
            )
            picture = figures.field_picture(each, limit=limit)
            with header.part_of_column(each.side_px / widest, each.layer, at_most=round(each.side_px * ZOOM)):
                st.image(
                    images.encode(picture, format="PNG"),
                    width="stretch",
                    alt=f"Effective receptive field of {each.layer}",
                )
            more = (
                f" · {100 * each.beyond:.0f} % of the gradient beyond {each.side_px} px" if each.beyond >= 5e-3 else ""
            )
            st.caption(f"half within {each.radius_px:.0f} px{more}")
    legends.colour_bar(figures.viridis_colours(), "0", f"{limit:.1f} × an even window")


def table(found: Sequence[EffectiveField], studies: Mapping[str, Study]) -> list[dict[str, str]]:
    """A row a layer, with units."""
    rows = []
    for each in found:
        size, study = each.receptive_field.size, studies.get(each.layer)
        rows.append(
            {
                "layer": each.layer,
                "theoretical field": each.receptive_field.size_text,
                "effective radius": f"{each.radius_px:.0f} px",
                "if the window were even": "" if size is None else f"{even_radius(size):.0f} px",
                "agreement radius": profiles.radius_text(study.agreement.agreement_radius_px) if study else "",
                "95 % within": f"{each.radius_of(fields.TWO_SIGMA):.0f} px",
                "within the patch": f"{100 * each.share_in_patch:.0f} % in {each.receptive_field.stride} px",
            }
        )
    return rows


def numbers(found: Sequence[EffectiveField], studies: Mapping[str, Study]) -> list[dict[str, object]]:
    """The same for programs; the units are in the names."""
    return [
        {
            "layer": each.layer,
            "theoretical_px": each.receptive_field.size or "whole image",
            "stride_px": each.receptive_field.stride,
            "effective_radius_px": round(each.radius_px, 2),
            "radius_95_px": round(each.radius_of(fields.TWO_SIGMA), 2),
            "luo_radius_px": round(each.luo_radius_px, 2),
            "agreement_radius_px": round(studies[each.layer].agreement.agreement_radius_px, 2)
            if each.layer in studies
            else "",
            "share_in_patch": round(each.share_in_patch, 4),
            "share_beyond_map": round(each.beyond, 4),
            "map_side_px": each.side_px,
            "photos": each.n_photos,
            "cells": each.n_cells,
        }
        for each in found
    ]


def python_lines(index: PatchIndex, photos: Sequence[IndexedPhoto]) -> str:
    """The call that makes the first picture."""
    return f"""from corrcore import networks, patch_index
from corrcore.tasks.effective_field import effective_field

network = networks.open("{index.extractor}")
index = {photo_picker.python_index(index)}
photos = [index.photo(number) for number in {[each.number for each in photos]}]
found = effective_field(network, "{index.layers[0]}", photos)
print(found.radius_px, found.receptive_field.size_text)
"""
