"""Any bytes are an object, or one sentence that names the file."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corrcore.datasets import voc_xml
from corrcore.datasets.folder import printable_name

from .voc_tree import annotation

GOOD = annotation("2008_1", 1).encode()
SCRAPS = st.sampled_from(
    (
        *(b"<", b">", b'"', b"&", b"&#1114111;", b"&#xD800;", b"</annotation>", b"<keypoint/>", b"nan", b"1e308"),
        *(b"-1e308", b"0x10", b"1_0", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"<!DOCTYPE a>", b"<![CDATA[", b"\n"),
    )
)
DAMAGE = st.lists(st.tuples(st.integers(0, len(GOOD)), st.integers(0, 12), SCRAPS | st.binary(max_size=6)), max_size=5)


def check(data):
    try:
        found = voc_xml.parse(data, "cat/1.xml")
    except voc_xml.FaultError as fault:
        sentence = str(fault)
        assert sentence.startswith("cat/1.xml")
        assert sentence.endswith(".")
        assert printable_name(sentence) == sentence
        assert len(sentence) < 300
        return
    assert found.image
    assert found.category
    assert found.number
    assert all(math.isfinite(edge) for edge in found.box)
    assert all(point is None or all(map(math.isfinite, point)) for point in found.points.values())
    assert all(name and printable_name(name) == name for name in found.points)
    found.fits((60, 40))
    try:
        inside, _ = found.cut_to((60, 40), "cat/1.xml")
    except voc_xml.FaultError:
        return
    left, top, right, bottom = inside.box
    assert -0.5 <= left < right <= 59.5
    assert -0.5 <= top < bottom <= 39.5
    visible = [point for point in inside.points.values() if point is not None]
    assert all(-0.5 <= x <= 59.5 and -0.5 <= y <= 39.5 for x, y in visible)


@settings(max_examples=400, derandomize=True, deadline=None, database=None)
@given(DAMAGE)
def test_a_damaged_file_gives_an_object_or_a_sentence(pieces):
    data = GOOD
    for start, length, scrap in pieces:
        data = data[:start] + scrap + data[start + length :]
    check(data)


@settings(max_examples=150, derandomize=True, deadline=None, database=None)
@given(st.binary(max_size=60))
def test_any_bytes_give_an_object_or_a_sentence(data):
    check(data)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)


@settings(max_examples=300, derandomize=True, deadline=None, database=None)
@given(st.sampled_from(["xmin", "width", "x", "visible", "name", ">2008_1", ">cat", ">1"]), TEXTS)
def test_any_text_in_any_place_gives_an_object_or_a_sentence(place, text):
    escaped = "".join(f"&#{ord(char)};" for char in text)
    old = {"xmin": "11", "width": "29", "x": "20", "visible": "1", "name": "Nose"}.get(place)
    before, after = (place, f">{escaped}") if old is None else (f' {place}="{old}"', f' {place}="{escaped}"')
    check(GOOD.decode().replace(before, after, 1).encode())


@pytest.mark.parametrize("data", [b"<a>" * 300_000, b"<" + b"a" * 900_000 + b"/>", GOOD[:-20] + b"x" * 10**6])
def test_a_large_file_is_said_in_a_short_sentence(data):
    check(data)


def test_the_good_file_is_an_object():
    found = voc_xml.parse(GOOD, "cat/1.xml")
    assert (found.image, found.number, found.category) == ("2008_1", "1", "cat")
    assert found.box == (9.5, 4.5, 39.5, 24.5)
    assert found.points == {"Nose": (20.0, 10.0), "L_Eye": (18.0, 8.0)}
    assert found.fits((60, 40))
    assert not found.fits((35, 40))
