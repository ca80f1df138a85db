import os
import pickle
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest

from corrcore.store import Cache
from tests.store.results import (
    KEPT,
    array_files,
    execute,
    in_child,
    open_cache,
    result,
    size_of,
    value_of,
    wait_for,
)

# What goes in comes out


def test_result_is_there_for_another_object_and_after_a_new_start(tmp_path):
    first, second = open_cache(tmp_path), open_cache(tmp_path)
    assert first.put("k", *result(1))
    assert value_of(second.get("k")) == 1
    assert second.put("k", *result(2))
    assert value_of(first.get("k")) == 2
    assert len(array_files(first)) == 1
    assert value_of(open_cache(tmp_path).get("k")) == 2


def test_unknown_key_is_a_miss(tmp_path):
    assert open_cache(tmp_path).get("k") is None


def test_result_is_computed_once_and_the_same_when_kept(tmp_path):
    calls = []

    def compute():
        calls.append(1)
        return {"x": np.arange(4, dtype=">i4")}, {"shape": (2, 3), "nothing": None, "name": "Würfel"}

    cache = open_cache(tmp_path)
    computed, kept = cache.get_or_compute("k", compute), cache.get_or_compute("k", compute)
    assert len(calls) == 1
    assert computed.metadata == kept.metadata == {"shape": [2, 3], "nothing": None, "name": "Würfel"}
    np.testing.assert_array_equal(computed.arrays["x"], kept.arrays["x"])
    assert computed.arrays["x"].dtype == kept.arrays["x"].dtype
    assert not computed.arrays["x"].flags.writeable
    assert not kept.arrays["x"].flags.writeable


