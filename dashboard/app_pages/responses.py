"""What a keypoint's classifier says of every pixel, and where around the keypoint it is highest: Figure 5."""

import streamlit as st

from corrcore.experiments import TrainedOn
from corrcore.networks import every_pixel
from corrcore.tasks import classification
from dashboard.app_pages.responses_parts import controls, files, histogram, maps, target
from dashboard.parts import exports, header
from dashboard.services import caches
from dashboard.wording import sentence

OBJECTS, PHOTO = "Objects of a data set", "A photo of yours"
SECTIONS = ("The pixel", "Histogram (Figure 5)")

LOOK_FOR = (
    "A classifier that has learnt to name a keypoint from one descriptor is asked about every pixel. **Look for** where "
    "blue gives way to white and red: how wide that is, and how far the highest score, in green, is from the keypoint, "
    "in yellow."
)
OF_DRAWINGS = " In drawings SIFT finds eyes as closely as AlexNet's layers do; to throats, elbows and paws these come much nearer."

HOW = r"""
A linear classifier of every keypoint, one against all others, learns from the descriptors at the train objects'
keypoints, scaled to unit length; the cost is that of best cross validation. Then the layer is evaluated at *every*
pixel, not only at its cells: the descriptor of a pixel is that of the cell whose receptive field is centred there, as
if the image were shifted under the network. The map shows

$$ s(x, y) = w \cdot f(x, y) + b $$

for the chosen keypoint: 0 is the classifier's boundary, 1 its margin. Pixels near the border have no cell, and no
score. SIFT descriptors are taken at every pixel too. Long, Zhang and Darrell (2014), Section 5.
"""


def page() -> None:
    """Controls, the object, its maps, and what is under the click or in the histogram."""
    header.header("What a keypoint's classifier says of every pixel")
    explained = st.empty()
    explained.markdown(LOOK_FOR)
    mode = header.section_picker("What to look at", (OBJECTS, PHOTO), key="mode")
    asked = controls.choose()
    explained.markdown(LOOK_FOR + OF_DRAWINGS * asked.data.synthetic)
    seen = target.choose_object(asked) if mode == OBJECTS else target.choose_upload(asked)
    if not asked.features:
        st.info("Choose at least one feature.", icon=":material/layers:")
        st.stop()
    try:
        trained_on = TrainedOn.of(asked.data, asked.category, asked.network, asked.protocol, caches.results())
    except ValueError as error:
        st.error(sentence(error), icon=":material/error:")
        st.stop()
    scores = maps.scores_of(asked, seen, trained_on)
    x, y = maps.show_panels(asked, seen, scores)
    python = files.python_of_maps(asked, seen)
    sections = SECTIONS if mode == OBJECTS else SECTIONS[:1]
    if header.section_picker("Look closer", sections, key="responses_section") == SECTIONS[0]:
        maps.show_pixel(asked, scores, x, y)
    else:
        python = files.python_of_histogram(asked, histogram.show_histogram(asked))
    show_how(asked, trained_on, scores)
    name = f"{asked.keypoint} by {', '.join(feature.key for feature in scores.own)}"
    exports.export_row(
        downloads={
            "responses.png": lambda: files.figure_png(asked, seen, scores),
            f"{name}.npz": lambda: files.scores_npz(asked, seen, scores),
            f"{name}.tiff": lambda: files.scores_tiff(asked, seen, scores),
        },
        python=python,
    )


def show_how(asked: controls.Asked, trained_on: TrainedOn, scores: maps.Scores) -> None:
    """How the maps come about, and the parameters in force."""
    protocol = asked.protocol
    widened = f", box widened by {protocol.margin:g}" if protocol.longer_side_px else ""
    header.how_computed(
        HOW,
        {
            "data": f"{asked.data.title}, {asked.data.digest[:8]}",
            "seen": asked.seen_as + widened,
            "network": f"{asked.network.name}, weights {asked.network.digest[:8]}",
            "train objects": len(trained_on.train),
            "features": ", ".join(feature.title for feature in scores.own),
            "costs": ", ".join(f"{each.linear.cost:g}" for each in scores.classifiers.values()),
            "covers": ", ".join(str(tuple(each.region)) for each in scores.maps.values()),
            "versions": f"classifiers {classification.VERSION}, layers at every pixel {every_pixel.VERSION}",
        },
    )


page()
