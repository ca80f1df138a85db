"""Neighbours warped onto an object by their features, keypoints carried along: Figure 3 and Table 2."""

from dashboard.app_pages.alignment_parts import of_objects, of_photos
from dashboard.parts import header

OBJECTS, PHOTOS = "Objects of a data set", "Two photos of yours"


def page() -> None:
    header.header("One thing bent into another's shape")
    mode = header.section_picker("What to align", (OBJECTS, PHOTOS), key="mode")
    (of_objects if mode == OBJECTS else of_photos).page()


page()
