"""Colours: legible on both themes, apart for eyes that see no red or no green, the same wherever a thing is."""

import numpy as np
import pytest
from PIL import ImageColor
from skimage.color import rgb2lab

from corrcore.experiments import Row
from corrcore.features import Feature
from dashboard import figures

ALEXNET = ("conv1", "conv2", "conv3", "conv4", "conv5")
WITH_POOLS = ("conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "conv5", "pool5")
DEEP = tuple(f"block{number}" for number in range(24))
RADII = ("sift5", "sift10", "sift20", "sift40", "sift80", "sift160")
# Machado, Oliveira and Fernandes (2009), on linear red, green and blue
BLINDNESS = {
    "none": np.eye(3),
    "red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}


def of(*keys):
    """Features of a network, by their keys."""
    return [Feature.parse(key, network="any") for key in keys]


def row(key):
    """A table's row, by its key."""
    return Row.parse(key, network="any")


def linear(colour):
    levels = np.array(ImageColor.getrgb(colour)) / 255
    return np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)


def luminance(colour):
    """WCAG's."""
    return float(linear(colour) @ [0.2126, 0.7152, 0.0722])


def as_seen(colours, blindness):
    """Colours in CIE Lab, to eyes that lack a kind of cones."""
    seen = np.clip([BLINDNESS[blindness] @ linear(colour) for colour in colours], 0, 1)
    return rgb2lab(np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)[None])[0]


def test_the_same_number_has_the_same_colour_and_neighbours_differ():
    colours = [figures.keypoint_colour(number) for number in range(16)]
    assert len(set(colours)) == 16
    assert figures.keypoint_colour(16) == colours[0]


@pytest.mark.parametrize(("features", "layers"), [(ALEXNET, ALEXNET), (DEEP, DEEP), (RADII, ())])
def test_features_are_legible_on_white_and_on_dark(features, layers):
    for colour in [
        *figures.feature_colours(of(*features), layers).values(),
        figures.row_style(row("NN"), layers).colour,
    ]:
        own = luminance(colour)
        assert 1.05 / (own + 0.05) >= 3
        assert (own + 0.05) / (luminance("#14181b") + 0.05) >= 3


@pytest.mark.parametrize("blindness", BLINDNESS)
@pytest.mark.parametrize("layers", [ALEXNET, WITH_POOLS])
def test_five_layers_differ_whatever_eyes_lack(blindness, layers):
    seen = as_seen(figures.feature_colours(of(*ALEXNET), layers).values(), blindness)
    apart = np.linalg.norm(seen[:, None] - seen[None], axis=-1)
    assert apart[np.triu_indices(5, 1)].min() > 11


def test_colours_go_by_depth_whatever_layers_are_called():
    named = figures.feature_colours(of(*ALEXNET), ALEXNET)
    others = ("block1", "block2", "block3", "block4", "head")
    assert list(figures.feature_colours(of(*others), others).values()) == list(named.values())
    assert figures.feature_colour(*of("conv4"), ALEXNET) == named[of("conv4")[0]]  # alone or among others
    assert figures.feature_colour(*of(DEEP[0]), DEEP) == named[of("conv1")[0]]
    assert figures.feature_colour(*of(DEEP[-1]), DEEP) == named[of("conv5")[0]]
    assert len(set(figures.feature_colours(of(*DEEP), DEEP).values())) == len(DEEP)


def test_layers_of_the_same_relative_depth_have_the_same_colour_in_any_network():
    for share in (0, 0.25, 0.5, 0.75, 1):
        colours = set()
        for n in (5, 9, 25, 101):
            layers = tuple(f"layer{number}" for number in range(n))
            colours.add(figures.feature_colour(*of(layers[round(share * (n - 1))]), layers))
        assert len(colours) == 1


def test_sift_darkens_with_its_radius_and_is_no_layers_colour():
    colours = list(figures.feature_colours(of(*RADII), ALEXNET).values())
    assert (np.diff([luminance(colour) for colour in colours]) < 0).all()
    layers = as_seen(figures.feature_colours(of(*ALEXNET), ALEXNET).values(), "none")
    apart = np.linalg.norm(as_seen(colours, "none")[:, None] - layers[None], axis=-1)
    assert apart.min() > 25


def test_a_row_has_its_features_colour_and_its_priors_line():
    rows = ("conv5", "conv5+prior", "conv5+5 priors", "conv5+prior, refined")
    styles = [figures.row_style(row(key), ALEXNET) for key in rows]
    assert {style.colour for style in styles} == {figures.feature_colour(*of("conv5"), ALEXNET)}
    assert [style.dash for style in styles] == ["solid", "dot", "dash", "dashdot"]
    assert len({style.pattern for style in styles}) == 4
    assert [figures.row_style(row(key), ALEXNET).dash for key in ("prior", "5 priors", "NN")] == [
        "dot",
        "dash",
        "solid",
    ]
