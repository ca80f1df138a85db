import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from corrcore import images
from corrcore.datasets import toy
from corrcore.datasets.toy.dataset import VERSION
from corrcore.datasets.toy.render import RAYS_PER_SIDE, trace
from corrcore.datasets.toy.solids import Part

RECORDED = Path(__file__).parents[1] / "data" / f"toy_drawings_{VERSION}.npz"
# Every background and every pattern of a coat is among them.
CHOSEN = {"toy cat": (0, 4, 5, 8, 11, 18), "toy cow": (0, 1, 3, 7, 10, 17)}
NAMES = (
    *("L_Eye", "R_Eye", "Nose", "L_EarBase", "R_EarBase", "Throat", "Withers", "TailBase"),
    *("L_F_Elbow", "R_F_Elbow", "L_B_Elbow", "R_B_Elbow", "L_F_Paw", "R_F_Paw", "L_B_Paw", "R_B_Paw"),
)


@pytest.fixture(scope="module")
def dataset():
    return toy.load(n_train=12, n_val=3)


@pytest.fixture(scope="module", params=toy.CATEGORIES)
def animals(request, dataset):
    return dataset.instances(request.param, "train")


def at(field, point):
    """A field between its pixels, NaN where one of them shows another part or nothing."""
    column, row = (int(np.floor(value)) for value in point)
    cell = field[row : row + 2, column : column + 2]
    if cell.shape != (2, 2, 2) or np.isnan(cell).any() or np.ptp(cell, axis=(0, 1)).max() > 4:
        return np.full(2, np.nan)
    x, y = point - (column, row)
    return (cell * np.array([[(1 - x) * (1 - y), x * (1 - y)], [(1 - x) * y, x * y]])[..., None]).sum(axis=(0, 1))


def pairs(animals):
    return [(source, target) for source in animals[:6] for target in animals[:6] if source is not target]


def test_the_data_set_says_that_it_is_drawn(dataset):
    assert dataset.synthetic
    assert "drawn" in dataset.title
    assert not dataset.left_out


def test_categories_splits_and_keypoints(dataset):
    assert dataset.categories == ("toy cat", "toy cow")
    for category in dataset.categories:
        assert dataset.keypoint_names[category] == NAMES
        assert [len(dataset.instances(category, split)) for split in ("train", "val")] == [12, 3]
        assert {one.category for one in dataset.instances(category, "val")} == {category}


def test_names_are_unique(dataset):
    names = [one.name for split in dataset.splits.values() for one in split]
    assert len(set(names)) == len(names) == 30


def test_every_picture_is_different_and_of_a_size_like_photos(dataset):
    pictures = [one.photo.load() for split in dataset.splits.values() for one in split[:3]]
    assert len({images.digest(picture) for picture in pictures}) == 12
    assert all(340 <= max(picture.shape) <= 420 and min(picture.shape[:2]) >= 200 for picture in pictures)
    assert all(picture.std() > 15 for picture in pictures)


def test_a_picture_is_the_same_in_another_process_and_when_loaded_again(dataset):
    instance = dataset.instances("toy cow", "val")[1]
    code = (
        "from corrcore import images\nfrom corrcore.datasets import toy\n"
        "dataset = toy.load(1, 2)\ninstance = dataset.instances('toy cow', 'val')[1]\n"
        "print(images.digest(instance.photo.load()), instance.keypoints.tobytes().hex(), instance.photo.stamp)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    mine = images.digest(instance.photo.load()), instance.keypoints.tobytes().hex(), instance.photo.stamp
    assert done.stdout.strip() == f"{mine[0]} {mine[1]} {mine[2]}"


def drawn():
    """Every twelfth pixel of the chosen pictures, their keypoints and their boxes."""
    dataset = toy.load(n_train=19, n_val=1)
    animals = [dataset.instances(category, "train")[n] for category, numbers in CHOSEN.items() for n in numbers]
    return {
        "pixels": np.concatenate([animal.photo.load()[::12, ::12].ravel() for animal in animals]),
        "keypoints": np.array([animal.keypoints for animal in animals]),
        "boxes": np.array([animal.box for animal in animals]),
    }


def test_drawings_are_those_recorded_for_their_version():
    """If this fails on purpose, give `VERSION` another value and run this module to record the new drawings."""
    assert RECORDED.is_file(), f"no drawings are recorded for version {VERSION}: python -m tests.datasets.test_toy"
    now = drawn()
    with np.load(RECORDED) as recorded:
        np.testing.assert_allclose(now["keypoints"], recorded["keypoints"], atol=1e-6)
        np.testing.assert_array_equal(now["boxes"], recorded["boxes"])
        # Another processor may round a level otherwise here and there.
        apart = np.abs(now["pixels"].astype(int) - recorded["pixels"])
    assert apart.max() <= 2
    assert (apart > 0).mean() < 0.01


def test_the_digest_follows_the_options_and_another_seed_draws_others():
    options = ({}, {"n_train": 3}, {"n_val": 2}, {"seed": 1})
    loaded = [toy.load(**({"n_train": 2, "n_val": 1} | option)) for option in options]
    assert toy.load(n_train=2, n_val=1).digest == loaded[0].digest
    assert len({one.digest for one in loaded}) == 4
    first = [one.instances("toy cat", "train")[0] for one in loaded]
    # A longer split begins like a shorter one.
    assert first[1].photo.stamp == first[0].photo.stamp
    assert first[1].box == first[0].box
    assert first[3].photo.stamp != first[0].photo.stamp
    assert first[3].box != first[0].box


def test_an_instance_can_be_sent_to_another_process(dataset):
    instance = dataset.instances("toy cat", "train")[0]
    sent = pickle.loads(pickle.dumps(instance))
    np.testing.assert_array_equal(sent.photo.load(), instance.photo.load())


@pytest.mark.parametrize("option", ["n_train", "n_val"])
def test_no_animals_are_refused(option):
    with pytest.raises(ValueError, match=f"{option} must be at least 1; got 0"):
        toy.load(**{option: 0})


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match="seed must be at least 0; got -1"):
        toy.load(seed=-1)


