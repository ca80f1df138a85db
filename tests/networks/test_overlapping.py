"""Finer grids by overlapping patches: against the patches side by side, shifted images, and gradients."""

import functools
import inspect
import pickle
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from corrcore import extractors, networks
from corrcore.features import Feature
from corrcore.geometry import ReceptiveField
from corrcore.networks import ModuleNetwork, ModuleSpec
from corrcore.networks.overlapping import overlapped
from tests.conftest import smooth_noise

SIZES = [(70, 56), (71, 43), (99, 30), (300, 29)]


def of_timm(patch: int = 14) -> nn.Module:
    """With tokens of a class and of registers."""
    vision_transformer = pytest.importorskip("timm").models.vision_transformer
    shape = {"img_size": 3 * patch, "patch_size": patch, "embed_dim": 24, "depth": 2, "num_heads": 2}
    return vision_transformer.VisionTransformer(**shape, num_classes=0, reg_tokens=2, dynamic_img_size=True)


def of_timm_rotary(patch: int = 14) -> nn.Module:
    """With DINOv3's positions."""
    eva = pytest.importorskip("timm").models.eva
    shape = {"img_size": 3 * patch, "patch_size": patch, "embed_dim": 32, "depth": 2, "num_heads": 2}
    rotary = {"use_rot_pos_emb": True, "use_abs_pos_emb": False, "rope_type": "dinov3", "rope_rotate_half": True}
    return eva.Eva(**shape, **rotary, num_classes=0, num_reg_tokens=2, dynamic_img_size=True)


def of_torchvision(patch: int = 14) -> nn.Module:
    """As our families have it, for images of any size."""
    from torchvision.models import VisionTransformer

    from corrcore.networks.torchvision_ import _AnySize

    module = VisionTransformer(3 * patch, patch, num_layers=2, num_heads=2, hidden_dim=24, mlp_dim=24)
    nn.init.normal_(module.class_token)
    return _AnySize(module)


KINDS = {"timm": of_timm, "rotary": of_timm_rotary, "torchvision": of_torchvision}
FIRST = {"timm": "patch_embed", "rotary": "patch_embed", "torchvision": "conv_proj"}


@functools.cache
def opened(kind: str, grid_stride: int | None = None) -> ModuleNetwork:
    """A small transformer with random weights."""
    spec = ModuleSpec(kind, KINDS[kind])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        weights = {name: value.detach() for name, value in KINDS[kind]().state_dict().items()}
    return (spec if grid_stride is None else spec.finer(grid_stride)).open(weights=weights, device="cpu")


def tokens(network: ModuleNetwork, pixels: torch.Tensor) -> SimpleNamespace:
    """What enters a transformer's first block: tokens without a place, tokens by rows and columns, and angles."""
    module: Any = network._model
    with torch.inference_mode():
        conv = module.patch_embed if hasattr(module, "patch_embed") else module.conv_proj
        patches = conv(pixels)
        patches = patches if hasattr(module, "patch_embed") else patches.permute(0, 2, 3, 1)
        found = module._pos_embed(patches)
    found, angles = found if isinstance(found, tuple) else (found, None)
    sides = patches.shape[1:3]
    before = found.shape[1] - sides[0] * sides[1]
    return SimpleNamespace(
        before=found[:, :before],
        placed=found[:, before:].unflatten(1, sides),
        angles=None if angles is None else angles.unflatten(0, sides),
    )


