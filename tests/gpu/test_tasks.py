"""Every task with a network on a CUDA device gives what it gives with one on the processor."""

import numpy as np
import pytest
import torch

from corrcore import concurrency, images, networks, patch_index
from corrcore.datasets import toy
from corrcore.datasets.samples import samples
from corrcore.engines import mrf
from corrcore.engines.mrf import on_triton
from corrcore.features import Feature
from corrcore.geometry import PixelBox
from corrcore.networks import ModuleSpec
from corrcore.tasks import alignment, classification, detection, matching, reconstruction, responses
from corrcore.tasks.alignment import CropSpec
from corrcore.tasks.classification import CropProtocol
from tests.conftest import smooth_noise
from tests.gpu.pretended import REAL, pretended
from tests.networks import tiny

pytestmark = [pytest.mark.gpu, pytest.mark.slow]

CONV3, CONV4, CONV5 = (Feature("alexnet", f"conv{number}") for number in (3, 4, 5))
CAT = "toy cat"


@pytest.fixture
def there(cuda):
    return networks.open("alexnet", device=cuda)


@pytest.fixture(scope="module")
def photo():
    return images.resize(samples()["chelsea"].load(), longer_side=240)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_network_of_any_layers_describes_cells_pixels_and_the_whole(cuda, dtype):
    spec, image = tiny.spec(), smooth_noise(61, 50, 1)
    here = spec.open(weights=tiny.weights(), device="cpu")
    moved = spec.open(weights=tiny.weights(), device=cuda, dtype=dtype)
    close = {"rtol": 0.03, "atol": 0.03} if dtype.itemsize < 4 else {"rtol": 1e-4, "atol": 1e-4}
    points = np.array([[20.0, 30.0], [33.3, 21.8]])
    for layer in here.layers:
        grids = [network.extract(image, [layer])[layer].descriptors for network in (here, moved)]
        at = [network.sample_at(image, points, [layer], exact=True)[layer] for network in (here, moved)]
        region = PixelBox(20, 20, 27, 25)
        tiles = [next(network.iter_tiles(image, layer, region=region))[1] for network in (here, moved)]
        for own, found in (grids, at, tiles):
            assert (found.device.type, found.dtype) == ("cuda", dtype)
            torch.testing.assert_close(found.cpu().float(), own, **close)
    own, found = (network.global_descriptor(image, "whole") for network in (here, moved))
    torch.testing.assert_close(found.cpu().float(), own, **close)


def test_a_network_that_is_no_chain_describes_pixels_by_shifted_images(cuda):
    class Both(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first = torch.nn.Conv2d(3, 4, 4, stride=4)
            self.last = torch.nn.Conv2d(4, 5, 3, padding=1)

        def forward(self, pixels):
            first = self.first(pixels)
            return self.last(first) + torch.nn.functional.pad(first, (0, 0, 0, 0, 0, 1))

    spec, image, region = ModuleSpec("both", Both), smooth_noise(60, 48, 2), PixelBox(12, 14, 19, 23)
    weights = dict(Both().state_dict())
    (_, own), (_, found) = (
        next(spec.open(weights=weights, device=device).iter_tiles(image, "last", region=region))
        for device in ("cpu", cuda)
    )
    torch.testing.assert_close(found.cpu(), own, rtol=1e-4, atol=1e-4)


def test_an_index_is_built_and_searched_there(there, alexnet, small_photos, tmp_path):
    index = patch_index.build(small_photos, tmp_path / "it", extractor=there, layers=("conv3", "conv5"), mirror=True)
    assert index.device.type == "cuda"
    here = patch_index.PatchIndex(tmp_path / "it", device="cpu")
    image = small_photos[5].load()
    for layer in index.layers:
        grid = there.extract(image, [layer])[layer]
        found, expected = (which.search(layer, grid.flat(), 7) for which in (index, here))
        np.testing.assert_array_equal(found.ids, expected.ids)
        np.testing.assert_array_equal(found.similarities, expected.similarities)
        own = alexnet.extract(image, [layer])[layer].flat()
        stored = here.descriptors(layer, here.search(layer, own, 1).ids[:, 0])
        assert (torch.cosine_similarity(stored, own)[own.norm(dim=1) > 0] > 0.9999).all()
    ids = [
        reconstruction.reconstruct(image, "conv3", extractor=network, index=which, k=3).retrieval.ids
        for network, which in ((there, index), (alexnet, here))
    ]
    assert (ids[0] == ids[1]).mean() > 0.95  # but for some that are equally near


@pytest.mark.skipif(REAL, reason="a device with little memory is pretended")
def test_an_index_that_has_no_room_there_is_searched_from_its_files(small_index):
    queries = small_index.descriptors("conv3", np.arange(0, 400, 7))
    with pretended(most_bytes=100_000) as device:
        index = patch_index.PatchIndex(small_index.folder, device=device)
        for layer in ("conv3", "conv5", "conv3"):
            some = queries if layer == "conv3" else small_index.descriptors(layer, np.arange(20))
            found, expected = (which.search(layer, some, 3) for which in (index, small_index))
            np.testing.assert_array_equal(found.ids, expected.ids)


def test_points_are_matched_and_photos_aligned(there, alexnet, photo):
    points, moved = np.array([[100.0, 80.0], [150.0, 90.5]]), np.roll(photo, (16, 32), axis=(0, 1))
    for options in (matching.MatchOptions(refine=True), matching.MatchOptions("mrf")):
        found, expected = (
            matching.match_photos(photo, moved, points, CONV4, network=network, options=options)
            for network in (there, alexnet)
        )
        np.testing.assert_allclose(found, expected, atol=0.5)
    pairs = [alignment.align_photos(photo, moved, [CONV4], network=network) for network in (there, alexnet)]
    found, expected = (pair.alignments[CONV4].solution.energy for pair in pairs)
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    found, expected = (pair.similarity(CONV4, points[0]) for pair in pairs)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_many_pairs_are_solved_by_kernels_where_these_can_be_launched(cuda):
    unaries = [np.random.default_rng(seed).random((4, 5, 6, 7), dtype=np.float32) for seed in range(3)]
    assert concurrency.default_device().type == "cuda"
    assert on_triton.is_usable() or not REAL
    found = mrf.minimise_batch(unaries, smoothness=0.02, iterations=50)
    expected = mrf.minimise_batch(unaries, smoothness=0.02, iterations=50, device="cpu")
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.energy, other.energy, rtol=1e-3)


