"""The first page: the claim, and a real result of every page."""

import streamlit as st

from dashboard import links
from dashboard.components import image_click
from dashboard.navigation import PICTURES, Card, PageSpec, Picture, pages
from dashboard.parts import header
from dashboard.services.people import may_measure, may_operate
from dashboard.state import session

A_ROW = 4


def show_card(spec: PageSpec, card: Card) -> None:
    with st.container(border=True):
        st.subheader(card.heading, anchor=False)
        if card.pictures:
            places = header.two_a_row(spec.path).columns(A_ROW, gap="small")
            for place, picture in zip(places, card.pictures, strict=False):
                alt = f"{card.heading}: {picture.caption}"
                if card.answers is not None and picture is card.pictures[0]:
                    with place:
                        show_answering(spec, picture, alt, card.answers)
                else:
                    place.image(str(PICTURES / picture.file), caption=picture.caption, width="stretch", alt=alt)
        st.markdown(card.text)
        st.page_link(spec.file, label=card.link, icon=spec.icon)


def show_answering(spec: PageSpec, picture: Picture, alt: str, marked: tuple[int, int]) -> None:
    """A picture in which a click leads to the page, where its pixel is looked at."""
    content = (PICTURES / picture.file).read_bytes()
    clicked = image_click(content, alt=alt, key=f"point {spec.path}", selected=marked)
    st.caption(picture.caption, text_alignment="center")
    if clicked is not None:
        choices = session().choices
        for name in links.clicked(spec.path):  # of other photos, looked at before
            choices.pop(name, None)
        choices["point"] = f"{clicked[0]},{clicked[1]}"
        st.switch_page(spec.file)


header.header(
    "What does this network know about where things are?",
    "Convolutional networks that were only ever trained to *name* images know much more finely *where* things are "
    "than the "
    "size of their receptive fields suggests (Long, Zhang and Darrell, *Do Convnets Learn Correspondence?*, NIPS "
    "2014). "
    "Here you can see it, on any photo.",
)
with st.container(key="cards"):
    for spec in pages(for_operators=may_operate()):
        card = spec.card if may_measure() else spec.visitors_card or spec.card
        if card is not None:
            show_card(spec, card)