def test_error_of_the_computation_reaches_the_caller_and_nothing_is_kept(tmp_path):
    cache = open_cache(tmp_path)
    with pytest.raises(ZeroDivisionError):
        cache.get_or_compute("k", lambda: 1 // 0)
    assert cache.statistics().entries == 0


def test_what_cannot_be_kept_is_refused(tmp_path):
    cache = open_cache(tmp_path)
    with pytest.raises(TypeError, match="array 'x' must be of bools"):
        cache.put("k", {"x": np.array([object()])}, {})
    with pytest.raises(TypeError, match="metadata must be what JSON can hold"):
        cache.put("k", {}, {"x": {1}})
    for key in ("nul\0in it", "\udcff"):  # which would be taken for damage, were they to reach the database
        with pytest.raises(TypeError, match="key must be a str of printable characters"):
            cache.put(key, {}, {})
        with pytest.raises(TypeError, match="key must be a str of printable characters"):
            cache.get(key)


def test_key_that_looks_like_a_path_is_a_key(tmp_path):
    cache = open_cache(tmp_path / "cache")
    for name in ("../../outside", str(tmp_path / "outside"), "", "x" * 5000, "'; DROP TABLE Cache; --"):
        assert cache.put(name, *result(1))
        assert value_of(cache.get(name)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_statistics_count_entries_bytes_hits_and_misses(tmp_path):
    cache = open_cache(tmp_path)
    cache.put("k", *result(1))
    cache.get("k")
    cache.get("k")
    cache.get("other")
    state = cache.statistics()
    assert (state.entries, state.hits, state.misses, state.status) == (1, 2, 1, KEPT)
    assert state.bytes == sum(path.stat().st_size for path in array_files(cache))


def test_clear_leaves_nothing(tmp_path):
    cache = open_cache(tmp_path)
    for value in range(5):
        cache.put(str(value), *result(value))
    cache.clear()
    assert (cache.statistics().entries, cache.statistics().bytes) == (0, 0)
    assert array_files(cache) == []
    assert cache.get("3") is None


# Where it lies, and how much


def test_folder_is_the_users_alone(tmp_path):
    cache = open_cache(tmp_path / "new" / "folder")
    assert cache.folder.stat().st_mode & 0o777 == 0o700
    cache.folder.chmod(0o777)
    cache.get("k")
    assert cache.folder.stat().st_mode & 0o777 == 0o700


def test_other_files_in_the_folder_are_left_alone(tmp_path):
    mine = tmp_path / "0123456789abcdef.safetensors"
    mine.write_text("a user's file")
    notes = open_cache(tmp_path).folder / "notes.txt"
    notes.write_text("a user's notes")
    open_cache(tmp_path).clear()
    assert mine.exists()
    assert notes.exists()


@pytest.mark.parametrize("limits", [{"max_bytes": -1}, {"min_free_bytes": -1}])
def test_negative_limit_is_refused(tmp_path, limits):
    with pytest.raises(ValueError, match="must be at least 0; got .*-1"):
        Cache(tmp_path, **limits)


def test_least_recently_used_give_way(tmp_path):
    """Ten at a time: of sixteen, those in the order of their last use."""
    cache = open_cache(tmp_path, max_bytes=17 * size_of(10_000))
    for value in range(16):
        assert cache.put(str(value), *result(value, 10_000))
    for value in (0, 3, 9):
        assert value_of(cache.get(str(value))) == value
    for value in range(16, 18):
        assert cache.put(str(value), *result(value, 10_000))
    there = [value for value in range(18) if cache.get(str(value)) is not None]
    assert there == [0, 3, 9, 13, 14, 15, 16, 17]
    assert len(array_files(cache)) == len(there)


def test_size_stays_below_its_limit_with_results_of_any_size(tmp_path):
    cache = open_cache(tmp_path, max_bytes=400_000)
    rng = random.Random(0)
    most = 0
    for value in range(60):
        assert cache.put(str(value), *result(value, n_items=rng.randrange(1, 9000)))
        assert value_of(cache.get(str(value))) == value
        assert sum(path.stat().st_size for path in array_files(cache)) <= 400_000
        most = max(most, cache.statistics().entries)
    assert most > 3


def test_result_larger_than_the_cache_is_served_and_named(tmp_path):
    cache = open_cache(tmp_path, max_bytes=5000)
    cache.put("small", *result(1, n_items=10))
    assert value_of(cache.get_or_compute("large", lambda: result(2))) == 2
    assert cache.get("large") is None
    assert "is not kept: the cache may hold 5000" in cache.statistics().status
    assert value_of(cache.get("small")) == 1


def test_planted_settings_do_not_matter(tmp_path):
    """Names that diskcache would take for its own settings, attributes and folder, and a count of bytes that is
    none.
    """
    cache = open_cache(tmp_path / "cache", max_bytes=300_000)
    cache.put("0", *result(0, 2000))
    elsewhere = tmp_path / "elsewhere"
    planted = {
        "size_limit": 10**12, "eviction_policy": "none", "cull_limit": -1, "statistics": 1, "disk_min_file_size": 10**9,
        "disk_pickle_protocol": 5, "disk_directory": str(elsewhere), "sqlite_writable_schema": "ON", "_timeout": 10**6,
        "_directory": str(elsewhere), "transact": "text", "size": -(10**12), "count": "many",
    }  # fmt: skip
    for name, value in planted.items():
        execute(cache, "INSERT OR REPLACE INTO Settings VALUES (?, ?)", name, value)
    cache = open_cache(tmp_path / "cache", max_bytes=300_000)
    assert value_of(cache.get("0")) == 0
    assert (cache.statistics().entries, cache.statistics().bytes) == (1, array_files(cache)[0].stat().st_size)
    for value in range(40):
        assert cache.put(str(value), *result(value, 2000))
        assert value_of(cache.get(str(value))) == value
    assert 0 < sum(path.stat().st_size for path in array_files(cache)) <= 300_000
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


# Several processes and threads


def test_readers_and_writers_in_processes_and_threads_see_whole_results(tmp_path):
    """Four processes, two of them in three threads, replace, read, evict and clear the same three keys."""
    cache = open_cache(tmp_path, max_bytes=2 * size_of(10_000) + 100_000)  # the third always evicts others
    deadline = time.monotonic() + 30

    def work(seed):
        rng = random.Random(seed)
        n_read = n_written = 0
        while min(n_read, 3 * n_written) < 12:
            assert time.monotonic() < deadline
            name = rng.choice("xyz")
            action = rng.random()
            if action < 0.2:
                n_written += cache.put(name, *result(rng.randrange(1000), 10_000))
            elif action < 0.21:
                cache.clear()
            elif (entry := cache.get(name)) is not None:
                value_of(entry)
                n_read += 1
        status = cache.statistics().status
        assert status == KEPT or "locked" in status  # on a busy machine one may wait for too long

    def work_in_threads(seed):
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(work, [seed, seed + 1, seed + 2]))

    children = [in_child(partial(task, seed)) for task, seed in [(work, 0), (work, 1), (work_in_threads, 10)]]
    work_in_threads(20)
    assert [wait_for(pid) for pid in children] == [0, 0, 0]
    cache = open_cache(tmp_path)
    assert len(array_files(cache)) == cache.statistics().entries


def test_object_can_be_sent_to_another_interpreter(tmp_path):
    cache = open_cache(tmp_path, max_bytes=10**6)
    cache.put("k", *result(5))
    code = "import pickle, sys; print(pickle.load(sys.stdin.buffer).get('k').metadata)"
    found = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(cache), capture_output=True, check=True)
    assert found.stdout.decode().strip() == str(cache.get("k").metadata)


