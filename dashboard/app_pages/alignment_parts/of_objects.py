"""Objects of a data set, each with the train objects most like it."""

import streamlit as st

from corrcore.tasks import alignment
from corrcore.tasks.alignment import AlignedPair
from dashboard.app_pages.alignment_parts import controls, files, table
from dashboard.app_pages.alignment_parts.neighbours import SHOWN, View, poster, show_figure, work_on_object
from dashboard.app_pages.alignment_parts.pair_view import ENERGY, chosen_point, show_displacement, show_point
from dashboard.parts import exports, header, job_panel, pickers, url_state
from dashboard.services import caches
from dashboard.titles import network_title
from dashboard.wording import escape_markdown, sentence

SECTIONS = ("Displacement", "A point", "Accuracy (Table 2)")
LOOK_FOR = (
    "Neighbours are warped onto an object by matching features and holding the warp smooth, and their keypoints "
    "travel with "
    "them. **Look for** eyes, noses and legs that land in place. "
)
OF_PHOTOS = (
    "In the mean over photos (Table 2), AlexNet's features, trained only to name images, do that at least as well as "
    "SIFT, which was made for matching."
)
OF_DRAWINGS = (
    "Drawn animals are easy, for the network's features and for SIFT alike; with photos, AlexNet's, trained only to "
    "name images, do at least as well as SIFT, which was made for matching."
)
HOW = (
    "Source and target are cut out by their boxes, widened by a tenth on every side, and stretched to 18 x 18 cells."
    + ENERGY
    + f"\nOf the {alignment.NEIGHBOURS} train objects most like the target, the five least deformed that show a "
    "keypoint vote on "
    "it, by the median of each coordinate. A keypoint is right within a tenth of the box's longer side (PCK). In "
    "Table 2 each "
    "feature has its own $\\beta$, chosen on train objects. Long, Zhang and Darrell (2014), Section 4."
)


def page() -> None:
    """The mode of the page that looks at a data set."""
    explained = st.container()
    rows = header.two_a_row("controls")
    at_data, at_category, at_network = rows.columns([4, 3, 3], gap="small", vertical_alignment="bottom")
    source, data, category = pickers.choose_category(at_data, at_category)
    explained.markdown(LOOK_FOR + (OF_DRAWINGS if data.synthetic else OF_PHOTOS))
    network = pickers.choose_network(at_network)
    places = rows.columns([3, 3, 3, 2], gap="small", vertical_alignment="bottom")
    choice = controls.choose(network, places, ("Upper row", "Lower row"))
    gallery, beside = st.columns([5, 3], gap="medium")
    with gallery:
        try:
            instance = pickers.choose_object(data, category, beside)
            train = data.visible_instances(category, "train")
            objects = caches.state_of([instance]), caches.state_of(train)
        except (OSError, ValueError) as error:
            st.error(sentence(error), icon=":material/broken_image:")
            st.stop()
    with beside:
        drawn = " · **drawn, synthetic**" if data.synthetic else ""
        by = alignment.summary_source(network)
        st.caption(
            f"{escape_markdown(instance.name)}{drawn} · neighbours found by {by} of {network_title(network.name)}"
        )
        pickers.show_left_out("annotation", data.left_out)
    key = (data.digest, category, by, *objects, choice.key(network))
    work = work_on_object(instance, train, network, choice, key)
    view: View = job_panel.view(work, f"Aligning {instance.name}", key)
    feature, neighbour = show_figure(view, instance, data.keypoint_names[category], choice)
    alignments = {
        each: next(one.alignment for one in transfer.neighbours if one.instance is neighbour.instance)
        for each, transfer in view.found.transfers.items()
    }
    pair = AlignedPair(neighbour.crop, view.found.target, alignments)
    names = neighbour.instance.name, instance.name
    url_state.check_pixel(pair.source.image)
    section = header.section_picker("Look closer", SECTIONS, key="alignment_section")
    if section == SECTIONS[0]:
        show_displacement(pair, names, feature)
    elif section == SECTIONS[1]:
        show_point(pair, names)
    else:
        table.show(source, data, category, network)
    _, point = chosen_point(pair)
    neighbours = f"{view.among} of {len(data.instances(category, 'train'))} train objects"
    about = {"data": f"{data.title}, {data.digest[:8]}", "object": instance.name, "neighbours": neighbours}
    header.how_computed(HOW, about | controls.parameters(network, choice))
    exports.export_row(
        downloads={
            "alignment.png": lambda: poster(view, instance),
            "alignment.npz": lambda: files.neighbours_file(view.found, SHOWN, pair, names, point),
            "keypoints.csv": lambda: files.keypoints_file(view.found, instance, tuple(data.keypoint_names[category])),
        },
        python=files.python_of_object(source, category, instance, network, choice),
        state={"data": pickers.dataset_title(source), "category": category, "network": network.name},
    )
