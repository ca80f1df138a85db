"""Tables drawn, and the colours of their cells."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dashboard.figures.style import GREY

STRONGEST = 0.75  # opacity of a cell's colour on a page
DARK = 0.78  # share of a colour from which black ink is hard to read on it
TEAL, BLUE, ORANGE = (15, 107, 125), (33, 102, 172), (200, 100, 0)


def heat(share: float, colour: tuple[int, int, int] = TEAL) -> str:
    """A cell's colour as CSS, from nothing at 0 to as much of the colour at 1 as leaves both themes' text legible."""
    return f"rgba({', '.join(map(str, colour))}, {STRONGEST * min(max(share, 0.0), 1.0):.2f})"


def table_picture(
    title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], shares: Sequence[Sequence[float | None]]
) -> np.ndarray:
    """A table drawn on white: titles of rows first, cells in shares of the same colour, None for no colour."""
    font, small, scale = ImageFont.load_default(size=26), ImageFont.load_default(size=22), 14
    measure = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    widths = [
        int(max(measure.textlength(text, font) for text in column)) + 2 * scale
        for column in zip(headings, *rows, strict=True)
    ]
    height, top = 48, 64
    least = int(measure.textlength(title, small)) + 2 * scale
    canvas = Image.new("RGB", (max(sum(widths), least) + 1, top + height * (len(rows) + 1) + 1), "white")
    draw = ImageDraw.Draw(canvas)
    draw.text((scale, top // 2), title, "black", small, anchor="lm")
    for number, (cells, levels) in enumerate(zip((headings, *rows), ((), *shares), strict=True)):
        left, y = 0, top + number * height
        for column, (text, width) in enumerate(zip(cells, widths, strict=True)):
            share = levels[column] if column < len(levels) else None
            ink = "black"
            if share is not None:
                share = min(max(share, 0.0), 1.0)
                ink = "white" if share > DARK else "black"
                mixed = np.rint(255 + share * (np.array(TEAL) - 255)).astype(int)
                draw.rectangle((left, y, left + width - 1, y + height - 1), fill=tuple(mixed.tolist()))
            at, anchor = (left + scale, "lm") if column == 0 else (left + width - scale, "rm")
            draw.text((at, y + height // 2), text, ink, font, anchor=anchor)
            left += width
        draw.line((0, y + height, left, y + height), fill=GREY if number == 0 else "#dddddd")
    return np.asarray(canvas)
