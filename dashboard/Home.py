"""The app: `streamlit run dashboard/Home.py`."""

from pathlib import Path

import streamlit as st

# A file of ours, and before the navigation: icons by name are fetched from the network.
st.set_page_config(page_icon=Path(__file__).with_name("icon.png"), layout="wide")

page = st.navigation(
    [
        st.Page(
            "app_pages/home.py",
            title="Home",
            icon=":material/home:",
            default=True,
            help="What this app shows, with a real result of every page.",
        ),
        st.Page(
            "app_pages/reconstruction.py",
            title="Reconstruction",
            icon=":material/grid_view:",
            help="A photo rebuilt from other photos' patches, layer by layer. Click a patch to see its neighbours.",
        ),
        st.Page(
            "app_pages/receptive_fields.py",
            title="Receptive fields",
            icon=":material/center_focus_strong:",
            help="What one descriptor responds to: the average of its nearest neighbours' receptive fields.",
        ),
        st.Page(
            "app_pages/alignment.py",
            title="Alignment",
            icon=":material/compare_arrows:",
            help="Two objects of a kind brought into line, and keypoints that travel with them.",
        ),
        st.Page(
            "app_pages/classification.py",
            title="Classification",
            icon=":material/label:",
            help="Which layer tells keypoints apart, by the descriptor there alone.",
        ),
        st.Page(
            "app_pages/responses.py",
            title="Responses",
            icon=":material/my_location:",
            help="What a keypoint's classifier says of every pixel, and where it is highest.",
        ),
        st.Page(
            "app_pages/prediction.py",
            title="Prediction",
            icon=":material/person_pin_circle:",
            help="Where in its box an object has its keypoints: detectors, a prior, and their product.",
        ),
        st.Page(
            "app_pages/results.py",
            title="Results",
            icon=":material/leaderboard:",
            help="The paper's tables, computed on this machine, beside the numbers in print.",
        ),
        st.Page(
            "app_pages/data.py",
            title="Data",
            icon=":material/database:",
            help="The photos that are searched: build an index of your own.",
        ),
    ],
    position="top",
)
st.set_page_config(page_title=f"{page.title} · corrcore")
page.run()
