"""Detectors and priors, against brute force, training on everything at once, and shifted images."""

import dataclasses
import re
from inspect import unwrap

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from corrcore import extractors
from corrcore.datasets import toy
from corrcore.decoding import ImageError, ImageNotReadError
from corrcore.engines import svm
from corrcore.engines.svm import LinearClassifier
from corrcore.features import Feature
from corrcore.geometry import CellGrid, ReceptiveField
from corrcore.store.arrays import load_arrays, save_arrays
from corrcore.tasks import detection
from corrcore.tasks.detection import (
    Detectors,
    DetectorSpec,
    HardNegativeMiner,
    MiningRound,
    Prior,
    PriorFusion,
    TrainedDetectors,
    TrainingSet,
)
from corrcore.tasks.detection.pool import Pool
from corrcore.tasks.detection.spec import cell_windows
from tests.conftest import smooth_noise
from tests.networks import tiny

NAMES = ("eye", "nose", "tail")
CONV5, SIFT16 = Feature("alexnet", "conv5"), Feature("sift", "16")
BY_CONV5, BY_SIFT = DetectorSpec(CONV5), DetectorSpec(SIFT16, cells=1, within_px=16, beyond_px=32)
SIDE, CHANNELS = 10, 6
CELLS = CellGrid(ReceptiveField(size=48, stride=16, offset=8.0), SIDE, SIDE, (SIDE * 16, SIDE * 16))


def gathered(n_objects=12, *, seed=0, shown=1.0, signal=1.0) -> TrainingSet:
    """Grids of noise in which keypoints, at random places, leave a mark of their own in the cells around."""
    rng = np.random.default_rng(seed)
    keypoints = rng.uniform(20, SIDE * 16 - 20, (n_objects, len(NAMES), 2))
    keypoints[rng.random(keypoints.shape[:2]) > shown] = np.nan
    grids = rng.random((n_objects, SIDE, SIDE, CHANNELS)).astype(np.float32)
    for one, points in enumerate(keypoints):
        away = np.linalg.norm(CELLS.centres()[:, :, None] - points, axis=-1)
        for number in range(len(NAMES)):
            grids[one, ..., number] += signal * np.nan_to_num(np.exp(-((away[..., number] / 20) ** 2)))
    return TrainingSet(
        {CONV5: torch.from_numpy(grids).half()},
        {CONV5: CELLS},
        rng.normal(size=(n_objects, 4)).astype(np.float32),
        keypoints,
        tuple(f"object {n}" for n in range(n_objects)),
        tuple(f"photo {n // 2}" for n in range(n_objects)),
        NAMES,
        {},
    )


@pytest.mark.parametrize(
    "spec", [BY_CONV5, BY_SIFT, DetectorSpec(CONV5, cells=1, nearest=3)], ids=["3 x 3", "sift", "1 x 1"]
)
def test_targets_are_those_of_the_rules(spec):
    points = np.array([[41.3, 50.8], [157.1, 3.0], [np.nan, np.nan]])
    found = detection.targets(CELLS, points, spec)
    half = 48 / 2 + 16 * spec.reach
    for keypoint, (x, y) in enumerate(points):
        distances = [np.hypot(cx - x, cy - y) for cx, cy in CELLS.centres().reshape(-1, 2)]
        for cell, (cx, cy) in enumerate(CELLS.centres().reshape(-1, 2)):
            if np.isnan(x):
                expected = 0
            elif spec is BY_SIFT:
                expected = 1 if distances[cell] <= 16 else -1 if distances[cell] >= 32 else 0
            elif sorted(distances).index(distances[cell]) < spec.nearest:
                expected = 1
            else:
                expected = -1 if max(abs(cx - x), abs(cy - y)) > half else 0
            assert found[cell, keypoint] == expected


def test_the_usual_specs_are_the_papers(alexnet):
    assert DetectorSpec.of(CONV5, network=alexnet) == DetectorSpec(CONV5, cells=3, nearest=10)
    assert DetectorSpec.of(SIFT16, network=alexnet) == BY_SIFT  # within two of its bins of 8 px


