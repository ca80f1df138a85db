"""Whatever happens to the cache's files: no wrong result, nothing executed, nothing read elsewhere, no exception."""

import errno
import fcntl
import itertools
import os
import pickle
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import warnings
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress

import diskcache.core
import numpy as np
import pytest

from corrcore.store import Cache, arrays, cache, database, files, save_arrays
from tests.store.results import (
    FULL,
    KEPT,
    array_files,
    execute,
    file_of,
    in_child,
    open_cache,
    result,
    value_of,
    wait_for,
)

MEGABYTE = 1 << 20
NAMES = [f"{value}" * 1500 for value in range(9)]  # so long that they take many pages of the database


def assert_sound(folder, names):
    """After a new start: no wrong result, no leftovers. Returns how many results are there."""
    cache = open_cache(folder)
    found = {name: entry for name in names if (entry := cache.get(name)) is not None}
    for name, entry in found.items():
        value_of(entry)
        assert entry.metadata["name"] == name
    there = {path.name for path in cache.folder.iterdir()}
    assert there == {"cache.db", "start.lock"} | {file_of(cache, name).name for name in found}
    assert cache.statistics().entries == len(found)
    return len(found)


# Death


def is_unfinished(folder):
    """Whether a dead writer left a file without a row, or a transaction to roll back."""
    as_it_lies_there = f"file:{folder}/cache.db?mode=ro&immutable=1"
    with closing(sqlite3.connect(as_it_lies_there, uri=True)) as connection:
        (n_rows,) = connection.execute("SELECT count(*) FROM Cache").fetchone()
    written = [*folder.glob("*.safetensors"), *folder.glob(".*.writing")]
    return len(written) != n_rows or (folder / "cache.db-journal").exists()


@pytest.mark.slow
def test_kill_in_the_middle_of_a_write(tmp_path):
    """Fifty writers die at a random moment of writing without pause."""
    rng = random.Random(0)
    names = ["x", "y", "z"]
    folder = open_cache(tmp_path).folder
    interrupted = survivors = 0
    for _ in range(50):
        beginning, begun = os.pipe()

        def write_for_ever(begun=begun):
            cache = open_cache(tmp_path)
            for step in itertools.count():
                name = names[step % 3]
                cache.put(name, *result(step, 100_000, name=name))
                os.write(begun, b".")

        pid = in_child(write_for_ever)
        os.read(beginning, 1)
        time.sleep(rng.uniform(0, 0.03))
        os.kill(pid, signal.SIGKILL)
        assert wait_for(pid) == -signal.SIGKILL
        os.close(beginning)
        os.close(begun)
        interrupted += is_unfinished(folder)
        survivors += assert_sound(tmp_path, names)
    assert open_cache(tmp_path).put("x", *result(1, name="x"))
    assert_sound(tmp_path, names)
    assert interrupted >= 5, "the kills hit no write: the test shows nothing"
    assert survivors >= 50, "what was written before is lost"


@pytest.mark.slow
def test_kill_at_lines_all_over_a_write(tmp_path):
    """A writer that makes room dies before a line of our code or diskcache's, then before a later one, until
    one gets through.
    """
    size = 140_000
    template = open_cache(tmp_path / "template", max_bytes=size)
    for name in ("old", "older", "x"):
        template.put(name, *result(1, 1000, name=name))
    traced = {module.__file__ for module in (arrays, cache, database, files, diskcache.core)}
    deaths = 0
    for n_lines in itertools.count(0, 11):
        folder = shutil.copytree(tmp_path / "template", tmp_path / "copy")

        def write(n_lines=n_lines, folder=folder):
            cache = open_cache(folder, max_bytes=size)
            lines = itertools.count()

            def trace(frame, event, argument):
                if frame.f_code.co_filename not in traced:
                    return None
                if event == "line" and next(lines) == n_lines:
                    os.kill(os.getpid(), signal.SIGKILL)
                return trace

            sys.settrace(trace)
            cache.put("x", *result(3, 3000, name="x"))

        status = wait_for(in_child(write))
        n_there = assert_sound(folder, ["old", "older", "x"])
        if status == 0:
            break
        assert status == -signal.SIGKILL
        deaths += 1
        shutil.rmtree(folder)
    assert deaths > 20
    assert n_there == 1
    assert value_of(open_cache(folder).get("x")) == 3


