"""Pages are declared once: files, routes, README and Home go by that."""

import re
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from corrcore.datasets import drawn
from dashboard import first_views, links
from dashboard.navigation import PAGES, PICTURES
from tests.dashboard.conftest import component

ROOT = Path(__file__).parents[2]
APP_PAGES = ROOT / "dashboard" / "app_pages"


def test_every_page_has_one_file_and_every_file_is_a_page():
    assert sorted(spec.path for spec in PAGES) == sorted(
        path.stem for path in APP_PAGES.glob("*.py") if path.stem[0] != "_"
    )


def test_every_page_has_a_route_and_every_route_is_a_page():
    assert [each.path for each in links.ROUTES] == ["", *(spec.path for spec in PAGES[1:])]


def test_readmes_table_lists_the_pages_in_their_order():
    table = (ROOT / "README.md").read_text("utf-8").partition("| page | what one sees |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| \*\*(.+)\*\* \|", table, re.MULTILINE) == [spec.title for spec in PAGES[1:]]


@pytest.mark.parametrize("field", ["path", "title", "icon", "help"])
def test_no_two_pages_share_a_field(field):
    values = [getattr(spec, field) for spec in PAGES]
    assert len(set(values)) == len(values)
    assert all(values)


def test_pictures_are_there_and_each_belongs_to_a_card():
    shown = [picture.file for spec in PAGES if spec.card for picture in spec.card.pictures]
    assert sorted(shown) == sorted(path.name for path in PICTURES.iterdir() if path.suffix in (".jpg", ".png"))


def test_home_has_a_card_per_page_with_its_pictures():
    at = AppTest.from_file(str(ROOT / "dashboard" / "frame.py"), default_timeout=20).run()
    assert not at.exception
    cards = [spec.card for spec in PAGES[1:]]
    assert [heading.value for heading in at.subheader] == [card.heading for card in cards]
    assert [link.proto.label for link in at.get("page_link")] == [card.link for card in cards]
    captions = [image.caption for element in at.get("image") for image in element.proto.imgs]
    answering = [card.pictures[0] for card in cards if card.answers]
    assert captions == [each.caption for card in cards for each in card.pictures if each not in answering]
    assert [each.caption for each in answering] == [each.value for each in at.caption if "click" in each.value]


def test_a_click_on_homes_first_picture_is_looked_at_on_the_page(click):
    at = AppTest.from_file(str(ROOT / "dashboard" / "frame.py"), default_timeout=60).run()
    assert component(at, "point match")["selected"] == list(drawn.unseen()[first_views.MATCHED[0]].eye)
    click(at, "point match", 90, 260)
    assert not at.exception
    assert component(at, "photo first")["selected"] == [90, 260]


def test_homes_point_is_of_homes_photo_whatever_was_looked_at_before(click):
    at = AppTest.from_file(str(ROOT / "dashboard" / "frame.py"), default_timeout=60).run()
    at.session_state["corrcore"].choices.update(photo_1="sample:china", point_of="second")
    click(at, "point match", 90, 260)
    assert component(at, "photo first")["selected"] == [90, 260]
    assert component(at, "photo first")["alt"].startswith(drawn.unseen()[first_views.MATCHED[0]].title)
