"""Shards: whoever described photos, in whatever parts, the index is the same files."""

import numpy as np
import pytest

from corrcore.decoding import ImageError
from corrcore.patch_index import IndexUnfinishedError, PatchIndex, build
from corrcore.patch_index.files import SHARDS
from corrcore.patch_index.shards import Here, planned
from tests.conftest import ArrayPhoto
from tests.patch_index.exact import Means, Stamped, Stop, noise_photos, stop_after


class Broken(ArrayPhoto):
    def load(self):
        msg = f"'{self.name}' is cut off."
        raise ImageError(msg)


PHOTOS = [*noise_photos(4), Broken("photo4.png", np.zeros((1, 1, 3), np.uint8)), *noise_photos(9)[5:]]
OPTIONS = {"extractor": Means(), "layers": ("l1", "l2"), "scales": (1.0, 0.6), "mirror": True}


class Apart(Here):
    """Describes some shards before it goes on here, as a cluster that was stopped leaves them: each up to a number."""

    def __init__(self, done, *, then=lambda partial: None):
        object.__setattr__(self, "done", done)
        object.__setattr__(self, "then", then)

    def describe(self, photos, journal, settings, extractor, told):
        for shard in planned(journal.folder, len(photos), done=len(journal.entries), size=3):
            if n_done := self.done.get(shard.start):
                shard.fill(photos[shard.start : shard.start + n_done], settings, extractor, lambda done, text: None)
        self.then(journal.folder)
        super().describe(photos, journal, settings, extractor, told)


def all_files(index):
    return {path.name: path.read_bytes() for path in index.folder.iterdir()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return all_files(build(PHOTOS, tmp_path_factory.mktemp("whole") / "it", **OPTIONS))


@pytest.mark.parametrize("done", [{0: 3, 3: 3, 6: 3}, {3: 2}, {0: 1, 6: 2}], ids=str)
def test_an_index_of_shards_is_the_same_files(tmp_path, whole, done):
    loaded = []

    class Watched(ArrayPhoto):
        def load(self):
            loaded.append(self.name)
            return super().load()

    watched = [photo if isinstance(photo, Broken) else Watched(photo.name, photo.pixels) for photo in PHOTOS]
    assert all_files(build(watched, tmp_path / "it", describer=Apart(done), **OPTIONS)) == whole
    assert len(loaded) == len(set(loaded)) == 8


def test_a_build_stopped_while_shards_are_joined_says_how_far_it_is_and_loses_nothing(tmp_path, whole):
    with pytest.raises(Stop):
        build(PHOTOS, tmp_path / "it", describer=Apart({0: 3, 6: 3}), progress=stop_after(2), **OPTIONS)
    with pytest.raises(IndexUnfinishedError, match="6 of 9 photos are done"):
        PatchIndex(tmp_path / "it")
    assert all_files(build(PHOTOS, tmp_path / "it", **OPTIONS)) == whole


def test_bytes_of_a_shard_that_are_not_those_written_are_made_anew(tmp_path, whole):
    def damage(partial):
        path = partial / SHARDS / "000000003" / "l2.f16"
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)

    assert all_files(build(PHOTOS, tmp_path / "it", describer=Apart({3: 3}, then=damage), **OPTIONS)) == whole


def test_a_shard_of_photos_that_have_changed_is_made_anew(tmp_path):
    first = [Stamped(photo.name, photo.pixels, "1") for photo in noise_photos(6)]
    with pytest.raises(Stop):
        build(first, tmp_path / "it", describer=Apart({3: 3}), progress=stop_after(2), **OPTIONS)
    second = [*first[:4], Stamped("photo4.png", first[4].pixels[:, ::-1].copy(), "2"), first[5]]
    index = build(second, tmp_path / "it", **OPTIONS)
    assert all_files(index) == all_files(build(second, tmp_path / "whole", **OPTIONS))