# Damaged files


def flip_a_bit(path, rng):
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def truncate(path, rng):
    os.truncate(path, rng.randrange(path.stat().st_size))


def delete(path, rng):
    path.unlink()


def grow(path, rng):
    """To a size that no memory holds, though next to nothing on disk."""
    os.truncate(path, 1 << 42)


def exchange(path, rng):
    """The file of another key, of the very same size, takes its place."""
    other = open_cache(path.parent / "other")
    other.put("l", *result(99))
    os.replace(file_of(other, "l"), path)


@pytest.mark.parametrize(
    ("damage", "n_times"), [(flip_a_bit, 50), (truncate, 25), (delete, 25), (exchange, 2), (grow, 2)]
)
@pytest.mark.parametrize("restart", [False, True], ids=["running", "restarted"])
def test_damaged_file_is_computed_again(tmp_path, damage, n_times, restart):
    rng = random.Random(0)
    cache = open_cache(tmp_path)
    cache.put("k", *result(0))
    there = [0]
    for value in range(1, (n_times // 2 if restart else n_times) + 1):
        damage(file_of(cache, "k"), rng)
        if restart:
            cache = open_cache(tmp_path)
        found = value_of(cache.get_or_compute("k", lambda value=value: result(value)))
        # What fills up the header may differ: that changes nothing.
        assert found == value or (damage is flip_a_bit and found == there[-1])
        there.append(found)
        assert value_of(cache.get("k")) == found
        assert len(array_files(cache)) == 1
    assert len(set(there)) > 0.9 * value


def test_start_forgets_results_whose_file_is_gone(tmp_path):
    cache = filled(tmp_path)
    for path in array_files(cache)[:3]:
        path.unlink()
    assert open_cache(tmp_path).statistics().entries == len(NAMES) - 3


def test_rows_that_point_to_each_others_file_serve_nothing(tmp_path):
    """What a damaged index of the database may do: the file found is whole, but another key's."""
    cache = open_cache(tmp_path)
    cache.put("x", *result(1))
    cache.put("y", *result(2))
    execute(cache, "DELETE FROM Cache WHERE key = 'x'")
    execute(cache, "UPDATE Cache SET key = 'x'")
    assert cache.get("x") is None


# Damaged databases


def header(data, rng):
    data[:100] = rng.randbytes(100)


def middle(data, rng):
    start = len(data) // 2
    data[start - 2048 : start + 2048] = rng.randbytes(4096)


def zeroed(data, rng):
    data[:] = bytes(len(data))


def truncated(data, rng):
    del data[len(data) // 2 :]


def cut_within_its_header(data, rng):
    del data[50:]


def text(data, rng):
    data[:] = b"This is no database."


def damage_database(cache, damage):
    path = cache.folder / "cache.db"
    data = bytearray(path.read_bytes())
    damage(data, random.Random(0))
    path.write_bytes(data)
    return bytes(data)


def filled(folder):
    cache = open_cache(folder)
    for value, name in enumerate(NAMES):
        cache.put(name, *result(value))
    return cache


def assert_helpful(cache):
    """It serves the right results, and has them all thereafter."""
    for value, name in enumerate(NAMES):
        assert value_of(cache.get_or_compute(name, lambda value=value: result(value))) == value
        assert value_of(cache.get(name)) == value


@pytest.mark.parametrize("damage", [header, middle, zeroed, truncated, cut_within_its_header, text])
@pytest.mark.parametrize("restart", [False, True], ids=["running", "restarted"])
def test_damaged_database_is_set_aside_and_begun_anew_with_one_warning(tmp_path, damage, restart):
    cache = filled(tmp_path)
    damaged = damage_database(cache, damage)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if restart:
            cache = open_cache(tmp_path)
        assert_helpful(cache)
        cache = open_cache(tmp_path)  # only a start looks at all of the database
        assert_helpful(cache)
    assert [warning.category for warning in caught] == [RuntimeWarning]
    assert "The cache's database was damaged" in str(caught[0].message)
    (aside,) = tmp_path.glob("results/cache.db.broken-*")
    assert str(aside) in str(caught[0].message)
    assert aside.read_bytes()[:16] == damaged[:16]
    assert cache.statistics().entries == len(array_files(cache)) == len(NAMES)
    assert cache.statistics().status == KEPT


@pytest.mark.parametrize("lose", [lambda path: os.truncate(path, 0), os.unlink], ids=["emptied", "deleted"])
@pytest.mark.parametrize("restart", [False, True], ids=["running", "restarted"])
def test_database_cut_to_nothing_or_gone_is_begun_anew(tmp_path, lose, restart):
    cache = filled(tmp_path)
    lose(cache.folder / "cache.db")
    if restart:
        cache = open_cache(tmp_path)
    assert value_of(cache.get_or_compute("k", lambda: result(1))) == 1
    assert value_of(cache.get("k")) == 1
    assert cache.statistics().entries == len(array_files(cache)) == 1


def test_damage_anywhere_in_the_database_serves_nothing_wrong(tmp_path):
    """One byte changes, in the database of a running cache, at sixty places."""
    rng = random.Random(0)
    cache = filled(tmp_path)
    path = cache.folder / "cache.db"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for _ in range(60):
            data = bytearray(path.read_bytes())
            data[rng.randrange(rng.choice([100, 4096, len(data)]))] = rng.randrange(256)
            path.write_bytes(data)
            assert_helpful(cache)
            for aside in cache.folder.glob("*.broken-*"):
                aside.unlink()
    assert cache.statistics().status == KEPT


def test_processes_and_threads_that_find_a_damaged_database_together_set_it_aside_once(tmp_path):
    cache = filled(tmp_path)
    damaged = damage_database(cache, header)

    def work(name):
        assert value_of(cache.get_or_compute(name, lambda: result(1))) == 1

    def start():
        warnings.simplefilter("ignore")
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(work, "xyz"))
        assert value_of(open_cache(tmp_path).get_or_compute("k", lambda: result(1))) == 1

    assert [wait_for(pid) for pid in [in_child(start) for _ in range(6)]] == [0] * 6
    assert [aside.read_bytes() for aside in cache.folder.glob("*.broken-*")] == [damaged]
    assert value_of(open_cache(tmp_path).get("k")) == 1


def test_database_of_another_kind_is_set_aside(tmp_path):
    cache = open_cache(tmp_path)
    (cache.folder / "cache.db").unlink()
    execute(cache, "CREATE TABLE entry (file INTEGER PRIMARY KEY, key TEXT UNIQUE)")
    (cache.folder / "0123456789abcdef.safetensors").touch()
    with pytest.warns(RuntimeWarning, match="not a database of this cache"):
        cache = open_cache(tmp_path)
    assert array_files(cache) == []
    assert cache.put("k", *result(1))


# Folders and file systems


def test_folder_deleted_while_open_is_made_anew(tmp_path):
    cache = open_cache(tmp_path / "folder")
    cache.put("k", *result(1))
    shutil.rmtree(tmp_path / "folder")
    assert cache.get("k") is None
    assert cache.put("k", *result(2))
    shutil.rmtree(tmp_path / "folder")
    assert cache.put("k", *result(3))
    assert value_of(cache.get("k")) == 3


@contextmanager
def says_once(reason):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    (warning,) = caught
    assert warning.category is RuntimeWarning
    assert re.search(reason, str(warning.message))


def assert_serves_and_says_so_once(folder, reason):
    with says_once(f"cannot be used: results are not kept .*{reason}"):
        cache = open_cache(folder)
        for value in range(3):
            assert value_of(cache.get_or_compute("k", lambda value=value: result(value))) == value
        cache.clear()
        assert reason in cache.statistics().status
    return cache


def test_folder_that_cannot_be_made_serves_uncached_and_says_so_once(tmp_path):
    (tmp_path / "file").write_text("in the way")
    cache = assert_serves_and_says_so_once(tmp_path / "file", "a part of this path is a file, not a folder")
    (tmp_path / "file").unlink()
    assert value_of(cache.get_or_compute("k", lambda: result(2))) == 2
    assert value_of(cache.get("k")) == 2
    assert cache.statistics().status == KEPT


def test_file_system_without_locks_serves_uncached_and_says_so_once(tmp_path, monkeypatch):
    def fail(descriptor, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    with monkeypatch.context() as patched:
        patched.setattr(fcntl, "flock", fail)
        cache = assert_serves_and_says_so_once(tmp_path, "has no locks; choose a folder on a local disk")
    assert cache.put("k", *result(1))
    assert cache.statistics().status == KEPT


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 16 MB. Where none can be mounted, the simulated full disks further down have to do."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    if mount is None or sys.platform != "linux":
        pytest.skip("mounting a 16 MB tmpfs needs Linux and mount; full disks are only simulated")
    run = subprocess.run([mount, "-t", "tmpfs", "-o", "size=16m", "tmpfs", folder], capture_output=True, check=False)
    if run.returncode != 0:
        pytest.skip(f"cannot mount a 16 MB tmpfs ({run.stderr.decode().strip()}); full disks are only simulated")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("used_before", [False, True])
def test_disk_that_can_only_be_read_serves_uncached_and_says_so_once(small_disk, used_before):
    if used_before:
        open_cache(small_disk).put("k", *result(9))
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert_serves_and_says_so_once(small_disk, "it is on a disk that can only be read")


def test_disk_that_can_only_be_read_from_now_on_serves_uncached(small_disk):
    cache = open_cache(small_disk)
    cache.put("k", *result(9))
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.warns(RuntimeWarning, match="results are not kept"):
        assert value_of(cache.get_or_compute("new", lambda: result(1))) == 1
    assert "cannot be used" in cache.statistics().status
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    assert value_of(cache.get("k")) == 9
    assert cache.put("new", *result(1))
    assert cache.statistics().status == KEPT


# A full disk


def fill(folder):
    """Take all room there is, to the last byte."""
    with (folder / "filler").open("wb", buffering=0) as stream, suppress(OSError):
        while True:
            stream.write(bytes(4096))
    assert shutil.disk_usage(folder).free == 0


@pytest.mark.parametrize("floor", [0, MEGABYTE])
def test_disk_full_at_a_write(small_disk, floor):
    cache = open_cache(small_disk, min_free_bytes=floor)
    cache.put("before", *result(1, 10_000))
    fill(small_disk)
    with says_once(FULL):
        assert value_of(cache.get_or_compute("k", lambda: result(2, 100_000))) == 2
        assert value_of(cache.get_or_compute("k", lambda: result(4, 100_000))) == 4
        assert value_of(cache.get_or_compute("before", lambda: result(1))) == 1
    assert cache.statistics().status == FULL
    (small_disk / "filler").unlink()
    assert value_of(cache.get_or_compute("k", lambda: result(3, 100_000))) == 3
    assert value_of(cache.get("k")) == 3
    assert cache.statistics().status == KEPT
    assert len(array_files(cache)) == cache.statistics().entries


@pytest.mark.parametrize("floor", [0, MEGABYTE])
@pytest.mark.parametrize("used_before", [False, True])
def test_disk_full_at_start(small_disk, floor, used_before):
    if used_before:
        open_cache(small_disk).put("before", *result(1, 10_000))
    fill(small_disk)
    with says_once(FULL):
        cache = open_cache(small_disk, min_free_bytes=floor)
        assert value_of(cache.get_or_compute("k", lambda: result(2, 20_000))) == 2
        assert value_of(cache.get_or_compute("k", lambda: result(3, 20_000))) == 3
    assert cache.statistics().status == FULL
    (small_disk / "filler").unlink()
    assert value_of(cache.get_or_compute("k", lambda: result(4))) == 4
    assert value_of(cache.get("k")) == 4
    assert cache.statistics().status == KEPT


@pytest.mark.parametrize(
    ("n_items", "floor", "n_kept"), [(50_000, 2 * MEGABYTE, (3, 14)), (10, 31 * MEGABYTE // 2 + 100, (10, 128))]
)
def test_cache_that_fills_a_small_disk_keeps_the_newest_and_the_floor(small_disk, n_items, floor, n_kept):
    """With results of 1 MB, and with ones that leave most of their block on the disk empty."""
    cache = open_cache(small_disk, min_free_bytes=floor)
    for value in range(2 * n_kept[1]):
        assert cache.put(str(value), *result(value, n_items))
        assert shutil.disk_usage(small_disk).free >= floor
        assert value_of(cache.get(str(value))) == value
    assert n_kept[0] <= cache.statistics().entries <= n_kept[1]
    assert cache.statistics().status == KEPT


@pytest.mark.parametrize("restart", [False, True])
def test_clear_makes_room_on_a_full_disk(small_disk, restart):
    cache = open_cache(small_disk)
    cache.put("k", *result(1, 50_000))
    fill(small_disk)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        if restart:
            cache = open_cache(small_disk)
        cache.clear()
    assert array_files(cache) == []
    assert cache.put("k", *result(2))
    assert value_of(cache.get("k")) == 2


def test_free_space_below_the_floor_serves_uncached_and_recovers(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    free = 10**9
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10**10, 0, free))
    cache = Cache(tmp_path, min_free_bytes=10**6)
    assert cache.put("before", *result(1, 10_000))
    free = 10**6 - 1
    assert cache.statistics().status == FULL
    assert value_of(cache.get("before")) == 1
    with pytest.warns(RuntimeWarning, match=FULL):
        assert value_of(cache.get_or_compute("k", lambda: result(2))) == 2
    assert cache.get("k") is None
    free = 10**6 + 10**5
    assert value_of(cache.get_or_compute("k", lambda: result(3))) == 3
    assert value_of(cache.get("k")) == 3
    assert cache.statistics().status == KEPT


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_write_that_fails_serves_uncached_and_leaves_nothing(tmp_path, monkeypatch, number):
    cache = open_cache(tmp_path)
    cache.put("before", *result(1))

    def fail(descriptor):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched, says_once("results are not kept"):
        patched.setattr(os, "fsync", fail)
        assert value_of(cache.get_or_compute("k", lambda: result(2))) == 2
        assert value_of(cache.get("before")) == 1
    status = cache.statistics().status
    assert status == FULL if number != errno.EIO else os.strerror(number) in status
    assert len(array_files(cache)) == 1
    assert value_of(cache.get_or_compute("k", lambda: result(3))) == 3
    assert cache.statistics().status == KEPT


# Abuse


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("restart", [False, True], ids=["running", "restarted"])
@pytest.mark.parametrize("planted", ["value", "file", "key", "raw key", "named file", "metadata"])
def test_planted_pickle_is_not_executed(tmp_path, planted, restart):
    fired = tmp_path / "fired"
    bomb = pickle.dumps(Bomb(fired))
    cache = open_cache(tmp_path / "cache")
    cache.put("k", *result(1))
    if planted == "value":
        execute(cache, "UPDATE Cache SET mode = 4, filename = NULL, value = ?", bomb)
    elif planted == "file":
        path = file_of(cache, "k")
        path.write_bytes(bomb)
        execute(cache, "UPDATE Cache SET mode = 4, value = NULL, size = ?", len(bomb))
    elif planted == "key":
        execute(cache, "UPDATE Cache SET key = ?, raw = 0", bomb)
    elif planted == "raw key":
        execute(cache, "UPDATE Cache SET raw = 0")
    elif planted == "named file":
        file_of(cache, "k").write_bytes(bomb)
        execute(cache, "UPDATE Cache SET value = ?, size = ?", len(bomb), len(bomb))
    else:
        data = file_of(cache, "k").read_bytes().replace(b"value", bomb[:5])
        file_of(cache, "k").write_bytes(data)
    if restart:
        cache = open_cache(tmp_path / "cache")
    assert cache.get("k") is None
    assert value_of(cache.get_or_compute("k", lambda: result(2))) == 2
    assert value_of(cache.get("k")) == 2
    cache.clear()
    assert not fired.exists()
    with closing(diskcache.Cache(str(tmp_path / "naive"))) as naive:
        naive["k"] = 0
        naive._sql("UPDATE Cache SET mode = 4, value = ?", (bomb,))
        naive["k"]
    assert fired.exists(), "the bomb is a dud"


@pytest.mark.parametrize("restart", [False, True], ids=["running", "restarted"])
@pytest.mark.parametrize("way", ["up", "absolute", "through a linked folder"])
def test_planted_path_is_neither_read_nor_deleted(tmp_path, way, restart):
    """What it leads to would be accepted, were it read."""
    secret = tmp_path / "secret.safetensors"
    save_arrays(secret, result(1)[0], {"key": "k", "metadata": {"value": 1}})
    cache = open_cache(tmp_path / "cache")
    cache.put("k", *result(2))
    size = secret.stat().st_size
    if way == "through a linked folder":
        (cache.folder / "ab").symlink_to(tmp_path)
    path = {"up": "../../secret.safetensors", "absolute": str(secret)}.get(way, "ab/secret.safetensors")
    assert (cache.folder / path).samefile(secret)
    execute(cache, "UPDATE Cache SET filename = ?, value = ?, size = ?", path, size, size)
    if restart:
        cache = open_cache(tmp_path / "cache")
    assert cache.get("k") is None
    assert value_of(cache.get_or_compute("k", lambda: result(3))) == 3
    cache.clear()
    assert secret.exists()


@pytest.mark.parametrize("restart", [False, True], ids=["running", "restarted"])
def test_planted_link_in_place_of_a_result_is_neither_read_nor_deleted(tmp_path, restart):
    cache = open_cache(tmp_path / "cache")
    cache.put("k", *result(1))
    path = file_of(cache, "k")
    secret = tmp_path / "secret"
    path.rename(secret)
    path.symlink_to(secret)
    if restart:
        cache = open_cache(tmp_path / "cache")
    assert cache.get("k") is None
    cache.clear()
    assert not path.is_symlink()
    assert secret.exists()


@pytest.mark.parametrize("plant", [os.mkfifo, os.mkdir])
def test_planted_fifo_or_folder_in_place_of_a_result_is_a_miss(tmp_path, plant):
    cache = open_cache(tmp_path)
    cache.put("k", *result(1))
    path = file_of(cache, "k")
    path.unlink()
    plant(path)
    assert value_of(cache.get_or_compute("k", lambda: result(2))) == 2
    assert value_of(cache.get("k")) == 2


def test_planted_link_in_place_of_the_database_is_set_aside(tmp_path):
    theirs = open_cache(tmp_path / "theirs")
    theirs.put("k", *result(1))
    mine = open_cache(tmp_path / "mine").folder
    (mine / "cache.db").unlink()
    (mine / "cache.db").symlink_to(theirs.folder / "cache.db")
    shutil.copy(array_files(theirs)[0], mine)
    with pytest.warns(RuntimeWarning, match="not a regular file"):
        cache = open_cache(tmp_path / "mine")
    assert cache.get("k") is None
    cache.clear()
    assert value_of(theirs.get("k")) == 1


def test_planted_link_in_place_of_the_folder_is_not_used(tmp_path):
    theirs = open_cache(tmp_path / "theirs")
    theirs.put("k", *result(1))
    theirs.folder.chmod(0o755)
    before = sorted(theirs.folder.iterdir())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "results").symlink_to(theirs.folder)
    assert_serves_and_says_so_once(tmp_path / "mine", "no link")
    assert theirs.folder.stat().st_mode & 0o777 == 0o755
    assert sorted(theirs.folder.iterdir()) == before


def test_planted_link_in_place_of_the_lock_is_not_followed(tmp_path):
    cache = open_cache(tmp_path)
    (cache.folder / "start.lock").unlink()
    (cache.folder / "start.lock").symlink_to(tmp_path / "target")
    with pytest.warns(RuntimeWarning, match="results are not kept"):
        assert value_of(open_cache(tmp_path).get_or_compute("k", lambda: result(1))) == 1
    assert not (tmp_path / "target").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_folder_of_another_user_is_not_used(tmp_path):
    cache = open_cache(tmp_path)
    cache.put("k", *result(1))
    os.chown(cache.folder, 12345, 12345)
    assert_serves_and_says_so_once(tmp_path, "this user's")


def test_disk_refuses_what_is_no_text_and_no_bytes(tmp_path):
    disk = database.FilesOnly(str(tmp_path))
    for key in (b"k", 1, 1.5, ("k",), None):
        with pytest.raises(TypeError, match="a key must be a str"):
            disk.put(key)
    for value in ("text", 1, None, [b"x"], np.zeros(3)):
        with pytest.raises(TypeError, match="a value must be bytes"):
            disk.store(value, False)
    assert list(tmp_path.iterdir()) == []
    for mode, name, value in ((4, None, b""), (1, None, b"x"), (3, "0123456789abcdef.safetensors", 3)):
        assert disk.fetch(mode, name, value, False) is None
    with pytest.raises(sqlite3.DatabaseError, match="no text"):
        disk.get(b"k", 0)