def test_windows_are_the_cells_around_at_unit_length(alexnet):
    image = smooth_noise(200, 240, 4)
    grid = alexnet.extract(image, ["conv5"])["conv5"]
    cells = np.array([0, 5, grid.cells.columns * 3 + 4, len(grid.cells) - 1])
    points = grid.cells.centres().reshape(-1, 2)[cells]
    expected = extractors.sample_at(image, points, [CONV5], network=alexnet, cells=3)[CONV5]
    found = cell_windows(grid.descriptors[None], torch.from_numpy(cells), BY_CONV5)
    torch.testing.assert_close(found, expected / expected.norm(dim=1, keepdim=True))


@pytest.mark.parametrize("cells", [1, 3])
def test_scores_are_the_weights_times_every_window(cells):
    spec, rng = DetectorSpec(CONV5, cells=cells), np.random.default_rng(0)
    linear = classifier(rng.normal(size=(2, CHANNELS * cells**2)).astype(np.float32), np.array([0.5, -1], np.float32))
    detectors = Detectors(spec, NAMES, (0, 2), linear, ())
    grid = gathered().grids[CONV5][0]
    found = detectors.scores(grid).reshape(SIDE * SIDE, 3)
    expected = linear.scores(cell_windows(grid[None], torch.arange(SIDE * SIDE), spec).numpy())
    np.testing.assert_allclose(found[:, [0, 2]], expected, atol=1e-5)
    assert np.isnan(found[:, 1]).all()


def classifier(weights, bias) -> LinearClassifier:
    return LinearClassifier(weights, bias, 1.0, np.zeros(len(weights)), np.zeros(len(weights)))


in_both_ways = pytest.mark.parametrize("convolved", [False, True], ids=["put together", "convolved"])


@in_both_ways
@pytest.mark.parametrize("cost", [0.1, 10.0])
@pytest.mark.parametrize("most_bytes", [2**30, 4 * 54 * 1900], ids=["one group", "small pools"])
def test_mining_that_is_finished_gives_what_all_cells_together_give(cost, most_bytes, convolved):
    some = gathered(24)
    options = {"first": 3, "most_bytes": most_bytes, "hard_share": 0.5, "convolved": convolved}
    mining = HardNegativeMiner(some, BY_CONV5, **options)
    found = mining.fit(cost=cost, tolerance=1e-5)
    rows = cell_windows(some.grids[CONV5], torch.arange(24 * SIDE * SIDE), BY_CONV5)
    y = np.concatenate([detection.targets(CELLS, points, BY_CONV5) for points in some.keypoints]).astype(np.float32)
    best = svm.fit_targets(rows, y, cost=cost, tolerance=1e-6)
    assert found.finished
    assert found.trained == (0, 1, 2)
    np.testing.assert_allclose(found.linear.objective, best.objective, rtol=1e-3)
    np.testing.assert_allclose(found.linear.weights, best.weights, atol=0.02 * np.abs(best.weights).max())
    assert len(found.rounds) == (1 if most_bytes == 2**30 else 3)  # groups of keypoints
    assert sum(group[-1].objective for group in found.rounds) == pytest.approx(float(found.linear.objective.sum()))
    for group in found.rounds:
        assert len(group) > 1  # some were hard
        assert group[-1].cells < len(rows)  # and some never


