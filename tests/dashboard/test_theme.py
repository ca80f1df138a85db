"""The themes' colours are legible, by WCAG 2.2."""

import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import ImageColor

from dashboard import figures

THEMES = tomllib.loads((Path(__file__).parents[2] / ".streamlit" / "config.toml").read_text("utf-8"))["theme"]


def luminance(colour: str) -> float:
    levels = np.array(ImageColor.getrgb(colour)) / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def over(colour: str, ground: str) -> str:
    """A colour with opacity, as ``rgba(...)``, laid over a ground."""
    *levels, opacity = map(float, colour.removeprefix("rgba(").removesuffix(")").split(","))
    mixed = opacity * np.array(levels) + (1 - opacity) * np.array(ImageColor.getrgb(ground))
    return "#" + "".join(f"{round(level):02x}" for level in mixed)


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("name", ["light", "dark"])
def test_text_and_chips_are_legible(name):
    theme = THEMES[name]
    assert contrast("#ffffff", theme["primaryColor"]) >= 4.5  # chips and buttons
    for ground in ("backgroundColor", "secondaryBackgroundColor"):
        assert contrast(theme["textColor"], theme[ground]) >= 4.5
        assert contrast(theme["linkColor"], theme[ground]) >= 4.5
        assert contrast(theme["primaryColor"], theme[ground]) >= 3  # lines and marks


@pytest.mark.parametrize("name", ["light", "dark"])
def test_captions_which_have_60_percent_of_the_texts_colour_are_legible(name):
    theme = THEMES[name]
    text, ground = (np.array(ImageColor.getrgb(theme[each])) for each in ("textColor", "backgroundColor"))
    caption = "#" + "".join(f"{round(level):02x}" for level in 0.6 * text + 0.4 * ground)
    assert contrast(caption, theme["backgroundColor"]) >= 4.5


@pytest.mark.parametrize("name", ["light", "dark"])
@pytest.mark.parametrize("colour", [figures.TEAL, figures.BLUE, figures.ORANGE])
def test_numbers_are_legible_on_every_cell_of_a_table(name, colour):
    theme = THEMES[name]
    for share in np.linspace(0, 1, 21):
        cell = over(figures.heat(share, colour), theme["backgroundColor"])
        assert contrast(theme["textColor"], cell) >= 4.5
