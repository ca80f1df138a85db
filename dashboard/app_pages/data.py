"""What is on this machine, and building an index of one's own photos."""

import streamlit as st

from corrcore import patch_index
from dashboard.app_pages.data_parts import building, holdings
from dashboard.parts import header
from dashboard.services import people

HOW = """
Every photo runs through the network at each chosen scale, whole, and mirrored if asked for. The descriptors of each
layer are made unit length and kept in half precision, with 8-bit codes for the first pass of the search, beside the
raw pixels from which patches are cut. While an index is built its folder ends in `.partial`; a build that is
cancelled or killed goes on from its last checkpoint, and only a finished index can be chosen.
"""


def page() -> None:
    """Indexes, a form that builds one, data sets, results."""
    header.header(
        "What is there to look at?", "Photos that are searched, objects with keypoints, and results kept here."
    )
    holdings.show_indexes()
    building.build_form()
    holdings.show_datasets()
    holdings.show_results()
    whose = people.may_measure()  # others have no use for places and commands of a machine that is not theirs
    header.how_computed(HOW, {"indexes are kept in": patch_index.default_root()} if whose else {})
    if whose:
        with st.expander("On the command line", icon=":material/terminal:"):
            st.code(
                "corrcore index build PHOTOS --name my-photos --scales 1,0.7 --mirror\ncorrcore index list", "shell"
            )


page()
