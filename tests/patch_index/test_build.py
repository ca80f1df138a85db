"""Building: what goes in, going on after a stop, and what is said when it cannot be done."""

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass

import numpy as np
import pytest

from corrcore import images
from corrcore.decoding import ImageError
from corrcore.patch_index import IndexNotFoundError, IndexNotWrittenError, IndexUnfinishedError, PatchIndex, build
from tests.conftest import ArrayPhoto, smooth_noise
from tests.patch_index.exact import Means, Stamped, Stop, files_of, noise_photos, stop_after

PHOTOS = noise_photos(6)


def test_large_photos_are_shrunk_to_the_longer_side(tmp_path):
    photo = ArrayPhoto("large.png", smooth_noise(800, 400, 0))
    index = build([photo], tmp_path / "it", extractor=Means(), longer_side=200)
    assert (index.widths[0], index.heights[0]) == (200, 100)
    np.testing.assert_array_equal(index.photo(0), images.resize(photo.pixels, longer_side=200))
    whole = build([photo], tmp_path / "whole", extractor=Means(), longer_side=None)
    np.testing.assert_array_equal(whole.photo(0), photo.pixels)


def test_the_layers_are_those_the_extractor_is_rebuilt_from_unless_others_are_asked_for(tmp_path):
    assert build(PHOTOS[:1], tmp_path / "a", extractor=Means()).layers == ("l1",)
    assert build(PHOTOS[:1], tmp_path / "b", extractor=Means(), layers=("l2", "l1", "l2")).layers == ("l2", "l1")


def test_photos_that_cannot_be_used_are_left_out_and_named(tmp_path):
    class Broken(ArrayPhoto):
        def load(self):
            msg = "'broken.png' is cut off."
            raise ImageError(msg)

    class Away(ArrayPhoto):
        def load(self):
            raise FileNotFoundError(2, "No such file or directory", "/drive/away.png")

    photos = [
        Broken("broken.png", np.zeros((1, 1, 3), np.uint8)),
        PHOTOS[0],
        ArrayPhoto("tiny.png", smooth_noise(5, 300, 0)),
        Away("away.png", PHOTOS[1].pixels),
    ]
    index = build(photos, tmp_path / "it", extractor=Means())
    assert index.photos == ("photo0.png",)
    assert index.skipped == {
        "broken.png": "'broken.png' is cut off.",
        "tiny.png": "tiny.png is smaller than 8 x 8 px at every scale.",
        "away.png": "away.png cannot be read (No such file or directory); is its drive connected?",
    }


def test_an_index_of_nothing_is_refused_and_leaves_nothing(tmp_path):
    dot = ArrayPhoto("dot.png", np.zeros((1, 1, 3), np.uint8))
    with pytest.raises(
        ValueError, match=r"none of 1 photos could be used; the first: dot.png is smaller than 8 x 8 px"
    ):
        build([dot], tmp_path / "it", extractor=Means())
    with pytest.raises(ValueError, match="photos must hold at least one photo; got none"):
        build([], tmp_path / "it", extractor=Means())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"scales": (float("nan"),)}, "scales must be different numbers above 0 and up to 4 .*; got nan"),
        ({"scales": (1.0, float("inf"))}, "scales must be .*; got 1, inf"),
        ({"scales": (0.5, 0.5)}, "scales must be different"),
        ({"scales": ()}, "scales must be .*; got none"),
        ({"scales": (0.0,)}, "scales must be .*; got 0"),
        ({"longer_side": -5}, "longer_side must be at least 1 px, or None to shrink no photo; got -5"),
        ({"longer_side": 0}, "longer_side must be"),
        ({"layers": ("l1", "conv4")}, "layer of means must be one of l1, l2; got 'conv4'"),
    ],
    ids=str,
)
def test_what_cannot_be_built_is_refused_before_anything_is_written(tmp_path, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        build(PHOTOS, tmp_path / "it", extractor=Means(), **options)
    assert not list(tmp_path.iterdir())


def test_names_must_be_unique(tmp_path):
    with pytest.raises(ValueError, match="'photo0.png' stands twice"):
        build([PHOTOS[0], PHOTOS[1], PHOTOS[0]], tmp_path / "it", extractor=Means())


def test_an_existing_folder_is_never_overwritten(tmp_path):
    (tmp_path / "it").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "away")
    for name in ("it", "link"):
        with pytest.raises(FileExistsError, match=f"{name} already exists; choose another name or delete it first"):
            build(PHOTOS, tmp_path / name, extractor=Means())