@in_both_ways
@pytest.mark.parametrize("spec", [BY_CONV5, DetectorSpec(CONV5, cells=1)], ids=["3 x 3", "1 x 1"])
def test_a_pools_cells_are_passed_alike_put_together_or_not(spec, convolved):
    descriptors = gathered(5).grids[CONV5]
    every = cell_windows(descriptors, torch.arange(5 * SIDE * SIDE), spec)
    rng = np.random.default_rng(0)
    pool = Pool(descriptors, spec, len(every), convolved=convolved)
    pool.start(rng.permutation(len(every))[::2])
    pool.keep(rng.random(len(pool.cells)) < 0.5)
    pool.add(np.setdiff1d(np.arange(len(every)), pool.cells)[::7])
    samples, rows = pool.samples, every[torch.from_numpy(pool.cells)]
    assert (samples.shape, pool.room) == (tuple(rows.shape), len(every) - len(rows))
    w, weights = torch.randn(rows.shape[1] + 1, 3), torch.randn(len(rows), 3)
    torch.testing.assert_close(samples.scores(w), rows @ w[:-1] + w[-1], rtol=1e-4, atol=1e-4)
    back = torch.cat([rows.T @ weights, weights.sum(0, keepdim=True)])
    torch.testing.assert_close(samples.back(weights), back, rtol=1e-4, atol=1e-3)
    some = torch.from_numpy(rng.permutation(len(rows))[:20])
    torch.testing.assert_close(samples.rows(some), rows[some])


@in_both_ways
def test_no_pool_is_larger_than_allowed_and_what_is_left_is_said(convolved):
    some = gathered(24, signal=0.05)  # nothing to tell keypoints by: nearly all cells are hard
    found = HardNegativeMiner(some, BY_CONV5, first=3, most_bytes=1, convolved=convolved).fit(cost=0.1)
    positives = 24 * BY_CONV5.nearest
    assert all(one.cells <= 2 * positives for group in found.rounds for one in group)
    assert not found.finished
    assert (found.linear.gap <= 1e-3 * found.linear.objective).all()  # of what it was trained on


def test_rounds_end_where_they_are_limited():
    found = HardNegativeMiner(gathered(24), BY_CONV5, first=3).fit(cost=1.0, most_rounds=1)
    assert [len(group) for group in found.rounds] == [1]
    assert not found.finished


class StopError(Exception):
    pass


def stopping_after(calls: int):
    seen = []

    def progress(share, text):
        seen.append((share, text))
        if len(seen) > calls:
            raise StopError

    return progress, seen


@in_both_ways
@pytest.mark.parametrize("rounds_before", [1, 4])
def test_mining_that_was_stopped_goes_on_from_its_last_round(tmp_path, rounds_before, convolved):
    options = {"first": 3, "most_bytes": 4 * 54 * 600, "convolved": convolved}
    whole = HardNegativeMiner(gathered(24), BY_CONV5, **options).fit(cost=1.0)
    kept = tmp_path / "kept.mining"
    progress, _ = stopping_after(rounds_before)
    with pytest.raises(StopError):
        HardNegativeMiner(gathered(24), BY_CONV5, **options).fit(cost=1.0, kept=kept, key="this", progress=progress)
    progress, seen = stopping_after(1000)
    resumed = HardNegativeMiner(gathered(24), BY_CONV5, **options).fit(
        cost=1.0, kept=kept, key="this", progress=progress
    )
    assert len(seen) == sum(len(group) for group in whole.rounds) - rounds_before
    assert [[one.hard for one in group] for group in resumed.rounds] == [
        [one.hard for one in group] for group in whole.rounds
    ]
    np.testing.assert_array_equal(resumed.linear.weights, whole.linear.weights)
    assert not kept.exists()


@pytest.mark.parametrize("spoil", ["other key", "cut off", "emptied"])
def test_mining_does_not_go_on_from_another_or_a_broken_file(tmp_path, spoil):
    kept = tmp_path / "kept.mining"
    progress, _ = stopping_after(1)
    with pytest.raises(StopError):
        HardNegativeMiner(gathered(), BY_CONV5, first=3).fit(cost=1.0, kept=kept, key="this", progress=progress)
    if spoil != "other key":
        kept.write_bytes(kept.read_bytes()[: 500 if spoil == "cut off" else 0])
    progress, seen = stopping_after(1000)
    key = "another" if spoil == "other key" else "this"
    found = HardNegativeMiner(gathered(), BY_CONV5, first=3).fit(cost=1.0, kept=kept, key=key, progress=progress)
    assert len(seen) == len(found.rounds[0])