@pytest.mark.parametrize("stride", [7, 2, 1])
@pytest.mark.parametrize("kind", KINDS)
def test_a_patch_of_both_grids_enters_the_network_alike(kind, stride):
    torch.manual_seed(1)
    pixels, times = torch.randn(2, 3, 56, 84), 14 // stride
    plain, fine = tokens(opened(kind), pixels), tokens(opened(kind, stride), pixels)
    torch.testing.assert_close(fine.before, plain.before)
    assert fine.placed.shape[1:3] == (3 * times + 1, 5 * times + 1)
    torch.testing.assert_close(fine.placed[:, ::times, ::times], plain.placed, rtol=1e-4, atol=1e-5)
    if kind == "rotary":  # attention knows no more of places than what lies between them
        from timm.layers.pos_embed_sincos import apply_rot_embed_cat

        vectors = torch.randn(4, 6, 16)
        for_plain, for_fine = (
            apply_rot_embed_cat(vectors.flatten(0, 1), angles.flatten(0, 1), half=True)
            for angles in (plain.angles, fine.angles[::times, ::times])
        )
        torch.testing.assert_close(for_fine @ for_fine.T, for_plain @ for_plain.T, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", ["timm", "torchvision"])
def test_positions_of_patches_between_are_between(kind):
    """On a position that grows evenly over the image, half way is half way."""
    network = opened(kind, 7)
    module: Any = network._model
    known = module.pos_embed if kind == "timm" else module.encoder.pos_embedding
    before, kept = known.shape[1] - 9, known.clone()
    try:
        ramp = torch.arange(3.0).repeat(3)[:, None].expand(9, known.shape[2])
        known.data[:, before:] = ramp
        flat = tokens(network, torch.zeros(1, 3, 42, 42)).placed - tokens(network, torch.zeros(1, 3, 14, 14)).placed
        across = (flat - flat[:, :, :1])[0, 2, :, 0]
    finally:
        known.data.copy_(kept)
    assert across[2] == pytest.approx(1, abs=1e-5)
    assert torch.all(across.diff() > 0.3)
    assert across[1] + across[3] == pytest.approx(2, abs=1e-4)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_cells_lie_where_the_shifted_images_do(kind, size):
    """Odd and even sizes, and images that are extended to whole patches."""
    plain, fine, first = opened(kind), opened(kind, 7), FIRST[kind]
    image = smooth_noise(size[0], size[1], 3)
    grid = fine.extract(image, [first])[first]
    assert grid.receptive_field == ReceptiveField(14, 7, 6.5)
    rows, columns = grid.descriptors.shape[:2]
    assert grid.cells.centres().max() <= max(size) - 0.5
    assert (rows, columns) == tuple(
        min(2 * -(-side // 14) - 1, int((side - 7) // 7) + 1) for side in (size[1], size[0])
    )
    for y, x in ((0, 0), (7, 0), (0, 7), (7, 7)):
        shifted = plain.extract(np.ascontiguousarray(image[y:, x:]), [first])[first].descriptors
        own = grid.descriptors[y // 7 :: 2, x // 7 :: 2]
        rows, columns = (min(sides) for sides in zip(own.shape[:2], shifted.shape[:2], strict=True))
        assert rows * columns > 0
        torch.testing.assert_close(own[:rows, :columns], shifted[:rows, :columns], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("size", "stride"), [*((size, 7) for size in SIZES), ((14, 70), 7), ((56, 14), 2)], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_deep_layers_have_their_tokens_in_the_right_rows(kind, size, stride):
    network = opened(kind, stride)
    first, last = FIRST[kind], network.layers[-1]
    assert network.receptive_field(last) == ReceptiveField(None, stride, 6.5)
    found = network.extract(smooth_noise(size[0], size[1], 3), [first, last])
    assert found[last].descriptors.shape[:2] == found[first].descriptors.shape[:2]


@pytest.mark.parametrize("kind", KINDS)
def test_a_cell_has_gradients_by_its_own_patch(kind):
    network, cell = opened(kind, 2), (5, 11)
    [gradient] = network.pixel_gradients(smooth_noise(75, 61, 4), FIRST[kind], np.array([cell]))
    y, x = np.nonzero(gradient)
    assert (y.min(), y.max() + 1, x.min(), x.max() + 1) == (10, 24, 22, 36)


def test_every_pixel_of_the_valid_region_has_a_descriptor():
    network = opened("timm", 7)
    for layer in ("patch_embed", network.layers[-1]):
        for size in ((56, 42), (50, 45)):
            image = smooth_noise(*size, 5)
            region = network.valid_region(layer, size)
            assert tuple(region) == (6, 6, size[0] - 1, size[1] - 1)
            n = sum(tile.shape[0] * tile.shape[1] for _, tile in network.iter_tiles(image, layer))
            assert n == region.width * region.height


def test_name_and_digest_tell_the_grid():
    plain, fine, finest = (opened("timm", stride) for stride in (None, 7, 2))
    assert [each.name for each in (plain, fine, finest)] == ["timm", "timm@7", "timm@2"]
    assert len({each.digest for each in (plain, fine, finest)}) == 3
    again = pickle.loads(pickle.dumps(fine))
    image = smooth_noise(70, 56, 1)
    layer = fine.layers[-1]
    assert (again.name, again.digest) == (fine.name, fine.digest)
    torch.testing.assert_close(
        again.extract(image, [layer])[layer].descriptors, fine.extract(image, [layer])[layer].descriptors
    )


def test_a_finer_grid_is_opened_by_name_with_the_networks_own_weights(tmp_path, monkeypatch, no_weights_here):
    timm = pytest.importorskip("timm")
    torch.save(timm.create_model("test_vit").state_dict(), tmp_path / "test_vit.r160_in1k.pth")
    monkeypatch.setenv("CORRCORE_WEIGHTS", str(tmp_path))
    name = "timm:test_vit.r160_in1k"
    found, given = networks.open(f"{name}@8"), networks.open(name, grid_stride=8)
    assert found.name == given.name == networks.full_name(f"{name}@8") == f"{name}@8"
    assert found.digest == given.digest != networks.open(name).digest
    feature = Feature(found.name, found.layers[-1])
    assert Feature.parse(str(feature), network="another") == feature
    assert extractors.receptive_field(feature, network=networks.open(name)).stride == 8
    assert networks.full_name("dinov2-s@7") == f"{networks.full_name('dinov2-s')}@7"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("alexnet@4", "needs a vision transformer with an embedding of positions .*; alexnet is none"),
        ("timm:resnet18@4", "needs a vision transformer .*; timm:resnet18 is none"),
        ("timm:test_vit@5", "stride must be one of 8, 4, 2, 1 px, as timm:test_vit has patches of 16 px; got 5"),
        ("timm:test_vit@16", "stride must be one of 8, 4, 2, 1 px"),
        ("timm:test_vit@0", "stride must be one of 8, 4, 2, 1 px"),
        ("nothing@4", "network must be one of .*; got 'nothing'"),
        ("dinov2-s@7@7", "^network must name one grid, such as dinov2-s@7; got 'dinov2-s@7@7'.$"),
        ("timm:test_vit@8@4", "^network must name one grid, such as timm:test_vit@4; got 'timm:test_vit@8@4'.$"),
    ],
)
def test_what_has_no_such_grid_is_said(name, message):
    pytest.importorskip("timm")
    with pytest.raises(ValueError, match=message):
        overlapped_of(name)


@pytest.mark.parametrize("stride", [-7, 0, 7.0, "7", True])
def test_a_grid_stride_that_is_no_number_of_pixels_is_refused(stride):
    with pytest.raises(ValueError, match=f"^grid_stride must be a whole number of pixels from 1; got {stride!r}.$"):
        inspect.unwrap(networks.open)("dinov2-s", grid_stride=stride)  # without the tests' check of types


def test_two_grids_are_refused():
    with pytest.raises(ValueError, match="dinov2-s@7 names a grid of 7 px; got a grid_stride of 2, too"):
        networks.open("dinov2-s@7", grid_stride=2)


def test_a_finer_grid_is_called_by_the_networks_name_in_print():
    assert networks.title("dinov2-s@7") == "ViT-S/14 as in DINOv2, every 7 px"
    assert networks.title(networks.full_name("dinov2-s@7")) == "ViT-S/14 as in DINOv2, every 7 px"
    assert networks.title("timm:test_vit@8") == "timm:test_vit, every 8 px"


def overlapped_of(name: str) -> nn.Module:
    spec = networks.spec(name)
    assert isinstance(spec, ModuleSpec)
    return spec.builder()


def test_patches_of_other_positions_are_refused():
    """Whose embedding is of images of one size."""
    vision_transformer = pytest.importorskip("timm").models.vision_transformer
    shape = {"img_size": 28, "patch_size": 14, "embed_dim": 24, "depth": 1, "num_heads": 2, "num_classes": 0}
    with pytest.raises(ValueError, match="for images of any size; mine is none"):
        overlapped(functools.partial(vision_transformer.VisionTransformer, **shape), 7, name="mine")
