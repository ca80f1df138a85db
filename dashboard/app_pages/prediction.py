"""Where in its box an object has its keypoints: Figure 6, and what detectors and prior say of every place."""

from pathlib import Path

import streamlit as st

from dashboard.app_pages.prediction_parts import files, how, maps, sheets, table, uploaded
from dashboard.app_pages.prediction_parts.controls import choose_weights
from dashboard.app_pages.prediction_parts.training import Learnt, learn
from dashboard.parts import exports, header, legends, pickers

OBJECTS, PHOTO = "Objects of a data set", "A photo of yours"
SECTIONS = ("One keypoint", "Every keypoint", "Accuracy (Table 4)")


def page() -> None:
    header.header("Where in its box does an object have each keypoint?")
    explained = st.container()
    mode = header.section_picker("What to look at", (OBJECTS, PHOTO), key="mode")
    rows = header.two_a_row("controls")
    at_data, at_category, at_network = rows.columns([4, 3, 3], gap="small", vertical_alignment="bottom")
    source, data, category = pickers.choose_category(at_data, at_category)
    explained.markdown(how.look_for(data.synthetic))
    network = pickers.choose_network(at_network)
    learnt: Learnt = learn(source, data, category, network)
    weights = choose_weights(rows.columns([3, 3, 2, 2], gap="small", vertical_alignment="bottom"), learnt)
    shown = sheets.show(learnt, weights) if mode == OBJECTS else uploaded.show(learnt, weights)
    legends.keypoint_legend(learnt.names)
    if mode == OBJECTS:
        st.caption(sheets.CAPTION)
    section = header.section_picker(
        "Look closer", SECTIONS if mode == OBJECTS else SECTIONS[:2], key="prediction_section"
    )
    if section == SECTIONS[0]:
        maps.show_one(shown.seen, weights, learnt)
    elif section == SECTIONS[1]:
        maps.show_all(shown.seen, weights, learnt.names)
    else:
        table.show(learnt)
    header.how_computed(how.text(learnt), how.parameters(learnt, weights))
    exports.export_row(
        downloads={
            "prediction.png": lambda: files.sheet_file(shown.sheet, weights),
            "keypoints.csv": lambda: files.points_file(shown.sheet, weights, learnt.names),
            f"{Path(shown.seen.title).stem} maps.npz": lambda: files.maps_file(shown.seen, learnt.names),
            learnt.detectors_file: learnt.detectors_content,
        },
        python=files.python_lines(learnt, shown.python, weights),
        state={"data": pickers.dataset_title(source), "category": category, "network": network.name},
    )


page()