def test_a_keypoint_that_few_objects_show_has_no_detector():
    some = gathered(12)
    some.keypoints[detection.LEAST_OBJECTS - 1 :, 1] = np.nan
    found = HardNegativeMiner(some, BY_CONV5).fit(cost=1.0)
    assert found.trained == (0, 2)
    assert np.isnan(found.scores(some.grids[CONV5][0])[..., 1]).all()


def test_too_few_objects_are_said():
    with pytest.raises(ValueError, match="a detector needs 5 train objects that show its keypoint, .* of 4 objects"):
        HardNegativeMiner(gathered(4), BY_CONV5)


@pytest.mark.parametrize(("cells", "nearest"), [(2, 10), (0, 10), (3, 0)])
def test_a_spec_that_cannot_be_is_refused(cells, nearest):
    with pytest.raises(ValueError, match=f"got {cells} and {nearest}"):
        DetectorSpec(CONV5, cells, nearest)


def test_detectors_are_what_was_saved(tmp_path):
    found = HardNegativeMiner(gathered(), BY_CONV5).fit(cost=1.0)
    detection.save_detectors(tmp_path / "it.safetensors", found, {"data": "drawn"})
    read, about = detection.load_detectors(tmp_path / "it.safetensors")
    assert about == {"data": "drawn"}
    assert (read.spec, read.names, read.trained, read.rounds) == (BY_CONV5, NAMES, found.trained, found.rounds)
    grid = gathered().grids[CONV5][0]
    np.testing.assert_array_equal(read.scores(grid), found.scores(grid))
    assert [path.name for path in tmp_path.iterdir()] == ["it.safetensors"]


def test_a_spec_of_distances_is_what_was_saved(tmp_path):
    found = HardNegativeMiner(gathered(), BY_CONV5).fit(cost=1.0)
    moved = dataclasses.replace(found, spec=BY_SIFT)
    detection.save_detectors(tmp_path / "it.safetensors", moved, {})
    assert detection.load_detectors(tmp_path / "it.safetensors")[0].spec == BY_SIFT


def test_a_prior_is_what_was_saved_in_half_precision(tmp_path):
    prior = dataclasses.replace(gathered(shown=0.8).prior, summaries=np.eye(12, 4, dtype=np.float32) * 0.3)
    detection.save_prior(tmp_path / "it.safetensors", prior, {"data": "drawn"})
    read, about = detection.load_prior(tmp_path / "it.safetensors")
    assert about == {"data": "drawn"}
    assert (read.objects, read.photos) == (prior.objects, prior.photos)
    np.testing.assert_array_equal(read.keypoints, prior.keypoints)
    np.testing.assert_array_equal(read.summaries, prior.summaries.astype(np.float16))
    assert read.summaries.dtype == np.float32


