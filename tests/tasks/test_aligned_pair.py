"""Two photos brought into line, asked and told in their own pixels; and who is told how far a transfer is."""

import io

import numpy as np
import pytest
from PIL import Image

from corrcore import images
from corrcore.datasets import toy
from corrcore.datasets.samples import samples
from corrcore.features import Feature
from corrcore.tasks import alignment
from corrcore.tasks.alignment import NeighbourPool

from ..conftest import smooth_noise

CONV4, SIFT20 = Feature("alexnet", "conv4"), Feature("sift", "20")
SHIFT = np.array([12, 8])  # px
CELL = 2 * 451 / 18  # px of the target


@pytest.fixture(scope="module")
def pair(alexnet):
    """A photo without its border, and all of it at twice its size."""
    whole = samples()["chelsea"].load()
    part = np.ascontiguousarray(whole[SHIFT[1] : 292, SHIFT[0] : 439])
    large = images.resize_to(whole, width=902, height=600)
    return alignment.align_photos(part, large, (CONV4, SIFT20), network=alexnet)


def twice(points):
    """Where pixels lie in the picture of twice the size."""
    return (points + SHIFT + 0.5) * 2 - 0.5


@pytest.mark.parametrize("feature", [CONV4, SIFT20])
def test_points_of_a_part_are_found_in_the_whole_at_another_size(pair, feature):
    points = pair.source_points(feature)
    assert points.min() > 0
    assert (points < [427, 284]).all()
    away = np.linalg.norm(pair.to_target(feature, points) - twice(points), axis=-1)
    assert np.median(away) < CELL / 4


@pytest.mark.parametrize("feature", [CONV4, SIFT20])
def test_the_likest_cell_is_that_of_the_point(pair, feature):
    for point in ([165.0, 110.0], [60.0, 60.0], [230.0, 150.0]):
        similarity = pair.similarity(feature, np.array(point))
        cells = pair.target_points(feature)
        assert similarity.shape == cells.shape[:2]
        best = cells.reshape(-1, 2)[similarity.argmax()]
        assert np.abs(best - twice(np.array(point))).max() < CELL
        assert similarity.max() <= 1 + 1e-5


def test_a_notebook_shows_both_photos_and_the_source_warped_by_each_feature(pair):
    picture = np.asarray(Image.open(io.BytesIO(pair._repr_png_())))
    source, target = pair.source.image, pair.target.image
    height, width = target.shape[:2]
    assert picture.shape == (max(len(source), height), source.shape[1] + 3 * (8 + width), 3)
    np.testing.assert_array_equal(picture[: len(source), : source.shape[1]], source)
    for number, shown in enumerate(
        [target, *(alignment.warp(pair.source, pair.target, each)[0] for each in pair.alignments.values())]
    ):
        left = source.shape[1] + 8 + number * (width + 8)
        np.testing.assert_array_equal(picture[:height, left : left + width], shown)


def test_similarity_is_the_cosine_of_descriptors(pair):
    point = pair.source_points(CONV4)[4, 7]
    own = pair.source.grids[CONV4].descriptors[4, 7]
    other = pair.target.grids[CONV4].descriptors[3, 9]
    cosine = float((own * other).sum() / own.norm() / other.norm())
    assert pair.similarity(CONV4, point)[3, 9] == pytest.approx(cosine, abs=1e-5)


def test_progress_rises_and_can_stop_the_work(alexnet):
    photo, told = smooth_noise(60, 50, 1), []
    alignment.align_photos(
        photo, photo, (CONV4,), network=alexnet, progress=lambda done, text: told.append((done, text))
    )
    shares = [done for done, _ in told]
    assert shares == sorted(shares)
    assert 0.2 < shares[-1] <= 1  # two of the same are found early
    assert [text for _, text in told[:2]] == ["describing photo 1 of 2", "describing photo 2 of 2"]

    def stop(done, text):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        alignment.align_photos(photo, photo, (CONV4,), network=alexnet, progress=stop)


def test_a_transfer_tells_of_every_neighbour_it_describes(alexnet):
    cats, told = toy.load(n_train=3, n_val=1), []

    def describe(one):
        return alignment.describe_object(one, (CONV4,), network=alexnet)

    pool = NeighbourPool.of(cats.instances("toy cat", "train"), describe)
    [target] = cats.instances("toy cat", "val")
    alignment.transfer_to_object(
        target, describe(target), pool, {CONV4: 0.1}, progress=lambda done, text: told.append((done, text))
    )
    shares = [done for done, _ in told]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)
    assert [text for _, text in told[:3]] == [f"describing neighbours: {n} of 3" for n in (1, 2, 3)]
