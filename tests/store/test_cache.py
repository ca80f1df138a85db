import errno
import hashlib
import itertools
import os
import pickle
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from corrcore.store import Cache, default_folder, key
from corrcore.store import cache as cache_module

FULL = "disk is full: results are not kept"
KEPT = "results are kept"
MEGABYTE = 1 << 20


@pytest.fixture
def tmp_path(tmp_path):
    """In memory where there is room: nothing here depends on the disk, whose syncs would take most of the time."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or shutil.disk_usage(memory).free < 60 * MEGABYTE:
        yield tmp_path
    else:
        with tempfile.TemporaryDirectory(dir=memory) as folder:
            yield Path(folder)


def open_cache(folder, **options):
    """A cache that does not mind how full the disk of the tests is."""
    return Cache(folder, **{"min_free_bytes": 0, **options})


def result(value, n_items=1000):
    """A result that shows whether it is whole, and whose."""
    return {"a": np.full(n_items, value, np.int64), "b": np.full((n_items, 3), value, np.float32)}, {"value": value}


def value_of(entry):
    """The value an entry was made of; fails for an entry that is not of one piece."""
    value = entry.metadata["value"]
    assert (entry.arrays["a"] == value).all()
    assert (entry.arrays["b"] == value).all()
    return value


def array_files(cache):
    return sorted(cache.folder.glob("*.safetensors"))


def file_of(cache, name):
    """The path of the file that holds a key's result, by the database."""
    with closing(sqlite3.connect(cache.folder / "cache.db")) as connection:
        (number,) = connection.execute("SELECT file FROM entry WHERE key = ?", (name,)).fetchone()
    return cache.folder / f"{number:016x}.safetensors"


def execute(cache, statement, *parameters):
    with closing(sqlite3.connect(cache.folder / "cache.db")) as connection, connection:
        connection.execute(statement, parameters)


def in_child(work):
    """Run ``work`` in a fork of this process, and return the child's process id."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 and later warn of forks among threads
        pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    return pid


def wait_for(pid):
    """0 for a child that ended well."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


# Keys


def test_key_is_the_digest_it_always_was():
    """Were it to change, or differ between processes, every result kept before would be lost."""
    pixels = hashlib.sha256(bytes(range(6))).hexdigest()
    text = (
        '{"image": {"array": ["dtype(\'uint8\')", [2, 3], "'
        + pixels
        + '"]}, "k": 5, "options": {"mapping": {"scale": 0.5}}}'
    )
    made = key(options={"scale": 0.5}, k=5, image=np.arange(6, dtype=np.uint8).reshape(2, 3))
    assert made == hashlib.sha256(text.encode()).hexdigest()


def test_key_does_not_depend_on_order():
    assert key(a=1, b={"x": 1, "y": 2}) == key(b={"y": 2, "x": 1}, a=1)
    assert key(a=(1, (2, 3))) == key(a=[1, [2, 3]])
    assert key(a=np.arange(12).reshape(3, 4).T) == key(a=np.arange(12).reshape(3, 4).T.copy())


def test_key_tells_different_parts_apart():
    zeros = np.zeros(4, np.float32)
    parts = [None, False, 0, 0.0, "0", "", "None", b"", b"0", [], [0], [[0]], {}, {"0": 0}, {"0": None}, float("nan")]
    parts += [zeros, zeros.reshape(2, 2), zeros.astype(np.int32), zeros.astype(np.float64), zeros[:3], zeros + 1]
    parts += [zeros.tobytes(), np.float32(0), np.int64(0), np.array("0"), np.array(0, "M8[s]"), np.array(0, "M8[D]")]
    parts += [
        hashlib.sha256(b"0").hexdigest(),
        {"array": [0]},
        {"array": 0},
        {"bytes": "0"},
        {"mapping": {"0": 0}},
        [{"0": 0}],
        ["array", 0],
    ]
    assert len({key(part=part) for part in parts} | {key(other=0), key()}) == len(parts) + 2