def test_the_box_is_what_the_animal_covers(animals):
    for animal in animals:
        there = ~np.isnan(toy.correspondence(animal, animal)[..., 0])
        columns, rows = np.flatnonzero(there.any(axis=0)), np.flatnonzero(there.any(axis=1))
        covered = columns[0] - 0.5, rows[0] - 0.5, columns[-1] + 0.5, rows[-1] + 0.5
        # A tip can pass between pixel centres, so the box is the larger one.
        larger = (np.array(covered) - animal.box) * (1, 1, -1, -1)
        assert (larger >= 0).all()
        assert (larger <= 2).all()
        height, width = there.shape
        assert 0 < animal.box[0] < animal.box[2] < width
        assert 0 < animal.box[1] < animal.box[3] < height


def test_the_picture_shows_the_animal_where_the_correspondence_has_it(animals):
    for animal in animals[:4]:
        there = ~np.isnan(toy.correspondence(animal, animal)[..., 0])
        picture = animal.photo.load().astype(float)
        across = np.abs(np.diff(picture, axis=1)).max(axis=2)
        edge = there[:, 1:] != there[:, :-1]
        assert across[edge].mean() > 2 * across[~edge].mean()


def test_visible_keypoints_lie_in_the_box_and_hidden_ones_are_nan(animals):
    shown = np.array([animal.visible for animal in animals])
    assert shown.any(axis=0).all()
    assert 0.5 < shown.mean() < 0.95
    for animal in animals:
        left, top, right, bottom = animal.box
        x, y = animal.keypoints[animal.visible].T
        assert ((left <= x) & (x <= right) & (top <= y) & (y <= bottom)).all()
        assert np.isnan(animal.keypoints[~animal.visible]).all()


def test_left_and_right_are_those_of_the_animal():
    # Seen from the side, an animal that looks to the left shows its left eye.
    eyes = {"left": [], "right": []}
    for animal in toy.load(n_train=30, n_val=1).instances("toy cat", "train"):
        points = dict(zip(NAMES, animal.keypoints, strict=True))
        way = points["Nose"][0] - points["TailBase"][0]
        if abs(way) > 0.6 * animal.size[0]:
            side = "left" if way < 0 else "right"
            eyes[side].append([np.isfinite(points[f"{eye}_Eye"][0]) for eye in "LR"])
    assert min(len(seen) for seen in eyes.values()) >= 5
    left, right = (np.mean(eyes[side], axis=0) for side in ("left", "right"))
    assert left[0] > 0.7 > 0.4 > left[1]
    assert right[1] > 0.7 > 0.4 > right[0]


def test_a_picture_corresponds_to_itself_by_the_identity(animals):
    field = toy.correspondence(animals[0], animals[0])
    y, x = np.nonzero(~np.isnan(field[..., 0]))
    assert len(x) > 5000
    np.testing.assert_allclose(field[y, x], np.stack([x, y], axis=-1), atol=1e-6)
    height, width, _ = animals[0].photo.load().shape
    assert field.shape == (height, width, 2)


def test_keypoints_move_with_the_correspondence(animals):
    apart = []
    for source, target in pairs(animals):
        field = toy.correspondence(source, target)
        for start, end in zip(source.keypoints, target.keypoints, strict=True):
            if not np.isnan([start, end]).any():
                apart.append(np.linalg.norm(at(field, start) - end))
    apart = np.array(apart)
    checked = ~np.isnan(apart)
    # At the edge of a part the pixels around a keypoint belong to several.
    assert checked.sum() > 60
    assert checked.mean() > 0.4
    assert apart[checked].max() < 0.5


