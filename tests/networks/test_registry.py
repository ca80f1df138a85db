"""What every extractor promises, asked of each that is registered, of SIFT, and of a tiny network made here."""

import pickle
from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from corrcore import extractors, networks
from corrcore.features import Extractor, Feature, Roles
from corrcore.geometry import PixelBox
from corrcore.networks import ModuleSpec, WeightsNotFoundError
from tests.conftest import smooth_noise
from tests.networks import tiny


@pytest.fixture(scope="module")
def registered(tmp_path_factory):
    """The tiny network, of one entry, while these tests run."""
    path = tmp_path_factory.mktemp("tiny") / "tiny.safetensors"
    save_file(tiny.weights(), path)
    networks.register(tiny.spec(path))
    yield tiny.NAME
    networks.unregister(tiny.NAME)


@pytest.fixture(scope="module", params=[*networks.names(), tiny.NAME, "sift"])
def extractor(request, registered) -> Extractor:
    try:
        return extractors.open(request.param, device="cpu")
    except WeightsNotFoundError as error:
        if request.param != "vgg16":
            pytest.skip(str(error))
    request.getfixturevalue("vgg16_weights")
    return extractors.open(request.param, device="cpu")


def picture(extractor: Extractor, layer: str, *, more: int = 9, seed: int = 1) -> np.ndarray:
    """Somewhat larger than the least that a layer takes."""
    side = extractor.smallest_side(layer)
    return smooth_noise(side + more, side + more // 2, seed)


def some_layers(extractor: Extractor) -> list[str]:
    """The first and the last, and one between."""
    layers = extractor.layers
    return list(dict.fromkeys([layers[0], layers[len(layers) // 2], layers[-1]]))


def is_close(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Up to rounding, which is relative to the greatest of the values that were summed."""
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * max(1.0, float(expected.abs().max())))


# --- The registry ----------------------------------------------------------------------------------------------------


def test_an_unknown_network_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match=r"network must be one of alexnet, vgg16.*; got 'lenet'"):
        networks.open("lenet")
    with pytest.raises(ValueError, match=r"network must be one of alexnet, vgg16.*; got 'lenet'"):
        extractors.open("lenet")


def test_a_registered_network_is_known_until_it_is_removed():
    spec = ModuleSpec("brief", tiny.build, {"first": "1"}, Roles(("first",), "first", ("first",), *["first"] * 3))
    before = networks.names()
    networks.register(spec)
    try:
        assert networks.names() == (*before, "brief")
        assert networks.spec("brief") is spec
        with pytest.raises(ValueError, match="a network's name must be new; 'brief' is registered already"):
            networks.register(spec)
        with pytest.raises(
            WeightsNotFoundError, match=r"weights of brief are not on .* put brief.safetensors .*in the folder COR"
        ):
            networks.open("brief")
    finally:
        networks.unregister("brief")
    assert networks.names() == before


def test_a_registered_networks_features_stand_beside_another_networks(alexnet, registered):
    image = smooth_noise(80, 70, 2)
    features = extractors.parse(["conv3", "tiny:second", "sift10"], alexnet)
    grids = extractors.extract(image, features, network=alexnet)
    own = networks.open("tiny", device="cpu").extract(image, ["second"])["second"]
    torch.testing.assert_close(grids[Feature("tiny", "second")].descriptors, own.descriptors)
    assert [grid.descriptors.shape[-1] for grid in grids.values()] == [384, 6, 128]


# --- Every extractor -------------------------------------------------------------------------------------------------


def test_it_says_what_it_is(extractor):
    assert isinstance(extractor, Extractor)
    assert extractor.device == torch.device("cpu")
    assert isinstance(extractor.anywhere, bool)
    assert len(set(extractor.layers)) == len(extractor.layers) > 0
    assert not {*extractor.layers} & {*extractor.global_layers}
    again = extractors.open(extractor.name, device="cpu")
    assert (again.name, again.digest, again.layers) == (extractor.name, extractor.digest, extractor.layers)


def test_names_of_its_layers_are_read_again(extractor):
    for layer in extractor.layers:
        feature = Feature(extractor.name, layer)
        assert Feature.parse(str(feature), network="another") == feature
        assert Feature.parse(feature.key, network=extractor.name) == feature
        assert extractors.parse([str(feature)], extractor) == (feature,)


def test_roles_are_layers_it_has(extractor):
    roles = extractor.roles
    named = {
        *roles.reconstruction,
        *roles.classification,
        roles.transfer,
        roles.detection,
        roles.retrieval,
        roles.prior,
    }
    assert roles.reconstruction
    assert roles.classification
    for layer in named:
        assert layer in extractor.layers or extractor.anywhere  # which has layers between those on offer
        assert extractor.receptive_field(layer).size >= 1


def test_the_smallest_image_has_a_cell_and_a_smaller_one_is_refused(extractor):
    for layer in extractor.layers:
        side = extractor.smallest_side(layer)
        grid = extractor.extract(smooth_noise(side, side, 0), [layer])[layer]
        assert grid.descriptors.shape[:2] == (1, 1)
        if side == 1:
            continue  # no image is smaller
        with pytest.raises(ValueError, match=f"at least {side} x {side} px for .*; got {side + 3} x {side - 1} px"):
            extractor.extract(smooth_noise(side + 3, side - 1, 0), [layer])


def test_grids_are_where_receptive_fields_say(extractor):
    for layer in extractor.layers:
        image = picture(extractor, layer)
        grid = extractor.extract(image, [layer])[layer]
        assert grid.receptive_field == extractor.receptive_field(layer)
        assert grid.image_size == (image.shape[1], image.shape[0])
        centres = grid.cells.centres()
        assert (centres >= -0.5).all()
        assert (centres <= np.array(grid.image_size) - 0.5).all()
        assert torch.isfinite(grid.descriptors).all()


def test_a_shifted_image_has_shifted_grids(extractor):
    """By strides, where nothing beyond the image is seen; SIFT's outer votes come from beyond its nominal size."""
    layers = [layer for layer in extractor.layers if extractor.receptive_field(layer).size <= 250]
    fields = {layer: extractor.receptive_field(layer) for layer in layers}
    seen = {layer: round(field.size * (1.3 if extractor.anywhere else 1)) + 2 for layer, field in fields.items()}
    shift = int(np.lcm.reduce([field.stride for field in fields.values()]))
    side = max(seen.values()) + 2 * shift
    image = smooth_noise(side + shift, side, 3)
    whole = extractor.extract(image, layers)
    moved = extractor.extract(np.ascontiguousarray(image[:, shift:]), layers)
    for layer, grid in moved.items():
        corners = grid.cells.corners(seen[layer])
        inner = np.flatnonzero(((corners >= 0) & (corners + seen[layer] <= grid.image_size)).all(axis=1))
        rows, columns = np.divmod(inner, grid.cells.columns)
        assert len(rows)
        expected = whole[layer].descriptors[rows, columns + shift // fields[layer].stride]
        is_close(grid.descriptors[rows, columns], expected)


def test_a_batch_is_single_images(extractor):
    layers = some_layers(extractor)
    side = max(map(extractor.smallest_side, layers)) + 5
    pictures = [smooth_noise(side, side + 2, seed) for seed in (4, 5)]
    batch = extractor.extract_batch(pictures, layers)
    assert len(batch) == 2
    for image, grids in zip(pictures, batch, strict=True):
        for layer, grid in extractor.extract(image, layers).items():
            is_close(grids[layer].descriptors, grid.descriptors)
    assert extractor.extract_batch([], layers) == []


def test_centres_of_cells_have_the_cells_descriptors(extractor):
    layers = some_layers(extractor)
    side = max(map(extractor.smallest_side, layers)) + 40
    image = smooth_noise(side, side - 3, 6)
    for layer, grid in extractor.extract(image, layers).items():
        points = grid.cells.centres().reshape(-1, 2)
        is_close(extractor.sample_at(image, points, [layer])[layer], grid.flat())
        three = extractor.sample_at(image, points[:4], [layer], cells=3)[layer]
        n_channels = grid.descriptors.shape[-1]
        if extractor.anywhere:  # a point has one descriptor, of no grid
            is_close(three, grid.flat()[:4])
        else:
            assert three.shape == (len(points[:4]), 9 * n_channels)
            is_close(three[:, 4 * n_channels : 5 * n_channels], grid.flat()[:4])
        assert extractor.sample_at(image, np.empty((0, 2)), [layer], exact=True)[layer].shape == (0, n_channels)


def test_every_pixels_descriptor_is_that_of_the_point(extractor):
    for layer in some_layers(extractor):
        image = picture(extractor, layer)
        size = image.shape[1], image.shape[0]
        valid = extractor.valid_region(layer, size)
        assert valid.inside(size)
        region = PixelBox(valid.right - 3, valid.top, valid.right, valid.top + 2)
        seen, told = np.zeros((2, 3), int), []
        for part, descriptors in extractor.iter_tiles(image, layer, region=region, progress=told.append):
            x, y = np.meshgrid(np.arange(part.left, part.right), np.arange(part.top, part.bottom))
            points = np.stack([x, y], axis=-1).reshape(-1, 2).astype(float)
            at = extractor.sample_at(image, points, [layer], exact=True)[layer]
            is_close(descriptors, at.unflatten(0, x.shape))
            seen[y - region.top, x - region.left] += 1
        assert (seen == 1).all()
        assert told == sorted(told)
        assert told[-1] == 1
        for wrong in (valid._replace(right=valid.right + 1), valid._replace(bottom=valid.top)):
            with pytest.raises(ValueError, match=r"region must lie within .*; got"):
                list(extractor.iter_tiles(image, layer, region=wrong))


def test_without_a_region_it_is_the_valid_one(extractor):
    layer = extractor.layers[0]
    image = picture(extractor, layer)
    valid = extractor.valid_region(layer, (image.shape[1], image.shape[0]))
    assert sum(part.width * part.height for part, _ in extractor.iter_tiles(image, layer)) == valid.width * valid.height


def test_whole_images_have_one_description(extractor):
    image = smooth_noise(90, 70, 7)
    for layer in extractor.global_layers:
        found = extractor.global_descriptor(image, layer)
        assert found.ndim == 1
        assert torch.isfinite(found).all()
        assert not torch.allclose(found, extractor.global_descriptor(smooth_noise(90, 70, 8), layer))
    with pytest.raises(ValueError, match=f"{extractor.layers[0]}|whole"):
        extractor.global_descriptor(image, extractor.layers[0])


@pytest.mark.parametrize(
    "ask",
    [
        lambda it, layer, image: it.receptive_field(layer),
        lambda it, layer, image: it.smallest_side(layer),
        lambda it, layer, image: it.extract(image, [layer]),
        lambda it, layer, image: it.extract_batch([image], [layer]),
        lambda it, layer, image: it.sample_at(image, np.zeros((1, 2)), [layer]),
        lambda it, layer, image: it.sample_at(image, np.zeros((1, 2)), [layer], exact=True),
        lambda it, layer, image: it.valid_region(layer, (60, 60)),
        lambda it, layer, image: list(it.iter_tiles(image, layer)),
        lambda it, layer, image: extractors.parse([f"{it.name}:{layer}"], it),
    ],
)
def test_an_unknown_layer_is_named(extractor, ask):
    with pytest.raises(ValueError, match=r"layer.*got 'no-such'"):
        ask(extractor, "no-such", smooth_noise(60, 60, 0))


def test_numbers_of_cells_without_a_middle_are_refused(extractor):
    ask = partial(extractor.sample_at, picture(extractor, extractor.layers[0]), np.ones((1, 2)), extractor.layers[:1])
    for cells in (2, 0, -1):
        with pytest.raises(ValueError, match=f"cells must be an odd number from 1; got {cells}"):
            ask(cells=cells)
    with pytest.raises(ValueError, match=r"exact|got 3"):
        ask(cells=3, exact=True)


def test_it_travels(extractor):
    arrived = pickle.loads(pickle.dumps(extractor))
    assert (arrived.name, arrived.digest, arrived.layers) == (extractor.name, extractor.digest, extractor.layers)
    layer = extractor.layers[-1]
    image = picture(extractor, layer)
    own, other = (each.extract(image, [layer])[layer].descriptors for each in (extractor, arrived))
    np.testing.assert_array_equal(own, other)