@pytest.mark.parametrize(
    ("part", "named"),
    [
        (object(), "part must be"),
        ({1, 2}, "set"),
        (Path("a"), "Path"),
        (1j, "complex"),
        ([0, {"x": {2}}], r"part\[1\]\['x'\]"),
        ({1: 2}, "dict"),
        (np.array([object()]), "ndarray"),
        (lambda: 0, "function"),
    ],
)
def test_key_refuses_what_it_cannot_digest(part, named):
    with pytest.raises(TypeError, match=named):
        key(part=part)


# What goes in comes out


@pytest.mark.parametrize(
    "dtype", ["?", "i1", "u1", "<i2", ">u2", "i4", "u4", "i8", "u8", "f2", "f4", ">f4", "f8", "c8"]
)
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (5,), (2, 3, 4)], ids=str)
def test_array_comes_back_as_it_was_read_only(tmp_path, dtype, shape):
    array = np.asarray(np.random.default_rng(0).random(shape) * 9, dtype)
    cache = open_cache(tmp_path)
    assert cache.put("k", {"x": array, "aside": np.zeros(3, np.uint8)}, {})
    back = cache.get("k").arrays["x"]
    assert back.dtype == array.dtype.newbyteorder("=")
    assert back.shape == shape
    np.testing.assert_array_equal(back, array)
    with pytest.raises(ValueError, match="read-only"):
        back[...] = 0
    with pytest.raises(ValueError, match="WRITEABLE"):
        back.setflags(write=True)


def test_strided_and_fortran_arrays_come_back_the_same(tmp_path):
    array = np.arange(24).reshape(4, 6)
    cache = open_cache(tmp_path)
    cache.put("k", {"transposed": array.T, "every_second": array[::2, ::-2], "fortran": np.asfortranarray(array)}, {})
    back = cache.get("k").arrays
    np.testing.assert_array_equal(back["transposed"], array.T)
    np.testing.assert_array_equal(back["every_second"], array[::2, ::-2])
    np.testing.assert_array_equal(back["fortran"], array)


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


def test_error_of_the_computation_reaches_the_caller_and_nothing_is_kept(tmp_path):
    cache = open_cache(tmp_path)
    with pytest.raises(ZeroDivisionError):
        cache.get_or_compute("k", lambda: 1 // 0)
    assert cache.statistics().entries == 0


@pytest.mark.parametrize("array", [np.array(["text"]), np.array([object()]), np.zeros(2, "c16"), np.zeros(2, "i4,f4")])
def test_array_of_a_type_that_cannot_be_kept_is_refused(tmp_path, array):
    with pytest.raises(TypeError, match="array 'x' must be of bools, integers, floats or complex64"):
        open_cache(tmp_path).put("k", {"x": array}, {})


@pytest.mark.parametrize("metadata", [{"x": np.zeros(2)}, {"x": {1}}, {"x": [Path()]}])
def test_metadata_that_json_cannot_hold_is_refused(tmp_path, metadata):
    with pytest.raises(TypeError, match="metadata must be what JSON can hold"):
        open_cache(tmp_path).put("k", {}, metadata)


def test_reserved_array_name_is_refused(tmp_path):
    with pytest.raises(ValueError, match="__metadata__"):
        open_cache(tmp_path).put("k", {"__metadata__": np.zeros(1)}, {})


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
    assert cache.statistics().entries == 0
    assert array_files(cache) == []
    assert cache.get("3") is None


# Where it lies, and how much


def test_default_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.delenv("CORRCORE_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert default_folder() == Path("/home/someone/.cache/corrcore")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert default_folder() == Path("/home/someone/.cache/corrcore")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/caches")
    assert default_folder() == Path("/var/caches/corrcore")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert default_folder() == Path("/home/someone/Library/Caches/corrcore")
    monkeypatch.setenv("CORRCORE_CACHE", str(tmp_path))
    assert default_folder() == tmp_path
    assert Cache().folder.parent == tmp_path


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


def test_least_recently_used_gives_way(tmp_path):
    size = len(cache_module._encode("0", *result(0)))
    cache = open_cache(tmp_path, max_bytes=3 * size)
    for value in range(3):
        cache.put(str(value), *result(value))
        time.sleep(0.02)  # the file system's clock ticks every few milliseconds
    cache.get("0")
    time.sleep(0.02)
    cache.put("3", *result(3))
    assert [cache.get(str(value)) is not None for value in range(4)] == [True, False, True, True]
    assert len(array_files(cache)) == 3


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


# Several processes and threads


def test_readers_and_writers_in_processes_and_threads_see_whole_results(tmp_path):
    """Four processes, two of them in three threads, replace, read, evict and clear the same three keys."""
    size = len(cache_module._encode("0", *result(0, 10_000)))
    cache = open_cache(tmp_path, max_bytes=2 * size)  # the third always evicts one
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
    open_cache(tmp_path)
    assert len(array_files(cache)) == cache.statistics().entries


def test_object_can_be_sent_to_another_process(tmp_path):
    cache = open_cache(tmp_path)
    cache.put("k", *result(5))
    code = "import pickle, sys; print(pickle.load(sys.stdin.buffer).get('k').metadata['value'])"
    run = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(cache), capture_output=True, check=True)
    assert run.stdout.split() == [b"5"]


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


