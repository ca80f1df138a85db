"""Points transferred to many photos are what matching finds in each."""

from dataclasses import dataclass

import numpy as np
import pytest

from corrcore.decoding import ImageError
from corrcore.features import Feature
from corrcore.store import Cache
from corrcore.tasks import matching
from corrcore.tasks.matching import MatchOptions
from corrcore.tasks.points_transfer import transfer_points
from corrcore.tasks.positional_subspace import kept_subspace, subspace_key
from tests.conftest import relabelled, smooth_noise

CONV4, SIFT20 = Feature("alexnet", "conv4"), Feature("sift", "20")
POINTS = np.array([[60.0, 50.0], [100.5, 80.0]])


@dataclass(frozen=True)
class Shown:
    name: str
    pixels: np.ndarray | None
    stamp: str = ""

    def load(self):
        if self.pixels is None:
            raise ImageError("it is no picture.")
        return self.pixels


def window(left, top, width=160):
    return smooth_noise(400, 300, seed=3)[top : top + 128, left : left + width]


TARGETS = [Shown("b", window(40, 20)), Shown("broken", None), Shown("c", window(30, 35, 144))]


@pytest.mark.parametrize("method", ["nn", "mrf"])
def test_places_are_those_of_matching_and_the_source_is_described_once(alexnet, method):
    calls, told, left_out = [], [], []

    def extract(network, image, layers):
        calls.append(image.shape)
        return alexnet.extract(image, layers)

    options = MatchOptions(method, longer_side=160)
    found = transfer_points(
        window(30, 30),
        POINTS,
        TARGETS,
        [CONV4, SIFT20],
        network=relabelled(alexnet, extract=extract),
        options=options,
        leave_out=lambda *words: left_out.append(words),
        progress=lambda done, text: told.append((done, text)),
    )
    assert calls == told == []  # a target after another, as they are asked for
    first, third = found
    assert len(calls) == {"nn": 3, "mrf": 6}[method]  # alignment describes the photo for each feature
    assert [(first.photo.name, first.size), (third.photo.name, third.size)] == [("b", (160, 128)), ("c", (144, 128))]
    assert left_out == [("broken", "it is no picture.")]
    assert [done for done, _ in told] == pytest.approx([0, 0, 1 / 3, 2 / 3, 1])
    for each in (first, third):
        for feature in (CONV4, SIFT20):
            wanted = matching.match_photos(
                window(30, 30), each.photo.pixels, POINTS, feature, network=alexnet, options=options
            )
            np.testing.assert_allclose(each.matches[feature].places, wanted, atol=1e-4)


def test_what_is_taken_out_is_kept_for_another_process(alexnet, tmp_path):
    options = MatchOptions(longer_side=176, without_position=4)
    with Cache(tmp_path) as results:
        list(
            transfer_points(window(30, 30, 176), POINTS, [], [CONV4], network=alexnet, options=options, results=results)
        )
        assert kept_subspace(results, subspace_key(alexnet, "conv4", (176, 176))) is not None


def test_without_anybody_to_tell_errors_are_raised(alexnet):
    found = transfer_points(window(30, 30), POINTS, TARGETS, [CONV4], network=alexnet)
    assert next(found).photo.name == "b"
    with pytest.raises(ImageError, match="no picture"):
        next(found)
