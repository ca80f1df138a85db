"""Thumbnails to click."""

import io
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from dashboard.components import image_click
from dashboard.services.thumbnails import SIDE_PX

COLUMNS = 8


def gallery(
    thumbnails: Sequence[np.ndarray],
    selected: int | None,
    titles: Sequence[str],
    on_pick: Callable[[int], None],
    *,
    key: str = "gallery",
    columns: int = COLUMNS,
) -> None:
    """Thumbnails to click, in rows; one for each `key` on a page."""
    columns = min(columns, len(thumbnails))
    rows = -(-len(thumbnails) // columns)
    canvas = Image.new("RGBA", (columns * SIDE_PX, rows * SIDE_PX))  # cells without a thumbnail show the page
    for number, picture in enumerate(thumbnails):
        row, column = divmod(number, columns)
        canvas.paste(Image.fromarray(picture), (column * SIDE_PX, row * SIDE_PX))
    file = io.BytesIO()
    canvas.save(file, format="WEBP", quality=88)

    def click(x: int, y: int) -> None:
        number = y // SIDE_PX * columns + x // SIDE_PX
        if number < len(thumbnails):
            on_pick(number)

    centre = (SIDE_PX - 1) / 2
    image_click(
        file.getvalue(),
        alt="Photos to choose from: " + ", ".join(titles),
        key=key,
        grid=(centre, centre, SIDE_PX, columns, rows),
        selected=None
        if selected is None
        else (selected % columns * SIDE_PX + SIDE_PX // 2, selected // columns * SIDE_PX + SIDE_PX // 2),
        on_click=click,
        width=columns * 88,
    )