# Faults


def assert_sound(folder, names):
    """After a new start: no wrong result, no leftovers. Returns how many results are there."""
    cache = open_cache(folder)
    found = {name: entry for name in names if (entry := cache.get(name)) is not None}
    for name, entry in found.items():
        value_of(entry)
        assert entry.metadata["name"] == name
    files = {path.name for path in cache.folder.iterdir()} - {"cache.db-journal"}  # SQLite's, gone with its next write
    assert files == {"cache.db", "start.lock"} | {file_of(cache, name).name for name in found}
    assert cache.statistics().entries == len(found)
    return len(found)


def named_result(name, value, n_items):
    arrays, metadata = result(value, n_items)
    return arrays, {**metadata, "name": name}


def is_unfinished(folder):
    """Whether a dead writer left a file without a row, or a transaction to roll back."""
    as_it_lies_there = f"file:{folder}/cache.db?mode=ro&immutable=1"
    with closing(sqlite3.connect(as_it_lies_there, uri=True)) as connection:
        (n_rows,) = connection.execute("SELECT count(*) FROM entry").fetchone()
    return len(list(folder.glob("*.safetensors"))) > n_rows or (folder / "cache.db-journal").exists()


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
                cache.put(name, *named_result(name, step, 100_000))
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
    cache = open_cache(tmp_path)
    assert cache.put("x", *result(1))
    assert not (folder / "cache.db-journal").exists()
    assert interrupted >= 5, "the kills hit no write: the test shows nothing"
    assert survivors >= 50, "what was written before is lost"


def test_kill_at_every_line_of_a_write(tmp_path):
    """A writer dies before the first line of a write, before the second, and so on until one gets through."""
    size = len(cache_module._encode("old", *named_result("old", 0, 100)))
    template = open_cache(tmp_path / "template", max_bytes=2 * size)
    template.put("old", *named_result("old", 1, 100))
    template.put("x", *named_result("x", 2, 100))
    for n_lines in itertools.count():
        folder = shutil.copytree(tmp_path / "template", tmp_path / str(n_lines))
        cache = open_cache(folder, max_bytes=2 * size)

        def write(n_lines=n_lines, cache=cache):
            lines = itertools.count()

            def trace(frame, event, argument):
                if frame.f_code.co_filename != cache_module.__file__:
                    return None
                if event == "line" and next(lines) == n_lines:
                    os.kill(os.getpid(), signal.SIGKILL)
                return trace

            sys.settrace(trace)
            cache.put("x", *named_result("x", 3, 100))

        status = wait_for(in_child(write))
        assert assert_sound(folder, ["old", "x"]) >= 1
        if status == 0:
            break
        assert status == -signal.SIGKILL
    assert n_lines > 20
    assert value_of(cache.get("x")) == 3


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
    """Another result's file of the very same size takes its place."""
    path.write_bytes(cache_module._encode("k", *result(99)))