def test_object_is_unpickled_without_a_look_at_the_disk(tmp_path):
    cache = open_cache(tmp_path / "folder", max_bytes=10**6)
    cache.put("k", *result(5))
    pickled = pickle.dumps(cache)
    shutil.rmtree(tmp_path / "folder")
    (tmp_path / "folder").touch()
    again = pickle.loads(pickled)
    (tmp_path / "folder").unlink()
    assert (again.folder, again.max_bytes) == (cache.folder, 10**6)
    assert again.put("k", *result(6))


def test_forks_do_not_disturb_their_parent(tmp_path):
    cache = open_cache(tmp_path)
    cache.put("k", *result(1))

    def work():
        assert value_of(cache.get("k")) == 1
        assert cache.put("child", *result(2))

    assert [wait_for(in_child(work)) for _ in range(3)] == [0, 0, 0]
    assert value_of(cache.get("child")) == 2
    assert cache.put("k", *result(3))
    assert value_of(cache.get("k")) == 3


def test_nothing_stays_open_between_calls(tmp_path):
    cache = open_cache(tmp_path)
    cache.put("k", *result(1))
    cache.get("k")
    shutil.copytree(cache.folder, tmp_path / "copy" / "results")
    assert value_of(open_cache(tmp_path / "copy").get("k")) == 1
    if os.path.isdir("/proc/self/fd"):
        told = subprocess.run(["ls", "-l", f"/proc/{os.getpid()}/fd"], capture_output=True, text=True).stdout
        assert str(tmp_path) not in told


def test_start_leaves_alone_what_another_process_is_writing(tmp_path):
    def write():
        cache = open_cache(tmp_path)
        os.fsync = lambda descriptor: time.sleep(0.005)  # a disk that takes its time
        for value in range(40):
            assert cache.put(str(value), *result(value))
            assert value_of(cache.get(str(value))) == value

    pid = in_child(write)
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        open_cache(tmp_path)
    assert wait_for(pid) == 0
    assert open_cache(tmp_path).statistics().entries == 40


def test_held_lock_costs_a_wait_and_then_serves_uncached(tmp_path):
    cache = open_cache(tmp_path, lock_timeout_s=0.05)
    cache.put("k", *result(1))

    def hold():
        holder = sqlite3.connect(cache.folder / "cache.db", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        os.write(begun, b".")
        time.sleep(60)

    beginning, begun = os.pipe()
    pid = in_child(hold)
    os.read(beginning, 1)
    started = time.monotonic()
    assert value_of(cache.get_or_compute("x", lambda: result(2))) == 2
    assert not cache.put("x", *result(2))
    assert time.monotonic() - started < 5
    assert "is locked by another process: results are not kept" in cache.statistics().status
    os.kill(pid, 9)
    assert wait_for(pid) == -9
    assert cache.put("x", *result(2))
    assert cache.statistics().status == KEPT
    assert value_of(cache.get("k")) == 1
    os.close(beginning)
    os.close(begun)
