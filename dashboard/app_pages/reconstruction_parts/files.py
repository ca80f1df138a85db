"""What a reconstruction gives to take along: arrays that can be laid on the photo, the figure, and lines of Python."""

import json

import numpy as np

from corrcore import images
from corrcore.geometry import PixelBox
from dashboard import figures
from dashboard.app_pages.reconstruction_parts.figure import Shown, moved
from dashboard.parts import exports, photo_picker

ABOUT = {
    "image": "the photo at working size, rows x columns x RGB",
    "photo_size": "(width, height) of the photo itself in pixels",
    "crop_left_top": "the pixel (x, y) of `image` that the top-left pixel of every picture lies on",
    "ks": "neighbours averaged: PICTURE_kN is the picture of N of them",
    "LAYER_cell_centres": "of every cell the point (x, y) in pixels of `image`, rows x columns x 2",
    "LAYER_patch_px": "the side of a cell's patch, which lies around its centre",
    "LAYER_neighbour_*": "a row a cell of the photo, row by row; a column a neighbour, nearest first",
    "LAYER_neighbour_photos": "numbers in `photos`",
    "LAYER_neighbour_scales": "the size the neighbour's photo was described at, as a share of its indexed size",
    "LAYER_neighbour_mirrored": "whether it was mirrored then",
    "LAYER_neighbour_rows": "with `_columns` the neighbour's cell in that picture",
    "LAYER_neighbour_centres": "its centre (x, y) in pixels of the neighbour's photo as indexed, neither scaled nor "
    "mirrored",
    "LAYER_offsets": "of the cells measured, where the nearest patch matches best, (x, y) in pixels from its place",
}


def arrays(shown: Shown) -> bytes:
    """Everything on the page as one NPZ file; `about` in it says what each array is, and in which frame."""
    index, covered = shown.index, shown.covered
    content: dict[str, np.ndarray] = {
        "about": np.array(json.dumps(ABOUT, indent=1)),
        "image": shown.chosen.image,
        "photo_size": np.array(shown.chosen.size),
        "crop_left_top": np.array([covered.left, covered.top]),
        "ks": np.array(shown.ks),
        "photos": np.array(index.photos),
    }
    for column in shown.columns:
        for k, picture in zip(shown.ks, column.pictures, strict=True):
            content[f"{column.title.replace(' ', '_')}_k{k}"] = picture
    for layer, result in shown.found.items():
        retrieval = result.retrieval
        cells = index.locate(layer, retrieval.ids)
        content |= {
            f"{layer}_cell_centres": retrieval.cells.centres(),
            f"{layer}_patch_px": np.array(retrieval.cells.receptive_field.stride),
            f"{layer}_similarities": retrieval.similarities,
            f"{layer}_neighbour_ids": retrieval.ids,
            f"{layer}_neighbour_photos": cells.photos,
            f"{layer}_neighbour_scales": cells.scales,
            f"{layer}_neighbour_mirrored": cells.mirrored,
            f"{layer}_neighbour_rows": cells.rows,
            f"{layer}_neighbour_columns": cells.columns,
            f"{layer}_neighbour_centres": index.centres(layer, retrieval.ids),
            f"{layer}_offsets": result.localisation.offsets,
        }
    return exports.as_npz(content)


def poster(shown: Shown) -> bytes:
    """The page's figure as one PNG."""
    covered, (x, y) = shown.covered, shown.pixel
    original = figures.crop(shown.chosen.image, covered)
    grids = list(shown.grids.values())
    boxes = [(cells.receptive_field.receptive_field_box(*cells.nearest(x, y)), figures.BLACK) for cells in grids]
    boxes.append((grids[0].receptive_field.patch_box(*grids[0].nearest(x, y)), figures.YELLOW))
    picture = figures.draw_boxes(original, [(PixelBox(*moved(box, covered)), colour) for box, colour in boxes])
    first = figures.Column("input", [picture])
    return images.encode(figures.image_grid([first, *shown.columns], [f"k = {k}" for k in shown.ks]), format="PNG")


def python_lines(shown: Shown, k: int) -> str:
    """The call that makes the pictures of the page."""
    chosen, index = shown.chosen, shown.index
    return f"""from corrcore import images, networks, patch_index
from corrcore.tasks import reconstruction

network = networks.open("{index.extractor}")
index = {photo_picker.python_index(index)}
{chosen.python}
pictures = {{}}
for layer in {list(shown.found)}:
    found = reconstruction.retrieve(
        image, layer, extractor=network, index=index, k={k}, exclude={list(chosen.same)}, near={chosen.near}
    )
    pictures[layer] = reconstruction.rebuild(found, index, k={k})
"""