@pytest.mark.parametrize(
    ("damage", "n_times"), [(flip_a_bit, 50), (truncate, 25), (delete, 25), (exchange, 2), (grow, 2)]
)
@pytest.mark.parametrize("restart", [False, True], ids=["running", "restarted"])
def test_damaged_file_is_computed_again(tmp_path, damage, n_times, restart):
    rng = random.Random(0)
    cache = open_cache(tmp_path)
    cache.put("k", *result(0))
    for value in range(1, (n_times // 2 if restart else n_times) + 1):
        damage(file_of(cache, "k"), rng)
        if restart:
            cache = open_cache(tmp_path)
        assert value_of(cache.get_or_compute("k", lambda value=value: result(value))) == value
        assert value_of(cache.get("k")) == value
        assert len(array_files(cache)) == 1


def test_start_forgets_results_whose_file_is_gone(tmp_path):
    cache = filled(tmp_path)
    for path in array_files(cache)[:3]:
        path.unlink()
    assert open_cache(tmp_path).statistics().entries == len(NAMES) - 3


def test_start_leaves_alone_what_another_process_is_writing(tmp_path):
    def write():
        cache = open_cache(tmp_path)
        cache_module.os.fsync = lambda descriptor: time.sleep(0.005)  # a disk that takes its time
        for value in range(40):
            assert cache.put(str(value), *result(value))
            assert value_of(cache.get(str(value))) == value

    pid = in_child(write)
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        open_cache(tmp_path)
    assert wait_for(pid) == 0
    assert open_cache(tmp_path).statistics().entries == 40


def test_result_replaced_while_it_is_looked_up_is_read_anew(tmp_path, monkeypatch):
    cache = open_cache(tmp_path)
    cache.put("k", *result(1))
    load = Cache._load

    def replace_and_load(self, *row):
        if value_of(load(self, *row)) == 1:
            cache.put("k", *result(2))
        return load(self, *row)

    monkeypatch.setattr(Cache, "_load", replace_and_load)
    assert value_of(cache.get("k")) == 2


def test_rows_that_point_to_each_others_file_serve_nothing(tmp_path):
    """What a damaged index of the database may do: the file found is whole, but another key's."""
    cache = open_cache(tmp_path)
    cache.put("x", *result(1))
    cache.put("y", *result(2))
    execute(cache, "DELETE FROM entry WHERE key = 'x'")
    execute(cache, "UPDATE entry SET key = 'x'")
    assert cache.get("x") is None


def header(data, rng):
    data[:100] = bytes(rng.randrange(256) for _ in range(100))


def middle(data, rng):
    start = len(data) // 2
    data[start - 2048 : start + 2048] = bytes(rng.randrange(256) for _ in range(4096))


def zeroed(data, rng):
    data[:] = bytes(len(data))


def truncated(data, rng):
    del data[len(data) // 2 :]


def cut_within_its_header(data, rng):
    del data[50:]


def text(data, rng):
    data[:] = b"This is no database."


DATABASE_DAMAGES = [header, middle, zeroed, truncated, cut_within_its_header, text]


def damage_database(cache, damage):
    path = cache.folder / "cache.db"
    data = bytearray(path.read_bytes())
    damage(data, random.Random(0))
    path.write_bytes(data)
    return bytes(data)


NAMES = [f"{value}" * 1500 for value in range(9)]  # so long that they take many pages of the database


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


@pytest.mark.parametrize("damage", DATABASE_DAMAGES)
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


def test_database_cut_to_nothing_or_gone_is_begun_anew(tmp_path):
    for lose in (lambda path: os.truncate(path, 0), os.unlink):
        for restart in (False, True):
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


def test_processes_and_threads_that_find_a_damaged_database_together_set_it_aside_once(tmp_path, monkeypatch):
    cache = filled(tmp_path)
    damaged = damage_database(cache, header)
    reconcile = Cache._reconcile

    def reconcile_or_hesitate(self):
        try:
            reconcile(self)
        except sqlite3.Error:
            time.sleep(0.05)  # so that the others find it too, before it is set aside
            raise

    monkeypatch.setattr(Cache, "_reconcile", reconcile_or_hesitate)

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


def test_folder_deleted_while_open_is_made_anew(tmp_path):
    cache = open_cache(tmp_path / "folder")
    cache.put("k", *result(1))
    shutil.rmtree(tmp_path / "folder")
    assert cache.get("k") is None
    assert cache.put("k", *result(2))
    shutil.rmtree(tmp_path / "folder")
    assert cache.put("k", *result(3))
    assert value_of(cache.get("k")) == 3


def test_folder_that_cannot_be_made_serves_uncached_and_says_so(tmp_path):
    (tmp_path / "file").write_text("in the way")
    cache = open_cache(tmp_path / "file")
    assert value_of(cache.get_or_compute("k", lambda: result(1))) == 1
    assert "cannot be used: results are not kept" in cache.statistics().status
    (tmp_path / "file").unlink()
    assert value_of(cache.get_or_compute("k", lambda: result(2))) == 2
    assert value_of(cache.get("k")) == 2
    assert cache.statistics().status == KEPT


def test_held_lock_costs_a_write_not_a_read(tmp_path, monkeypatch):
    cache = open_cache(tmp_path)
    cache.put("k", *result(1))
    cache.put("damaged", *result(1))
    file_of(cache, "damaged").unlink()
    holder = sqlite3.connect(cache.folder / "cache.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    begun = time.monotonic()
    assert value_of(cache.get("k")) == 1
    assert cache.get("damaged") is None
    assert time.monotonic() - begun < 5  # a write waits for ten seconds
    assert cache.statistics().status == KEPT
    connect = Cache._connect
    monkeypatch.setattr(Cache, "_connect", lambda self, timeout=10.0: connect(self, timeout / 100))
    assert value_of(cache.get_or_compute("x", lambda: result(2))) == 2
    assert "locked" in cache.statistics().status
    holder.close()
    assert cache.put("x", *result(2))
    assert cache.statistics().status == KEPT


# A full disk


def fill(folder):
    """Take all room there is, to the last byte."""
    with (folder / "filler").open("wb", buffering=0) as stream, suppress(OSError):
        while True:
            stream.write(bytes(4096))
    assert shutil.disk_usage(folder).free == 0


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


@pytest.mark.parametrize("floor", [0, MEGABYTE])
def test_disk_full_at_a_write(small_disk, floor):
    cache = open_cache(small_disk, min_free_bytes=floor)
    cache.put("before", *result(1, 10_000))
    fill(small_disk)
    assert value_of(cache.get("before")) == 1
    assert value_of(cache.get_or_compute("k", lambda: result(2, 100_000))) == 2
    assert cache.statistics().status == FULL
    assert cache.get("k") is None
    assert value_of(cache.get("before")) == 1
    (small_disk / "filler").unlink()
    assert value_of(cache.get_or_compute("k", lambda: result(3, 100_000))) == 3
    assert value_of(cache.get("k")) == 3
    assert cache.statistics().status == KEPT
    assert len(array_files(cache)) == 2


@pytest.mark.parametrize("floor", [0, MEGABYTE])
@pytest.mark.parametrize("used_before", [False, True])
def test_disk_full_at_start(small_disk, floor, used_before):
    if used_before:
        open_cache(small_disk).put("before", *result(1, 10_000))
    fill(small_disk)
    cache = open_cache(small_disk, min_free_bytes=floor)
    assert value_of(cache.get_or_compute("k", lambda: result(2, 20_000))) == 2
    assert value_of(cache.get_or_compute("k", lambda: result(3, 20_000))) == 3
    assert cache.statistics().status == FULL
    cache.clear()
    (small_disk / "filler").unlink()
    assert value_of(cache.get_or_compute("k", lambda: result(4))) == 4
    assert value_of(cache.get("k")) == 4
    assert cache.statistics().status == KEPT


@pytest.mark.parametrize(
    ("n_items", "floor", "n_kept"), [(50_000, 2 * MEGABYTE, (10, 14)), (10, 31 * MEGABYTE // 2 + 100, (20, 128))]
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


def test_clear_makes_room_on_a_full_disk(small_disk):
    cache = open_cache(small_disk)
    cache.put("k", *result(1, 50_000))
    fill(small_disk)
    cache.clear()
    assert array_files(cache) == []
    assert cache.put("k", *result(2))
    assert value_of(cache.get("k")) == 2


def test_free_space_below_the_floor_serves_uncached_and_recovers(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    free = 10**9
    monkeypatch.setattr(cache_module.shutil, "disk_usage", lambda folder: usage(10**10, 0, free))
    cache = Cache(tmp_path, min_free_bytes=10**6)
    assert cache.put("before", *result(1, 10_000))  # more than enough to give way to the next, which it must not
    free = 10**6 - 1
    assert cache.statistics().status == FULL
    assert value_of(cache.get("before")) == 1
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

    with monkeypatch.context() as patched:
        patched.setattr(cache_module.os, "fsync", fail)
        assert value_of(cache.get_or_compute("k", lambda: result(2))) == 2
        assert value_of(cache.get("before")) == 1
    status = cache.statistics().status
    assert status == FULL if number != errno.EIO else os.strerror(number) in status
    assert len(array_files(cache)) == 1
    assert value_of(cache.get_or_compute("k", lambda: result(3))) == 3
    assert cache.statistics().status == KEPT


def test_database_without_room_serves_uncached_and_says_so(tmp_path, monkeypatch):
    cache = filled(tmp_path)
    connect = Cache._connect

    def connect_without_room(self, timeout=10.0):
        connection = connect(self, timeout)
        (n_pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {n_pages}")
        return connection

    with monkeypatch.context() as patched:
        patched.setattr(Cache, "_connect", connect_without_room)
        kept = [cache.put(f"{value} {NAMES[0]}", {}, {}) for value in range(20)]
        assert not any(kept[3:])
        assert cache.statistics().status == FULL
        assert len(array_files(cache)) == len(NAMES) + sum(kept)
    assert cache.put("k", *result(1))
    assert cache.statistics().status == KEPT


# Abuse


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_planted_pickle_is_not_executed(tmp_path):
    """In each column of a row, as the file with all it takes to be accepted, and as metadata."""
    fired = tmp_path / "fired"
    bomb = pickle.dumps(Bomb(fired))
    cache = open_cache(tmp_path / "cache")

    def refused(statement, *parameters):
        execute(cache, statement, *parameters)
        for again in (cache, open_cache(tmp_path / "cache")):
            assert value_of(again.get_or_compute("k", lambda: result(2))) == 2
        cache.statistics()

    for column in ("bytes", "checksum"):
        cache.put("k", *result(1))
        refused(f"UPDATE entry SET {column} = ?", bomb)
    cache.put("k", *result(1))
    refused("UPDATE entry SET key = ?", bomb)
    for planted in (bomb, cache_module._encode("k", {}, {}).replace(b"{}", bomb[:2]), b"\x80\0\0\0\0\0\0\0" + bomb):
        cache.put("k", *result(1))
        file_of(cache, "k").write_bytes(planted)
        refused("UPDATE entry SET bytes = ?, checksum = ?", len(planted), cache_module.zlib.crc32(planted))
    assert not fired.exists()
    pickle.loads(bomb)
    assert fired.exists(), "the bomb is a dud"


def of_safetensors(header, size=8):
    text = header.encode()
    return len(text).to_bytes(8, "little") + text + bytes(size)


RECORD = '"__metadata__": {"key": "k", "metadata": "{}"}'
NESTED = "[" * 100_000
NONSENSE = {
    "empty": b"",
    "short": b"\x01",
    "header longer than the file": b"\xff" * 64,
    "no UTF-8": b"\x02\0\0\0\0\0\0\0\xff\xff",
    "no JSON": of_safetensors("{"),
    "no mapping": of_safetensors("[]"),
    "no metadata": of_safetensors("{}"),
    "metadata of another kind": of_safetensors('{"__metadata__": 1}'),
    "no key": of_safetensors('{"__metadata__": {"metadata": "{}"}}'),
    "array of another kind": of_safetensors('{"x": 1, ' + RECORD + "}"),
    "objects": of_safetensors('{"x": {"dtype": "O", "shape": [1], "data_offsets": [0, 8]}, ' + RECORD + "}"),
    "beyond the end": of_safetensors('{"x": {"dtype": "F64", "shape": [2], "data_offsets": [0, 16]}, ' + RECORD + "}"),
    "negative": of_safetensors('{"x": {"dtype": "F64", "shape": [-2], "data_offsets": [0, 8]}, ' + RECORD + "}"),
    "huge": of_safetensors('{"x": {"dtype": "F64", "shape": [1e99], "data_offsets": [0, 8]}, ' + RECORD + "}"),
    "huge integer": of_safetensors(
        '{"x": {"dtype": "F64", "shape": [1' + "0" * 99 + '], "data_offsets": [0, 8]}, ' + RECORD + "}"
    ),
    "no offsets": of_safetensors('{"x": {"dtype": "F64", "shape": [1], "data_offsets": []}, ' + RECORD + "}"),
    "nested": of_safetensors(NESTED),
    "nested metadata": of_safetensors('{"__metadata__": {"key": "k", "metadata": "' + NESTED + '"}}'),
    "metadata that is none": of_safetensors('{"__metadata__": {"key": "k", "metadata": "3"}}'),
}


@pytest.mark.parametrize("planted", NONSENSE.values(), ids=NONSENSE)
def test_planted_nonsense_of_the_right_checksum_is_a_miss(tmp_path, planted):
    cache = open_cache(tmp_path)
    cache.put("k", *result(1))
    file_of(cache, "k").write_bytes(planted)
    execute(cache, "UPDATE entry SET bytes = ?, checksum = ?", len(planted), cache_module.zlib.crc32(planted))
    assert value_of(cache.get_or_compute("k", lambda: result(2))) == 2
    assert value_of(cache.get("k")) == 2
    assert len(array_files(cache)) == 1


def test_planted_database_of_another_kind_is_not_used(tmp_path):
    """As diskcache lays it out, with a pickle for a value, paths for files, and a trigger."""
    fired = tmp_path / "fired"
    secret = tmp_path / "secret.safetensors"
    secret.write_bytes(cache_module._encode("k", *result(1)))
    cache = open_cache(tmp_path / "cache")
    (cache.folder / "cache.db").unlink()
    execute(cache, "CREATE TABLE Settings (key TEXT NOT NULL UNIQUE, value)")
    execute(cache, "CREATE TABLE Cache (key BLOB, mode INTEGER, filename TEXT, value BLOB)")
    execute(cache, "INSERT INTO Cache VALUES ('k', 4, NULL, ?)", pickle.dumps(Bomb(fired)))
    execute(cache, "INSERT INTO Cache VALUES ('k', 2, ?, NULL)", str(secret))
    with pytest.warns(RuntimeWarning, match="not a database of this cache"):
        cache = open_cache(tmp_path / "cache")
    assert value_of(cache.get_or_compute("k", lambda: result(2))) == 2
    assert not fired.exists()
    assert secret.exists()


@pytest.mark.parametrize("named", ["../../secret.safetensors", "absolute"])
def test_planted_path_is_not_read(tmp_path, named):
    """A column of file names in place of file numbers: what it points to would be accepted, were it read."""
    secret = tmp_path / "secret.safetensors"
    data = cache_module._encode("k", *result(1))
    secret.write_bytes(data)
    cache = open_cache(tmp_path / "cache")
    path = str(secret) if named == "absolute" else named
    assert (cache.folder / path).samefile(secret)
    with pytest.raises(sqlite3.IntegrityError, match="mismatch"):
        execute(cache, "INSERT INTO entry VALUES (?, 'k', ?, ?)", path, len(data), cache_module.zlib.crc32(data))
    (cache.folder / "cache.db").unlink()
    execute(cache, "CREATE TABLE entry (file TEXT PRIMARY KEY, key TEXT UNIQUE, bytes INTEGER, checksum INTEGER)")
    execute(cache, "INSERT INTO entry VALUES (?, 'k', ?, ?)", path, len(data), cache_module.zlib.crc32(data))
    with pytest.warns(RuntimeWarning, match="not a database of this cache"):
        cache = open_cache(tmp_path / "cache")
    assert cache.get("k") is None
    cache.clear()
    assert secret.read_bytes() == data


def test_key_that_looks_like_a_path_is_a_key(tmp_path):
    cache = open_cache(tmp_path / "cache")
    for name in ("../../outside", str(tmp_path / "outside"), "nul\0in it", "", "x" * 5000, "'; DROP TABLE entry; --"):
        assert cache.put(name, *result(1))
        assert value_of(cache.get(name)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


@pytest.mark.parametrize("restart", [False, True], ids=["running", "restarted"])
@pytest.mark.parametrize("plant", [os.symlink, os.link])
def test_planted_link_in_place_of_a_result(tmp_path, plant, restart):
    """A symbolic link is not read, though it leads to what would be accepted, and what it leads to is left alone."""
    cache = open_cache(tmp_path / "cache")
    cache.put("k", *result(1))
    path = file_of(cache, "k")
    secret = tmp_path / "secret"
    path.rename(secret)
    plant(secret, path)
    if restart:
        cache = open_cache(tmp_path / "cache")
    if plant is os.symlink:
        assert cache.get("k") is None
    cache.clear()
    assert not path.exists()
    assert secret.exists()


@pytest.mark.parametrize("plant", [os.mkfifo, os.mkdir])
@pytest.mark.parametrize("claimed", ["as it was", "empty"])
def test_planted_fifo_or_folder_in_place_of_a_result_is_a_miss(tmp_path, plant, claimed):
    cache = open_cache(tmp_path)
    cache.put("k", *result(1))
    path = file_of(cache, "k")
    path.unlink()
    plant(path)
    if claimed == "empty":
        execute(cache, "UPDATE entry SET bytes = 0, checksum = 0")
    writer = os.open(path, os.O_RDWR) if claimed == "empty" and plant is os.mkfifo else None
    assert value_of(cache.get_or_compute("k", lambda: result(2))) == 2
    assert value_of(cache.get("k")) == 2
    if writer is not None:
        os.close(writer)


def test_planted_link_in_place_of_the_database_is_set_aside(tmp_path):
    theirs = open_cache(tmp_path / "theirs")
    theirs.put("k", *result(1))
    cache = open_cache(tmp_path / "mine")
    (cache.folder / "cache.db").unlink()
    (cache.folder / "cache.db").symlink_to(theirs.folder / "cache.db")
    shutil.copy(array_files(theirs)[0], cache.folder)
    with pytest.warns(RuntimeWarning, match="not a regular file"):
        assert cache.get("k") is None
    cache.clear()
    assert value_of(theirs.get("k")) == 1


@pytest.mark.parametrize("theirs_is_a_cache", [False, True])
def test_planted_link_in_place_of_the_folder_is_not_used(tmp_path, theirs_is_a_cache):
    theirs = tmp_path / "theirs" / "results"
    theirs.mkdir(parents=True)
    if theirs_is_a_cache:
        open_cache(tmp_path / "theirs").put("k", *result(1))
    theirs.chmod(0o755)
    before = sorted(theirs.iterdir())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "results").symlink_to(theirs)
    cache = open_cache(tmp_path / "mine")
    assert value_of(cache.get_or_compute("k", lambda: result(2))) == 2
    assert "no link" in cache.statistics().status
    cache.clear()
    assert theirs.stat().st_mode & 0o777 == 0o755
    assert sorted(theirs.iterdir()) == before


def test_planted_link_in_place_of_the_lock_is_not_followed(tmp_path):
    cache = open_cache(tmp_path)
    (cache.folder / "start.lock").unlink()
    (cache.folder / "start.lock").symlink_to(tmp_path / "target")
    assert value_of(open_cache(tmp_path).get_or_compute("k", lambda: result(1))) == 1
    assert not (tmp_path / "target").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_folder_of_another_user_is_not_used(tmp_path):
    cache = open_cache(tmp_path)
    cache.put("k", *result(1))
    os.chown(cache.folder, 12345, 12345)
    assert value_of(cache.get_or_compute("k", lambda: result(2))) == 2
    assert "this user's" in cache.statistics().status