def test_objects_are_described_for_transfer(there, alexnet):
    [cat] = toy.load(n_train=1, n_val=1).instances(CAT, "train")
    crop = CropSpec(n_cells=6)
    found, expected = (
        alignment.describe_object(cat, [CONV4], network=network, crop=crop) for network in (there, alexnet)
    )
    np.testing.assert_allclose(found.summary, expected.summary, atol=1e-4)
    torch.testing.assert_close(
        found.grids[CONV4].descriptors.cpu(), expected.grids[CONV4].descriptors, rtol=1e-4, atol=1e-4
    )


def test_keypoints_are_told_apart_and_their_responses_mapped(there, alexnet):
    data = toy.load(n_train=3, n_val=1)
    train, protocol = data.visible_instances(CAT, "train"), CropProtocol(longer_side_px=160)
    names, image = data.keypoint_names[CAT], smooth_noise(160, 120, 4)
    region = PixelBox(60, 60, 64, 63)
    found, expected = (
        responses.response_map(
            image,
            classification.train_classifiers(train, [CONV3], names, network=network, protocol=protocol, cost=1.0)[
                CONV3
            ],
            network=network,
            region=region,
        )
        for network in (there, alexnet)
    )
    np.testing.assert_allclose(found.scores, expected.scores, atol=0.05)  # solved to within 1e-4 of the objective


def test_keypoints_are_predicted_in_a_box(there, alexnet):
    data = toy.load(n_train=5, n_val=1)
    names, train = data.keypoint_names[CAT], data.visible_instances(CAT, "train")
    [instance] = data.visible_instances(CAT, "val")
    predicted = []
    for network in (there, alexnet):
        training = detection.describe_training_set(train, names, [CONV5], network=network)
        miner = detection.HardNegativeMiner(training, detection.DetectorSpec.of(CONV5, network=network))
        detectors = miner.fit(cost=0.1, most_rounds=1)
        fusion = detection.PriorFusion(1, detection.SIGMA_PX, 0.05)
        trained = {CONV5: detection.TrainedDetectors(detectors, {1: fusion}, {})}
        found = detection.predict_object(
            instance.photo.load(), instance.box, trained, training.prior, network=network
        ).keypoints(CONV5)
        inside, _ = detection.crop_box(instance.photo.load(), instance.box)
        some = np.full((len(names), 2), np.nan)
        some[list(detectors.trained)[:2]] = 250
        refined = detectors.refine_to_pixels(inside, some, network=network)
        predicted.append((found, refined))
    for found, expected in zip(*predicted, strict=True):
        seen = np.isfinite(expected).all(axis=1)
        assert (np.abs(found[seen] - expected[seen]).max(axis=1) <= 1).mean() > 0.8  # a few scores are nearly alike


def test_effective_fields_are_those_of_the_processor(there, alexnet, photo):
    cells = np.array([[6, 7]])
    [found], [expected] = (list(network.pixel_gradients(photo, "conv5", cells)) for network in (there, alexnet))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * expected.max())