@pytest.mark.parametrize("spoil", ["cut off", "another's", "older", "a bit"])
@pytest.mark.parametrize("kind", ["detectors", "prior"])
def test_a_file_without_detectors_or_prior_is_named(tmp_path, kind, spoil):
    path = tmp_path / "it.safetensors"
    load = detection.load_detectors if kind == "detectors" else detection.load_prior
    if kind == "detectors":
        detection.save_detectors(path, HardNegativeMiner(gathered(), BY_CONV5).fit(cost=1.0), {})
    else:
        detection.save_prior(path, gathered().prior, {})
    if spoil == "cut off":
        path.write_bytes(path.read_bytes()[:100])
    elif spoil == "another's":
        save_file({"weights": np.zeros(3)}, path)
    elif spoil == "a bit":
        content = bytearray(path.read_bytes())
        content[-9] ^= 4
        path.write_bytes(content)
    else:
        arrays, about = load_arrays(path)
        save_arrays(path, arrays, about | {"version": detection.VERSION - 1})
    with pytest.raises(ValueError, match=re.escape(str(path))):
        load(path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        load(path)


def test_the_prior_asks_the_objects_most_alike_that_show_the_keypoint():
    summaries = np.array([[1, 0], [0.9, 0.1], [0.8, 0.2], [0, 1]], float)
    keypoints = np.arange(16, dtype=float).reshape(4, 2, 2)
    keypoints[1, 0] = np.nan
    keypoints[2:, 1] = np.nan
    prior = Prior(summaries, keypoints, ("a", "b", "c", "d"), ("p", "q", "r", "s"))
    query = np.array([1.0, 0.0])
    np.testing.assert_array_equal(prior.nearest(query, k=3), [[0, 0], [2, 1], [3, -1]])
    own = prior.nearest(query, k=2, photo="p")
    np.testing.assert_array_equal(own, [[2, 1], [3, -1]])
    np.testing.assert_array_equal(
        prior.places(own), [[keypoints[2, 0], keypoints[1, 1]], [keypoints[3, 0], [np.nan] * 2]]
    )
    with pytest.raises(ValueError, match="k must be at least 1; got 0"):
        prior.nearest(query, k=0)


def test_the_prior_is_the_mean_of_gaussians_around_the_places():
    centres = CELLS.centres()
    places = np.array([[[30.0, 40.0], [np.nan] * 2], [[100.0, 20.0], [np.nan] * 2], [[np.nan] * 2, [np.nan] * 2]])
    found = detection.log_prior(centres, places, sigma_px=22)
    row, column = 3, 4
    x, y = centres[row, column]
    each = [np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * 22**2)) for px, py in ((30, 40), (100, 20))]
    assert found[row, column, 0] == pytest.approx(np.log(np.mean(each)))
    assert (found[..., 1] == 0).all()
    with pytest.raises(ValueError, match="sigma_px must be positive; got 0"):
        detection.log_prior(centres, places, sigma_px=0)


def test_detector_and_prior_are_multiplied_as_powers():
    scores, prior = np.array([[[-0.5, np.nan]]]), np.log(np.array([[[0.3, 0.6]]]))
    s, eta = 1 / (1 + np.exp(0.5)), 0.1
    found = detection.combined(scores, prior, eta=eta)
    np.testing.assert_allclose(np.exp(found), [[[s ** (1 - eta) * 0.3**eta, 0.6]]])
    np.testing.assert_allclose(np.exp(detection.combined(scores)), [[[s, np.nan]]])
    for eta in (-0.1, 1.5):
        with pytest.raises(ValueError, match=f"eta must be between 0 and 1; got {eta}"):
            detection.combined(scores, prior, eta=eta)


def test_a_keypoint_is_where_its_value_is_highest_and_nowhere_if_nothing_is_known():
    values = np.zeros((SIDE, SIDE, 3))
    values[2, 7, 0] = 1
    values[..., 2] = np.nan
    found = detection.argmax_points(values, CELLS.centres())
    np.testing.assert_array_equal(found, [CELLS.centres()[2, 7], [np.nan] * 2, [np.nan] * 2])


def test_a_keypoint_without_a_detector_is_where_the_prior_has_it():
    places = np.array([[[40.0, 72.0]]])
    scores = np.full((SIDE, SIDE, 1), np.nan)
    found = detection.predict(scores, CELLS.centres(), places, PriorFusion(1, 22.0, 0.02))
    np.testing.assert_array_equal(found, [[40.0, 72.0]])


def test_cross_validation_finds_out_how_much_the_prior_is_worth():
    some, centres = gathered(40), CELLS.centres()
    right = np.stack([-np.linalg.norm(centres[:, :, None] - points, axis=-1) / 50 for points in some.keypoints])
    noise = np.random.default_rng(0).normal(size=right.shape)
    good = some.keypoints[:, None]
    wrong = np.random.default_rng(1).uniform(0, 160, good.shape)
    for scores, places, eta in ((right, wrong, 0.0), (noise, good, 0.4)):
        choice = detection.select_fusion(
            scores.astype(np.float32), centres, places, some.keypoints, etas=(0.0, 0.1, 0.4)
        )
        assert choice.fusion == PriorFusion(1, 22.0, eta)
        assert choice.pck == max(choice.by_eta[22.0].values())
        assert choice.by_eta[22.0][eta] == choice.pck


