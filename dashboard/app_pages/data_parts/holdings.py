"""What is on this machine: patch indexes, annotated data sets, and results."""

from pathlib import Path

import streamlit as st

from corrcore import networks, patch_index
from corrcore.datasets import drawn
from corrcore.patch_index import SAMPLES, Listing, PatchIndex, State
from corrcore.settings import Settings
from corrcore.wording import counted, size_text
from dashboard.parts import photo_picker, pickers
from dashboard.services import caches, people
from dashboard.services.roles import Role
from dashboard.wording import escape_markdown, sentence, with_commands


def show_indexes() -> None:
    """Every index however it is: those that can be searched in a table, the others a line each."""
    st.subheader("Indexes: photos that are searched", anchor=False)
    st.markdown(
        "The pages *Reconstruction* and *Receptive fields* look for nearest neighbours in one of these. *"
        f"{photo_picker.DRAWN_INDEX}* comes along: {len(drawn.to_search())} drawings, described when a network first "
        f"needs "
        "them. Good reconstructions of photographs need about a million patches: some thousand photos."
    )
    listings = _listings()
    there = [listing.index for listing in listings if listing.index is not None]
    if there:
        st.dataframe([_row(index) for index in there], hide_index=True, width="stretch")
    for listing in listings:
        if listing.index is None:
            icon = ":material/hourglass_top:" if listing.state is State.UNFINISHED else ":material/error:"
            st.warning(
                f"**{escape_markdown(listing.name)}**, {listing.state}: {with_commands(listing.note)}", icon=icon
            )
    for index in there:
        if index.skipped:
            _show_skipped(index)
    _delete_form(listings)


def _listings() -> list[Listing]:
    try:
        return patch_index.survey()
    except OSError as error:
        st.error(sentence(error), icon=":material/error:")
        return []


def _row(index: PatchIndex) -> dict[str, str]:
    patches = " · ".join(f"{layer} {index.n_patches(layer):,}" for layer in index.layers)
    return {
        "name": photo_picker.DRAWN_INDEX if photo_picker.is_drawn(index) else index.name,
        "network": networks.title(index.extractor),
        "photos": f"{len(index.photos):,}",
        "pictures": f"{index.n_pictures:,}",
        "patches": patches,
        "on disk": size_text(index.n_bytes),
        "held out": f"{len(index.held_out):,}",
        "unreadable": f"{len(index.skipped):,}",
    }


def _show_skipped(index: PatchIndex) -> None:
    title = f"{counted(len(index.skipped), 'photo')} left out of {index.name}"
    with st.expander(title, icon=":material/broken_image:"):
        table = {"photo": list(index.skipped), "why": list(index.skipped.values())}
        st.dataframe(table, hide_index=True, width="stretch")


def _delete_form(listings: list[Listing]) -> None:
    """Deletes an index in whatever state it is."""
    states = {listing.name: listing.state for listing in listings}
    if not people.may_operate() or not states:
        return

    def title(name: str) -> str:
        shown = f"{photo_picker.DRAWN_INDEX} ({name})" if name.startswith(f"{SAMPLES}-") else name
        return shown if states[name] is State.FINISHED else f"{shown}, {states[name]}"

    with st.popover("Delete an index", icon=":material/delete:"):
        name = st.selectbox("Index", list(states), key="delete_name", format_func=title)
        if st.button("Delete for good", key="delete", type="primary"):
            try:
                people.require(Role.OPERATOR)
                caches.delete_index(name)
            except OSError as error:
                st.error(sentence(error), icon=":material/error:")
                return
            st.rerun()


def show_datasets() -> None:
    """The annotated data sets, which the pages on keypoints offer."""
    st.subheader("Data sets: objects with keypoints", anchor=False)
    own = " Photos of your own are offered there too, from the folder that the environment variable `CORRCORE_DATA` names."
    st.markdown(
        "The pages *Alignment*, *Classification*, *Responses*, *Prediction* and *Results* work on these."
        + (own if people.may_measure() else "")
    )
    there = caches.available()
    rows = [
        {
            "name": pickers.dataset_title(spec.name),
            "what it is": spec.title,
            "pictures": "drawn" if spec.synthetic else "photos",
            "folder": "comes along" if spec.folder is None else str(spec.folder),
        }
        for spec in there.specs
    ]
    show_places(rows)
    for fault in there.faults:
        st.warning(escape_markdown(fault), icon=":material/folder_off:")


def show_results() -> None:
    """Where results are kept, and how much room they take."""
    st.subheader("Results kept", anchor=False)
    statistics, folder = caches.results().statistics(), Path(caches.store().folder)
    files = [path for path in folder.rglob("*.jsonl") if path.is_file()] if folder.is_dir() else []
    show_places(
        [
            {
                "what": "tables and experiments",
                "how much": f"{counted(len(files), 'file')}, {size_text(sum(path.stat().st_size for path in files))}",
                "folder": str(folder),
            },
            {
                "what": "pictures and numbers of views, for a second look",
                "how much": f"{counted(statistics.entries, 'result')}, {size_text(statistics.bytes)}",
                "folder": str(caches.results().folder),
            },
        ]
    )
    remedy = "; `corrcore cache clear` removes them" if people.may_operate() else ""
    st.caption(
        f"{statistics.status[:1].upper()}{statistics.status[1:]}. Views give way to newer ones at "
        f"{size_text(caches.results().max_bytes)}{remedy}. Tables stay."
    )
    for problem in Settings.from_environment().problems() if people.may_measure() else ():
        st.warning(escape_markdown(problem), icon=":material/folder_off:")


def show_places(rows: list[dict[str, str]]) -> None:
    """A table of what is kept, and where that is for whoever may go there."""
    if not people.may_measure():
        rows = [{name: value for name, value in row.items() if name != "folder"} for row in rows]
    st.dataframe(rows, hide_index=True, width="stretch")
