"""The first page: the claim, and a real result of every page."""

from pathlib import Path

import streamlit as st
import torch

from corrcore import images
from corrcore.tasks import averaging, reconstruction
from corrcore.tasks.averaging import expand_contrast
from dashboard import figures
from dashboard.parts import header
from dashboard.services import caches

SAMPLE = "chelsea"
AT = (173, 115)  # an eye
# made by the Alignment, Responses and Prediction pages, where computing them takes a while
PICTURES = Path(__file__).parents[1] / "pictures"


@st.cache_data(max_entries=1, show_spinner="First start: making the pictures of this page")
def pictures() -> tuple[list[bytes], list[tuple[str, bytes, int]]]:
    """One row of Figure 1, and the averages of one descriptor: computed here, kept on disk."""
    index, backbone = caches.sample_index(), caches.network("alexnet")
    image = caches.sample_photo(SAMPLE)
    same = (index.photos.index(SAMPLE),)
    grids = backbone.extract(image, index.layers)
    rebuilt, averages = [], []
    for layer, grid in grids.items():
        found = reconstruction.reconstruct(
            image, layer, backbone=backbone, index=index, k=50, exclude=same, results=caches.results()
        )
        picture = reconstruction.rebuild(found.retrieval, index, k=5)
        rebuilt.append(images.encode(figures.crop(picture, grid.cells.covered), format="JPEG"))
        descriptor = torch.clone(grid.descriptors[grid.cells.nearest(*AT)]).cpu()
        study = averaging.study(descriptor, layer, index=index, exclude=same, results=caches.results())
        chosen = study.averages.averages[1]
        picture = images.encode(expand_contrast(chosen.mean, chosen.count), format="PNG")
        averages.append((f"{layer}, average of {chosen.k}", picture, grid.receptive_field.size))
    last = grids[index.layers[-1]]
    box = last.receptive_field.receptive_field_box(*last.cells.nearest(*AT))
    averages.insert(0, ("the seed's field", images.encode(figures.crop(image, box), format="JPEG"), box.width))
    return [images.encode(figures.crop(image, last.cells.covered), format="JPEG"), *rebuilt], averages


def show_drawn(captions: dict[str, str]) -> None:
    """Up to four of the pictures of drawn animals in a row."""
    for place, (name, caption) in zip(st.columns(4, gap="small"), captions.items(), strict=False):
        place.image(PICTURES / name, caption=caption, width="stretch")


header.header(
    "What does this network know about where things are?",
    "Convolutional networks that were only ever trained to *name* images know much more finely *where* things are than the "
    "size of their receptive fields suggests (Long, Zhang and Darrell, *Do Convnets Learn Correspondence?*, NIPS 2014). "
    "Here you can see it, on any photo.",
)
rebuilt, averages = pictures()
layers = caches.sample_index().layers

with st.container(border=True):
    st.subheader("Rebuild a photo from other photos' patches", anchor=False)
    for place, picture, title in zip(st.columns(len(rebuilt), gap="small"), rebuilt, ["input", *layers], strict=True):
        place.image(picture, caption=title, width="stretch")
    st.markdown(
        "Every patch is replaced by those its nearest neighbours in feature space have, here in a handful of other photos. With "
        "a thousand photos to choose from, eyes are rebuilt from other eyes, in place."
    )
    st.page_link("app_pages/reconstruction.py", label="Start here: rebuild a photo", icon=":material/grid_view:")

with st.container(border=True):
    st.subheader("See what one descriptor responds to", anchor=False)
    for place, (title, picture, size) in zip(st.columns(4, gap="small"), averages, strict=True):
        place.image(picture, caption=f"{title}, {size} px", width=round(size * 1.3))
    st.markdown(
        "The average receptive field of its nearest neighbours: the more photos are searched, the sharper its middle, and "
        "the more its surroundings blur."
    )
    st.page_link(
        "app_pages/receptive_fields.py", label="Average receptive fields", icon=":material/center_focus_strong:"
    )

with st.container(border=True):
    st.subheader("Bend one animal into another's shape", anchor=False)
    show_drawn(
        {
            "target.jpg": "the target",
            "source.jpg": "its neighbour",
            "warped.jpg": "the neighbour, warped by conv4",
        }
    )
    st.markdown(
        "Matched by conv4's descriptors, held together by a smooth displacement, keypoints travel along. These animals are drawn, "
        "so that everybody may have them; data sets of photos are offered where there are any."
    )
    st.page_link(
        "app_pages/alignment.py", label="Align animals, or two photos of yours", icon=":material/compare_arrows:"
    )

with st.container(border=True):
    st.subheader("Ask a classifier about every pixel", anchor=False)
    show_drawn(
        {
            "object.jpg": "where is the left eye?",
            "eye_conv3.jpg": "by conv3",
            "eye_conv5.jpg": "by conv5",
            "eye_sift20.jpg": "by SIFT, radius 20 px",
        }
    )
    st.markdown(
        "A linear classifier has learnt to tell an animal's keypoints apart from one descriptor each. Asked about every pixel of "
        "another animal, it says yes where the map is red."
    )
    st.page_link("app_pages/responses.py", label="Read its score at any pixel", icon=":material/my_location:")
    st.page_link("app_pages/classification.py", label="Which layer tells keypoints apart?", icon=":material/label:")

with st.container(border=True):
    st.subheader("Find keypoints in a box", anchor=False)
    show_drawn(
        {
            "annotated.jpg": "the truth",
            "predicted_sift16.jpg": "by SIFT and a prior",
            "predicted_conv5.jpg": "by conv5 and a prior",
            "paw_product.jpg": "left front paw: conv5's detector times the prior",
        }
    )
    st.markdown(
        "A detector of every keypoint scores every place in an object's box, and the most similar object seen before says where to "
        "expect it. Filled dots are right, rings are wrong, with a line to the truth."
    )
    st.page_link("app_pages/prediction.py", label="Predict keypoints", icon=":material/person_pin_circle:")

with st.container(border=True):
    st.subheader("Hold the numbers against those in print", anchor=False)
    st.markdown(
        "The paper's tables, from what was computed on this machine: intervals, differences, and whether one row is better than "
        "another by more than chance."
    )
    st.page_link("app_pages/results.py", label="Compare the tables", icon=":material/leaderboard:")

with st.container(border=True):
    st.subheader("Search your own photos", anchor=False)
    st.markdown(
        f"These pictures are made of {len(caches.sample_index().photos)} photographs only. Point the app at a folder of "
        "some thousand photos and it makes an index of a million patches."
    )
    st.page_link("app_pages/data.py", label="Build an index", icon=":material/database:")
