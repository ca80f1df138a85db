import numpy as np
import pytest

from corrcore.store import Bundle, Cache, key, write_bundle
from corrcore.store.cache import key_in


@pytest.fixture
def kept(tmp_path):
    """A result's key, and a cache's file of it."""
    name = key(task="test", number=1)
    cache = Cache(tmp_path / "first")
    cache.put(name, {"values": np.arange(5)}, {"about": "numbers"})
    files = [each for each in cache.folder.rglob("*") if each.is_file() and each.suffix != ".db"]
    return name, next(each.read_bytes() for each in files if each.stat().st_size)


def test_what_a_bundle_holds_comes_back_whole(tmp_path):
    contents = {key(number=number): bytes([number]) * 1000 for number in range(3)}
    write_bundle(tmp_path / "bundle.zip", contents)
    bundle = Bundle(tmp_path / "bundle.zip")
    assert {name: bundle.get(name) for name in bundle.keys()} == contents  # noqa: SIM118 - a bundle is no mapping
    assert bundle.get(key(number=3)) is None


def test_the_same_results_give_the_same_file(tmp_path):
    one, two = {"a": b"1", "b": b"2"}, {"b": b"2", "a": b"1"}
    for name, contents in (("one", one), ("two", two)):
        write_bundle(tmp_path / name, contents)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize("harm", ["missing", "empty", "cut", "turned"])
def test_a_bundle_that_is_not_whole_is_empty_or_gives_what_is(tmp_path, harm, kept):
    name, data = kept
    path = tmp_path / "bundle.zip"
    write_bundle(path, {name: data})
    whole = path.read_bytes()
    middle = len(whole) // 3
    if harm == "missing":
        path.unlink()
    else:
        turned = whole[:middle] + bytes(255 - each for each in whole[middle : middle + 20]) + whole[middle + 20 :]
        path.write_bytes({"empty": b"", "cut": whole[:middle], "turned": turned}[harm])
    assert Cache(tmp_path / "second", beneath=Bundle(path)).get(name) is None


def test_a_cache_finds_what_lies_beneath_and_never_writes_it(tmp_path, kept):
    name, data = kept
    assert key_in(data) == name
    write_bundle(tmp_path / "bundle.zip", {name: data})
    before = (tmp_path / "bundle.zip").read_bytes()
    cache = Cache(tmp_path / "second", beneath=Bundle(tmp_path / "bundle.zip"))
    found = cache.get_or_compute(name, lambda: pytest.fail("it is there"))
    assert found.arrays["values"].tolist() == [0, 1, 2, 3, 4]
    assert found.metadata == {"about": "numbers"}
    assert cache.statistics().hits == 1
    assert cache.get(key(task="another")) is None
    cache.put(name, {"values": np.zeros(1)}, {})  # what is computed here goes first
    assert cache.get(name).arrays["values"].tolist() == [0]
    cache.clear()
    assert cache.get(name).arrays["values"].tolist() == [0, 1, 2, 3, 4]
    assert (tmp_path / "bundle.zip").read_bytes() == before


def test_a_result_under_another_key_is_not_taken(tmp_path, kept):
    name, data = kept
    other = key(task="another")
    write_bundle(tmp_path / "bundle.zip", {other: data})
    cache = Cache(tmp_path / "second", beneath=Bundle(tmp_path / "bundle.zip"))
    assert cache.get(other) is None
    assert cache.get(name) is None
