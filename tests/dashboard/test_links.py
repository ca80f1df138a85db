"""Links: every key a page binds is its route's, and a view survives the way into an address and back."""

import ast
from dataclasses import fields
from pathlib import Path

import pytest

from dashboard import links

APP_PAGES = Path(__file__).parents[2] / "dashboard" / "app_pages"
PAGES = [route for route in links.ROUTES if route.path]


def bound_keys(source: str) -> set[str]:
    """The keys of widgets that are bound to the URL, up to what is filled in."""
    keys = set()
    for call in ast.walk(ast.parse(source)):
        given = {word.arg: word.value for word in getattr(call, "keywords", ())}
        name = getattr(getattr(call, "func", None), "attr", "")
        if "key" in given and ("bind" in given or name == "section_picker"):
            match given["key"]:
                case ast.Constant(str(key)) | ast.JoinedStr([ast.Constant(str(key)), *_]):
                    keys.add(key)
    return keys


@pytest.mark.parametrize("route", PAGES)
def test_every_key_that_a_page_binds_is_its_routes(route):
    files = [APP_PAGES / f"{route.path}.py", *(APP_PAGES / f"{route.path}_parts").glob("*.py")]
    sources = [file.read_text("utf-8") for file in files]
    if any("photo_picker.choose_index(" in source for source in sources):
        sources.append((APP_PAGES.parent / "parts" / "photo_picker.py").read_text("utf-8"))
    keys = {key for source in sources for key in bound_keys(source)}
    assert keys or route in (links.Data, links.Status)
    assert [key for key in keys if not route.knows(key)] == []


def test_keys_are_found_in_the_source():
    source = (
        'st.slider("k", key="k", bind="query-params"); '
        'header.section_picker("x", (), key=f"own_{n}"); st.text("t", key="no")'
    )
    assert bound_keys(source) == {"k", "own_"}


@pytest.mark.parametrize("route", PAGES)
def test_a_view_survives_its_address(route):
    values = {
        field.name: (f"{field.name} 1", "a&b=c") if field.default == () else f"{field.name} ü/?"
        for field in fields(route)
    }
    view = route(**values)
    assert links.parse(f"https://example.org/base/{view.url}") == view


@pytest.mark.parametrize("route", links.ROUTES)
def test_what_is_clicked_is_among_a_routes_fields(route):
    assert set(route.clicked) <= {field.name for field in fields(route)}


def test_an_address_keeps_what_is_laid_on_top_and_leaves_other_pages_keys_out():
    url = links.address(
        "https://example.org/app/responses?object=x",
        {"category": "cat", "at": "1,2"},
        {"at": "3,4", "neighbour": "1.1"},
    )
    assert url == "https://example.org/app/responses?category=cat&at=3%2C4"


def test_an_address_no_page_is_at_has_no_view():
    assert links.parse("https://example.org/elsewhere?category=cat") is None