def test_there_and_back_is_where_one_began(animals):
    errors = []
    for source, target in pairs(animals)[:8]:
        there, back = toy.correspondence(source, target), toy.correspondence(target, source)
        rows, columns = np.nonzero(~np.isnan(there[..., 0]))
        chosen = np.random.default_rng(0).choice(len(rows), min(300, len(rows)), replace=False)
        for row, column in zip(rows[chosen], columns[chosen], strict=True):
            errors.append(np.linalg.norm(at(back, there[row, column]) - (column, row)))
    errors = np.array(errors)[~np.isnan(errors)]
    assert len(errors) > 300
    assert np.median(errors) < 0.02
    assert np.quantile(errors, 0.98) < 0.3


def test_the_target_hides_what_it_does_not_show(animals):
    for source, target in pairs(animals)[:8]:
        field = toy.correspondence(source, target)
        own = ~np.isnan(toy.correspondence(source, source)[..., 0])
        shown = ~np.isnan(field[..., 0])
        assert not (shown & ~own).any()
        assert 0.01 < shown.sum() / own.sum() < 0.95
        # What is found lies on the target, at its edge within a pixel of it.
        other = ~np.isnan(toy.correspondence(target, target)[..., 0])
        x, y = np.rint(field[shown]).astype(int).T
        near = np.pad(other, 1)
        near = np.any(
            [near[1 + dy :, 1 + dx :][: len(other), : other.shape[1]] for dy in (-1, 0, 1) for dx in (-1, 0, 1)], axis=0
        )
        assert near[y, x].all()


def test_coats_differ_but_noses_and_eyes_look_alike(dataset):
    cats = dataset.instances("toy cat", "train")[:8]
    pixels = {name: [] for name in ("Nose", "Withers")}
    for cat in cats:
        picture = cat.photo.load()
        for name, seen in pixels.items():
            x, y = cat.keypoints[NAMES.index(name)]
            if np.isfinite(x):
                seen.append(picture[round(y), round(x)].mean())
    assert np.std(pixels["Nose"]) < np.std(pixels["Withers"])
    assert np.mean(pixels["Nose"]) < np.mean(pixels["Withers"])


def test_correspondence_of_other_pictures_or_categories_is_refused(dataset):
    cat, cow = (dataset.instances(category, "val")[0] for category in dataset.categories)
    with pytest.raises(ValueError, match="source and target must be of one category; got toy cat and toy cow"):
        toy.correspondence(cat, cow)

    class Other:
        name, stamp = "other.png", 0

        def load(self):
            return np.zeros((3, 3, 3), np.uint8)

    with pytest.raises(ValueError, match="target must be an instance of the toy data set"):
        toy.correspondence(cat, replace(cat, photo=Other()))


@pytest.mark.parametrize(("length", "end"), [(0.0, 1.0), (3.0, 0.6), (2.6, 1.0), (1.2, 0.25)])
def test_rays_meet_a_solid_where_marching_along_them_does(length, end):
    rng = np.random.default_rng(4)
    part = Part("limb", "coat", np.zeros(3), np.eye(3), length, end)
    heights = np.linspace(0, length, 400)
    radii = np.linspace(1, end, 400)

    def outside(points):
        """How far points are from the balls that the solid is swept by; negative inside."""
        to_axis = np.hypot(np.hypot(*points.T[:2])[:, None], points[:, 2:] - heights)
        return (to_axis - radii).min(axis=1)

    steps = np.linspace(-8, 8, 1601)
    missed = 0
    for _ in range(60):
        start, ray = rng.uniform(-1, 1, 3) + np.array([0, 0, length / 2]), rng.normal(size=3)
        ray /= np.linalg.norm(ray)
        start -= (start @ ray) * ray + rng.normal(size=3) * 0.3
        depth = float(part.enter([np.array([value]) for value in start], ray)[0])
        gaps = outside(start + steps[:, None] * ray)
        if np.isinf(depth):
            missed += 1
            assert gaps.min() > -1e-3
        else:
            assert abs(outside((start + depth * ray)[None])[0]) < 1e-4
            assert gaps[steps < depth - 0.01].min() > 0
            assert steps[np.argmax(gaps < 0)] - depth < 0.2
    assert missed < 55


def test_the_picture_is_drawn_from_the_parts_that_correspond(animals):
    scene = animals[0].photo.scene
    width, height = scene.size
    drawn, solid, normal, depth = trace(scene, (0, 0, width, height))
    side = RAYS_PER_SIDE
    x, y = (((np.arange(pixels * side) + 0.5) / side - 0.5) for pixels in (width, height))
    seen, exact, far = scene.meet(np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2))
    # Single precision decides otherwise at the very edges.
    assert (drawn == seen).mean() > 0.999
    both = (drawn == seen) & (seen >= 0)
    assert np.quantile(np.abs(solid - exact)[both], 0.999) < 1e-3
    np.testing.assert_allclose(depth[both], far[both], atol=1e-2)
    # What is seen faces the camera, but for the rounding of joints.
    assert (normal[both] @ scene.view < 0.2).mean() > 0.99


if __name__ == "__main__":
    np.savez_compressed(RECORDED, **drawn())