# --- Progress, and going on ------------------------------------------------------------------------------------------


class Endless:
    """A photo whose file is read for as long as a test wants, as from a drive that is busy: its pixels or its stamp."""

    name = "endless"

    def __init__(self, slow):
        self.slow, self.let_go, self.read = slow, threading.Event(), threading.Event()

    def wait(self):
        self.let_go.wait(timeout=60)
        self.read.set()

    def load(self):
        if self.slow == "pixels":
            self.wait()
        return PHOTOS[0].pixels

    @property
    def stamp(self):
        if self.slow == "stamp":
            self.wait()
        return "1"


@pytest.mark.parametrize("slow", ["pixels", "stamp"])
def test_a_build_reports_and_can_be_cancelled_while_a_photo_is_read(tmp_path, slow):
    photo, told = Endless(slow), []

    def progress(done, text):
        told.append(text)
        if len(told) == 3:
            raise Stop

    with pytest.raises(Stop):
        build([photo], tmp_path / "it", extractor=Means(), progress=progress)
    assert not photo.read.is_set()  # it was not waited for
    assert all(text.startswith("0 of 1 photos") for text in told)
    photo.let_go.set()
    assert photo.read.wait(timeout=60)
    assert build([photo], tmp_path / "it", extractor=Means()).photos == ("endless",)


def test_going_on_can_be_cancelled_while_a_stamp_is_read_and_loses_nothing(tmp_path):
    photo, others = Endless("stamp"), PHOTOS[1:3]
    photo.let_go.set()
    with pytest.raises(Stop):
        build([others[0], photo, others[1]], tmp_path / "it", extractor=Means(), progress=stop_after(2))
    photo.let_go.clear()
    told = []

    def progress(done, text):
        told.append(text)
        if len(told) == 3:
            raise Stop

    with pytest.raises(Stop):
        build([others[0], photo, others[1]], tmp_path / "it", extractor=Means(), progress=progress)
    photo.let_go.set()
    with pytest.raises(IndexUnfinishedError, match="2 of 3 photos are done"):
        PatchIndex(tmp_path / "it")


def test_stamps_are_read_with_the_photos_and_not_before(tmp_path):
    """Or files of some gigabytes would be read before anything is shown."""
    read = []

    @dataclass(frozen=True)
    class Watched(ArrayPhoto):
        @property
        def stamp(self):
            read.append(self.name)
            return "1"

    def progress(done, text):
        if text.startswith("2 of"):
            raise Stop

    photos = [Watched(f"{n}", smooth_noise(40, 40, n)) for n in range(60)]
    with pytest.raises(Stop):
        build(photos, tmp_path / "it", extractor=Means(), progress=progress)
    assert len(read) < 30


@pytest.mark.parametrize("done", [1, 3, 5])
def test_a_cancelled_build_goes_on_and_ends_the_same(tmp_path, done):
    options = {"extractor": Means(), "layers": ("l1", "l2"), "scales": (1.0, 0.6), "mirror": True}
    whole = build(PHOTOS, tmp_path / "whole", **options)
    with pytest.raises(Stop):
        build(PHOTOS, tmp_path / "it", progress=stop_after(done), **options)
    with pytest.raises(IndexUnfinishedError, match=rf"{done} of 6 photos are done. The `corrcore .*index build PHOTOS"):
        PatchIndex(tmp_path / "it")
    loaded = []

    class Watched(ArrayPhoto):
        def load(self):
            loaded.append(self.name)
            return super().load()

    watched = [Watched(photo.name, photo.pixels) for photo in PHOTOS]
    index = build(watched, tmp_path / "it", **options)
    assert sorted(loaded) == [photo.name for photo in PHOTOS[done:]]
    assert index.digest == whole.digest
    assert files_of(index) == files_of(whole)


