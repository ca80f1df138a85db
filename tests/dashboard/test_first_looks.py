"""What comes along for the first look at pages on drawn animals is what they would learn, and all of it."""

import subprocess
import sys

import pytest
import streamlit as st

from dashboard import first_looks
from dashboard.services import caches

from .conftest import ROOT

AGAIN = "it is of other code, weights or drawings; make it again: `python -m dashboard.first_looks`"


@pytest.mark.parametrize("page", first_looks.LOOKED_AT)
def test_a_first_look_learns_nothing_that_does_not_come_along(page, tmp_path, monkeypatch):
    monkeypatch.setenv("CORRCORE_CACHE", str(tmp_path))
    monkeypatch.delenv("CORRCORE_DATA", raising=False)
    st.cache_resource.clear()
    at = first_looks.look_at(page, timeout_s=60)
    st.cache_resource.clear()
    assert not at.exception
    assert {key for key, _ in first_looks.learnt(tmp_path)} <= set(caches.FIRST_LOOKS.keys()), AGAIN


@pytest.mark.slow
def test_what_comes_along_is_what_pages_compute():
    command = [sys.executable, "-W", "ignore", "-m", "dashboard.first_looks", "--check", "alignment"]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, f"{checked.stdout}: {AGAIN}"
    assert checked.stdout == "2 of 2 results are those that come along.\n"


def test_results_are_the_same_where_all_names_and_numbers_are():
    kept = list(map(caches.FIRST_LOOKS.get, caches.FIRST_LOOKS.keys()))
    assert all(data and first_looks.is_same(data, data) for data in kept)
    [records] = [data for data in kept if data and data.startswith(b"{")]
    for old, new in ((b"toy-cat-val-000.png", b"toy-cat-val-00x.png"), (b'"cost":10.0', b'"cost":1.0')):
        assert not first_looks.is_same(records, records.replace(old, new))
    header = records.partition(b"\n")[0]
    assert not first_looks.is_same(header, header)


def test_what_comes_along_is_small():
    assert caches.FIRST_LOOKS.path.stat().st_size < 1_000_000