def test_held_out_scores_are_by_detectors_that_did_not_see_the_photo():
    """Changing an object's keypoints changes no score of its own photo's objects, and some of others."""
    one, other = gathered(12), gathered(12)
    other.keypoints[0] = other.keypoints[0][::-1]
    first, second = (detection.held_out_scores(each, BY_CONV5, costs=[1.0], n_folds=3)[0] for each in (one, other))
    same = [np.array_equal(a, b) for a, b in zip(first, second, strict=True)]
    assert same[0]
    assert same[1]  # of the same photo
    assert not all(same)
    assert not np.isnan(first).any()


def test_folds_that_leave_too_few_objects_have_no_scores():
    found = detection.held_out_scores(gathered(8), BY_CONV5, costs=[1.0], n_folds=2)[0]
    assert np.isnan(found).all()


def test_the_median_of_places_leaves_out_those_that_are_not_known():
    places = np.array([[[1.0, 5.0], [np.nan] * 2], [[3.0, 4.0], [np.nan] * 2], [[np.nan] * 2, [np.nan] * 2]])
    np.testing.assert_array_equal(detection.median_places(places), [[2.0, 4.5], [np.nan, np.nan]])


def test_finer_places_are_those_of_the_shifted_image(alexnet):
    """conv2, whose stride is 8: shifting the image brings every pixel of 9 x 9 around a cell to a cell's place."""
    spec, rng = DetectorSpec(Feature("alexnet", "conv2")), np.random.default_rng(0)
    linear = classifier(rng.normal(size=(1, 192 * 9)).astype(np.float32), np.zeros(1, np.float32))
    detectors = Detectors(spec, ("eye",), (0,), linear, ())
    image = smooth_noise(220, 220, 8)
    grid = alexnet.extract(image, ["conv2"])["conv2"]
    cell = (12, 11)
    point = grid.cells.centres()[cell]
    scores = {}
    for down in range(-4, 5):
        for right in range(-4, 5):
            shifted = np.roll(image, (-down, -right), axis=(0, 1))
            found = alexnet.extract(shifted, ["conv2"])["conv2"]
            scores[right, down] = float(detectors.scores(found.descriptors)[(*cell, 0)])
    best = max(scores, key=scores.get)
    assert best != (0, 0)
    found = detectors.refine_to_pixels(image, point[None], network=alexnet)
    np.testing.assert_array_equal(found, [np.floor(point + 0.5) + best])


def at_all_pixels(detectors: Detectors, image, network) -> np.ndarray:
    """Scores of every pixel that has a descriptor: pixels a stride apart are a grid like any other."""
    whole = extractors.extract_region(image, detectors.spec.feature, network=network)
    stride = network.receptive_field(detectors.spec.feature.layer).stride
    found = np.empty((*whole.shape[:2], len(detectors.names)), np.float32)
    for row in range(stride):
        for column in range(stride):
            found[row::stride, column::stride] = detectors.scores(whole[row::stride, column::stride].contiguous())
    return found