def test_an_interruption_of_the_system_loses_nothing_either(tmp_path):
    def interrupt(done, text):
        if text.startswith("4 of"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(PHOTOS, tmp_path / "it", extractor=Means(), progress=interrupt)
    with pytest.raises(IndexUnfinishedError, match="4 of 6 photos are done"):
        PatchIndex(tmp_path / "it")


def test_a_journal_torn_in_a_line_loses_only_that_photo(tmp_path):
    whole = build(PHOTOS, tmp_path / "whole", extractor=Means())
    with pytest.raises(Stop):
        build(PHOTOS, tmp_path / "it", extractor=Means(), progress=stop_after(4))
    journal = tmp_path / "it.partial" / "photos.jsonl"
    journal.write_bytes(journal.read_bytes()[:-7])
    with (tmp_path / "it.partial" / "l1.i8").open("ab") as file:
        file.write(b"left by a writer that was killed")
    assert files_of(build(PHOTOS, tmp_path / "it", extractor=Means())) == files_of(whole)


def test_other_settings_do_not_go_on_from_an_old_build(tmp_path):
    with pytest.raises(Stop):
        build(PHOTOS, tmp_path / "it", extractor=Means(), progress=stop_after(3))
    index = build(PHOTOS, tmp_path / "it", extractor=Means(), mirror=True)
    assert files_of(index) == files_of(build(PHOTOS, tmp_path / "whole", extractor=Means(), mirror=True))


@pytest.mark.parametrize("changed", [0, 1, 3])
def test_a_build_goes_on_up_to_the_first_photo_that_has_changed(tmp_path, changed):
    first = [Stamped(photo.name, photo.pixels, "1") for photo in PHOTOS]
    second = list(first)
    second[changed] = Stamped(first[changed].name, first[changed].pixels[:, ::-1].copy(), "2")
    with pytest.raises(Stop):
        build(first, tmp_path / "it", extractor=Means(), progress=stop_after(4))
    told = []
    index = build(second, tmp_path / "it", extractor=Means(), progress=lambda done, text: told.append(text))
    for number, photo in enumerate(second):
        np.testing.assert_array_equal(index.picture(number), photo.pixels)
    index.verify()
    assert any(text.startswith(f"{changed} of 6 photos, ") for text in told)  # it began there, not at the first


def test_a_photo_that_was_away_is_tried_again(tmp_path):
    away = [True]

    class Away(ArrayPhoto):
        def load(self):
            if away[0]:
                raise FileNotFoundError(2, "No such file or directory")
            return self.pixels

    photos = [PHOTOS[0], Away(PHOTOS[1].name, PHOTOS[1].pixels), *PHOTOS[2:]]
    with pytest.raises(Stop):
        build(photos, tmp_path / "it", extractor=Means(), progress=stop_after(4))
    away[0] = False
    index = build(photos, tmp_path / "it", extractor=Means())
    assert index.photos == tuple(photo.name for photo in PHOTOS)


def test_a_stopped_build_that_has_all_its_photos_is_only_finished(tmp_path):
    with pytest.raises(Stop):
        build(PHOTOS, tmp_path / "it", extractor=Means(), progress=stop_after(6))
    build(PHOTOS, tmp_path / "it", extractor=Means()).verify()


BUILDER = """
import sys
import time
from corrcore.patch_index import build
from tests.patch_index.exact import Means, noise_photos
print("begun", flush=True)
def slowly(done, text):  # as much slower than whoever kills it
    print(text, flush=True)
    time.sleep(0.01)
build(noise_photos(120, 60, 50), sys.argv[1], extractor=Means(), progress=slowly)
"""


@pytest.mark.slow
def test_a_build_killed_at_any_moment_is_never_half_an_index_and_goes_on(tmp_path):
    folder, rng, kills, done = tmp_path / "it", np.random.default_rng(0), 0, []
    while not folder.exists():
        builder = subprocess.Popen([sys.executable, "-c", BUILDER, str(folder)], stdout=subprocess.PIPE, text=True)
        assert builder.stdout is not None
        lines = []
        for _ in range(40 + int(rng.integers(1, 30))):
            lines.append(builder.stdout.readline())
            if not lines[-1]:
                break
        done.append(int(lines[2].split()[0]) if len(lines) > 2 else 0)
        time.sleep(rng.uniform(0, 0.02))
        if builder.poll() is None and kills < 2:
            os.kill(builder.pid, signal.SIGKILL)
            kills += 1
        builder.stdout.read()
        builder.stdout.close()
        builder.wait(timeout=60)
        if not folder.exists():
            with pytest.raises(IndexNotFoundError):
                PatchIndex(folder)
    assert kills == 2
    assert done[-1] >= 32  # a checkpoint was gone on from
    index = PatchIndex(folder)
    index.verify()
    assert index.digest == build(noise_photos(120, 60, 50), tmp_path / "other", extractor=Means()).digest


# --- Two at once -----------------------------------------------------------------------------------------------------


def test_two_builders_of_one_name_do_not_meet(tmp_path):
    def build_again(done, text):
        build(PHOTOS, tmp_path / "it", extractor=Means())

    with pytest.raises(FileExistsError, match=r"another process is building .*it now; wait for it"):
        build(PHOTOS, tmp_path / "it", extractor=Means(), progress=build_again)


def test_a_builder_that_comes_late_leaves_the_finished_index_alone(tmp_path):
    """The second looks before the first has finished, and gets the lock after."""
    finished = []

    class Late(Means):
        def receptive_field(self, layer):
            if not finished:
                finished.append(build(PHOTOS[:2], tmp_path / "it", extractor=Means()))
            return super().receptive_field(layer)

    with pytest.raises(FileExistsError, match="was built by another process"):
        build(PHOTOS[2:], tmp_path / "it", extractor=Late())
    index = PatchIndex(tmp_path / "it")
    index.verify()
    assert index.digest == finished[0].digest
    assert [path.name for path in tmp_path.iterdir()] == ["it"]


# --- The disk --------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
@pytest.mark.parametrize("file", ["l1.f16", "pixels.u8"])
def test_a_full_disk_is_a_sentence_and_the_build_goes_on_when_there_is_room(tmp_path, file):
    with pytest.raises(Stop):
        build(PHOTOS, tmp_path / "it", extractor=Means(), progress=stop_after(2))
    partial = tmp_path / "it.partial"
    there = (partial / file).read_bytes()
    (partial / file).unlink()
    (partial / file).symlink_to("/dev/full")
    with pytest.raises(
        OSError, match=r"it.partial cannot be written \(No space left on device\); free some space, and"
    ):
        build(PHOTOS, tmp_path / "it", extractor=Means())
    (partial / file).unlink()
    (partial / file).write_bytes(there)
    build(PHOTOS, tmp_path / "it", extractor=Means()).verify()


def test_a_limit_on_the_size_of_files_is_a_sentence_too(tmp_path):
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, old[1]))
    try:
        with pytest.raises(OSError, match=r"it.partial cannot be written \(File too large\); free some space"):
            build(PHOTOS, tmp_path / "it", extractor=Means())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    index = build(PHOTOS, tmp_path / "it", extractor=Means())
    index.verify()
    assert len(index.photos) == 6


def test_a_root_that_is_a_file_is_a_sentence(tmp_path):
    (tmp_path / "root").write_text("no folder")
    with pytest.raises(OSError, match=r"it.partial cannot be written \(.*\); see that you may write there"):
        build(PHOTOS, tmp_path / "root" / "it", extractor=Means())


def test_a_link_to_nowhere_in_the_way_of_the_folder_is_a_sentence(tmp_path):
    (tmp_path / "it.partial").symlink_to(tmp_path / "away" / "it")
    with pytest.raises(
        IndexNotWrittenError, match=r"it.partial cannot be written \(.*\); see that you may write there"
    ):
        build(PHOTOS, tmp_path / "it", extractor=Means())


def test_no_thread_is_left_when_a_build_ends(tmp_path):
    before = threading.active_count()
    build(PHOTOS, tmp_path / "it", extractor=Means())
    with pytest.raises(Stop):
        build(PHOTOS, tmp_path / "other", extractor=Means(), progress=stop_after(2))
    assert threading.active_count() == before