@pytest.mark.parametrize("name", ["alexnet", "tiny"])
def test_finer_places_are_the_best_pixels_near_cells_borders_included(alexnet, name):
    """The tiny network's cells lie between pixels: then so do the places found."""
    network, layer, n_channels = alexnet, "conv2", 192
    if name == "tiny":
        network, layer, n_channels = tiny.spec().open(weights=tiny.weights(), device="cpu"), "second", 6
    rng, image = np.random.default_rng(0), smooth_noise(62, 57, 8)
    linear = classifier(rng.normal(size=(2, n_channels * 9)).astype(np.float32), np.zeros(2, np.float32))
    detectors = Detectors(DetectorSpec(Feature(name, layer)), ("eye", "nose"), (0, 1), linear, ())
    scores, valid = at_all_pixels(detectors, image, network), network.valid_region(layer, (62, 57))
    cells = network.extract(image, [layer])[layer].cells
    half, between = cells.receptive_field.stride // 2, cells.receptive_field.offset % 1
    assert between == (0.5 if name == "tiny" else 0)
    last = cells.rows - 1, cells.columns - 1
    for cell in {(0, 0), (0, last[1]), last, (1, 0), (last[0] // 2, last[1] // 2)}:
        point = cells.centres()[cell]
        found = detectors.refine_to_pixels(image, np.stack([point, point]), network=network)
        x, y = (point - between).astype(int) - valid[:2]
        for number in range(2):
            near = scores[max(y - half, 0) : y + half + 1, max(x - half, 0) : x + half + 1, number]
            row, column = np.unravel_index(near.argmax(), near.shape)
            expected = np.array([max(x - half, 0) + column + valid.left, max(y - half, 0) + row + valid.top]) + between
            np.testing.assert_array_equal(found[number], expected)


def test_finer_places_at_the_border_stay_inside_and_nothing_stays_nothing(alexnet):
    linear = classifier(np.ones((2, 256 * 9), np.float32), np.zeros(2, np.float32))
    detectors = Detectors(BY_CONV5, NAMES, (0, 1), linear, ())
    points = np.array([[15.0, 15.0], [np.nan, np.nan], [40.0, 50.0]])
    found = detectors.refine_to_pixels(smooth_noise(240, 230, 1), points, network=alexnet)
    assert (np.abs(found[0] - 15) <= 8).all()
    assert (found[0] >= 15).all()  # no receptive field is centred nearer to the border
    assert np.isnan(found[1]).all()
    np.testing.assert_array_equal(found[2], points[2])  # has no detector


def test_objects_are_stretched_to_squares_and_their_keypoints_with_them(alexnet):
    instance = toy.load(n_train=1, n_val=1).instances("toy cat", "train")[0]
    found = detection.describe_training_set([instance], ("a",) * 16, [CONV5, SIFT16], network=alexnet)
    left, top, right, bottom = instance.box
    shown = instance.visible
    expected = (instance.keypoints - [left, top]) / [right - left, bottom - top] * 500 - 0.5
    np.testing.assert_allclose(found.keypoints[0][shown], expected[shown])
    assert found.grids[CONV5].shape == (1, 30, 30, 256)
    step = found.cells[SIFT16].receptive_field
    assert (step.stride, step.size) == (8, 32)
    assert np.linalg.norm(found.summaries[0]) == pytest.approx(1, abs=1e-3)  # in half precision
    image, _ = detection.crop_box(instance.photo.load(), instance.box)
    grid = alexnet.extract(image, ["conv5"])["conv5"]
    torch.testing.assert_close(found.grids[CONV5][0], grid.descriptors.half())


@dataclasses.dataclass
class NoPhoto:
    error: Exception
    name: str = "gone"
    stamp: str = ""

    def load(self):
        raise self.error


def test_objects_whose_photo_is_none_are_left_out_and_named(alexnet):
    first, second = toy.load(n_train=2, n_val=1).instances("toy cat", "train")
    second = dataclasses.replace(second, photo=NoPhoto(ImageError("it is gone")))
    found = detection.describe_training_set([first, second], ("a",) * 16, [], network=alexnet)
    assert found.objects == (first.name,)
    assert found.left_out == {second.name: "it is gone"}
    with pytest.raises(ValueError, match="no train object of 1 could be described; the first: it is gone"):
        detection.describe_training_set([second], ("a",) * 16, [], network=alexnet)


@pytest.mark.parametrize("error", [OSError("the disk is away"), ImageNotReadError("the disk is away")], ids=repr)
def test_nothing_is_learnt_while_a_photo_may_be_readable_another_time(alexnet, error):
    first, second = toy.load(n_train=2, n_val=1).instances("toy cat", "train")
    with pytest.raises(OSError, match="the disk is away"):
        detection.describe_training_set(
            [first, dataclasses.replace(second, photo=NoPhoto(error))], ("a",) * 16, [], network=alexnet
        )


# --- A whole object --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cats():
    return toy.load(n_train=6, n_val=1)


@pytest.fixture(scope="module")
def trained(alexnet, cats):
    """Detectors of two features with any weights, which tell places apart as well as others; and a prior."""
    training = detection.describe_training_set(
        cats.instances("toy cat", "train"), cats.keypoint_names["toy cat"], [], network=alexnet
    )
    found, rng, known = {}, np.random.default_rng(3), (0, 1, 4)
    for feature, n_features in ((CONV5, 256 * 9), (SIFT16, 128)):
        weights = rng.normal(size=(len(known), n_features)).astype(np.float32)
        spec = DetectorSpec.of(feature, network=alexnet)
        detectors = Detectors(spec, training.names, known, classifier(weights, np.zeros(len(known), np.float32)), ())
        found[feature] = TrainedDetectors(detectors, {1: PriorFusion(1, 22.0, 0.3), 5: PriorFusion(5, 22.0, 0.3)}, {})
    return found, training.prior


def test_a_predicted_object_is_its_parts_together(alexnet, cats, trained):
    each, prior = trained
    [cat] = cats.instances("toy cat", "val")
    photo = cat.photo.load()
    found = detection.predict_object(photo, cat.box, each, prior, network=alexnet)
    image, transform = detection.crop_box(photo, cat.box)
    np.testing.assert_array_equal(found.image, image)
    assert found.transform == transform
    own = detection.describe(image, [CONV5, SIFT16], network=alexnet)
    neighbours = prior.nearest(own.summary, k=5)
    places = prior.places(neighbours)
    np.testing.assert_array_equal(found.neighbours, neighbours)
    np.testing.assert_array_equal(found.places, places)
    for feature, one in each.items():
        grid = own.grids[feature]
        scores, centres = one.detectors.scores(grid.descriptors), grid.cells.centres()
        np.testing.assert_array_equal(found.scores[feature], scores)
        assert found.cells[feature] == grid.cells
        alone = transform.to_image(detection.argmax_points(scores, centres))  # as log s rises with the score
        np.testing.assert_array_equal(found.keypoints(feature), alone)
        assert np.isfinite(alone[[0, 1, 4]]).all()
        assert np.isnan(alone[2]).all()  # has no detector
        for fusion in one.fusions.values():
            together = detection.predict(scores, centres, places, fusion)
            np.testing.assert_array_equal(found.stretched_keypoints(feature, fusion), together)
            np.testing.assert_array_equal(found.keypoints(feature, fusion), transform.to_image(together))
            assert not np.array_equal(together, detection.argmax_points(scores, centres), equal_nan=True)
    np.testing.assert_array_equal(found.prior_keypoints(), transform.to_image(places[0]))
    np.testing.assert_array_equal(found.prior_keypoints(3), transform.to_image(detection.median_places(places[:3])))


def test_an_objects_own_photo_gives_no_neighbours(alexnet, cats, trained):
    each, prior = trained
    cat = cats.instances("toy cat", "train")[2]
    own = prior.photos.index(cat.photo.name)
    ask = {"network": alexnet, "trained": {SIFT16: each[SIFT16]}, "prior": prior}
    with_it = detection.predict_object(cat.photo.load(), cat.box, **ask)
    without = detection.predict_object(cat.photo.load(), cat.box, **ask, own_photo=cat.photo.name)
    assert (with_it.neighbours[0][cat.visible] == own).all()
    assert (without.neighbours != own).all()


@pytest.mark.parametrize("box", [(10, 10, 10, 40), (40, 10, 10, 40)])
def test_a_box_without_area_is_refused(box):
    with pytest.raises(ValueError, match=re.escape(f"got {[round(edge, 1) for edge in box]}")):
        unwrap(detection.crop_box)(smooth_noise(50, 50, 0), box)


@pytest.mark.gpu
def test_mining_on_a_gpu_gives_the_same(cuda):
    here = HardNegativeMiner(gathered(24), BY_CONV5, first=3).fit(cost=1.0)
    there = gathered(24)
    moved = dataclasses.replace(there, grids={name: grid.to(cuda) for name, grid in there.grids.items()})
    found = HardNegativeMiner(moved, BY_CONV5, first=3).fit(cost=1.0)
    np.testing.assert_allclose(found.linear.objective, here.linear.objective, rtol=1e-3)
    assert isinstance(found.rounds[0][0], MiningRound)
