"""Building an index of one's own photos."""

import os
from pathlib import Path

import streamlit as st

from corrcore import networks
from corrcore import patch_index as indexes
from corrcore.concurrency import Progress
from corrcore.datasets import addressed, folder
from corrcore.settings import Settings
from corrcore.wording import counted
from dashboard.parts import job_panel, pickers
from dashboard.services import caches, people, processes, sessions
from dashboard.services.jobs import QueueFull
from dashboard.services.quotas import QuotaError
from dashboard.services.roles import Role
from dashboard.state import session
from dashboard.wording import escape_markdown, sentence

BUILDING = "Building "
SCALES = {"as they are": (1.0,), "and at 70 %": (1.0, 0.7), "and at 70 % and 50 %": (1.0, 0.7, 0.5)}


def build_form() -> None:
    """What to build, and how far it is."""
    st.subheader("Build an index", anchor=False)
    if not people.may_measure():
        st.info(f"An index of other photos: {people.reserved()}", icon=":material/lock:")
        return
    source = st.text_input(
        "Folder of photos on the machine that runs this app",
        str(Settings.from_environment().data or ""),
        key="build_folder",
        placeholder="/home/me/photos, or a data set in PASCAL VOC's layout",
    )
    name, network, scale = st.columns(3, vertical_alignment="bottom")
    name_ = name.text_input("Name", key="build_name", placeholder="my-photos")
    titles = pickers.network_titles()
    network_ = network.selectbox(
        "Described by", list(titles), format_func=titles.__getitem__, key="build_network", help=pickers.OF_NETWORKS
    )
    scale_ = scale.selectbox("Photos enter", list(SCALES), key="build_scales")
    mirror, hold_out, _ = st.columns(3, vertical_alignment="bottom")
    mirror_ = mirror.toggle("Mirrored as well", key="build_mirror")
    hold_out_ = hold_out.number_input("Photos to hold out", 0, 1000, 0, key="build_hold_out")
    if st.button("Build", type="primary", key="build", icon=":material/construction:"):
        start(source, name_, network_ or networks.DEFAULT, SCALES[scale_], mirror_, int(hold_out_))
    if note := session().building_note:
        st.caption(escape_markdown(note))
    if (job := sessions.build()) is not None:
        job_panel.job_panel(job)
        if job.state == "done":
            built = job.label.removeprefix(BUILDING)
            st.success(f"{built} is ready: choose it under “Patches from”.", icon=":material/check:")
        elif job.state in ("cancelled", "failed"):
            st.caption("What is done is kept: **Build** with the same settings goes on from there.")


def start(source: str, name: str, network: str, scales: tuple[float, ...], mirror: bool, n_held_out: int) -> None:
    """Checks what was asked for and lines the build up; says in a sentence what is wrong."""
    try:
        people.require(Role.MEMBER)
        if not source.strip():
            msg = "Name the folder that holds the photos."
            raise ValueError(msg)
        if not name.strip():
            msg = "Give the index a name, such as my-photos."
            raise ValueError(msg)
        target = indexes.path_of(indexes.checked_name(name.strip()))
        if os.path.lexists(target):
            msg = f"There is an index {name.strip()!r} already; choose another name."
            raise ValueError(msg)
        photos_in = voc_root(addressed.prepared_source(source.strip()))
        listing = None
        if isinstance(photos_in, str):
            people.require(Role.OPERATOR)  # a server reaches more than those who use it do
            addressed.check(photos_in)  # listing it may take minutes, and is part of the work
        else:
            listing = addressed.photos_in(photos_in)
            folder.hold_out(listing.photos, n_held_out)
        extractor = caches.network(network)

        def here(*, progress: Progress) -> None:
            progress(0.0, "listing photos")
            found = listing or addressed.photos_in(photos_in)
            photos, held_out = folder.hold_out(found.photos, n_held_out)
            indexes.build(
                photos,
                target,
                extractor=extractor,
                scales=scales,
                mirror=mirror,
                held_out=[photo.name for photo in held_out],
                progress=progress,
            )  # in threads: the server joins no cluster

        def command() -> list[str]:
            options = [f"--name={target.name}", f"--network={network}", f"--hold-out={n_held_out}"]
            options += [f"--scales={','.join(map(str, scales))}", *["--mirror"] * mirror]
            return ["index", "build", *options, "--", str(photos_in)]

        running = sessions.build()
        if running is not None and not running.finished:
            msg = f"{running.label} is not finished; wait for it or cancel it."
            raise ValueError(msg)
        work = processes.of_command(command, here)
        settings = str(target), str(photos_in), network, scales, mirror, n_held_out
        sessions.submit_build(work, f"{BUILDING}{name.strip()}", settings)
        session().building_note = _note(listing) if listing else ""
    except (ValueError, OSError, QueueFull, QuotaError) as error:
        st.error(sentence(error), icon=":material/error:")


def _note(listing: folder.PhotoListing) -> str:
    left_out = f" Of this folder {listing.summary()}." if listing.left_out else ""
    return f"{counted(len(listing), 'photo')} found.{left_out}"


def voc_root(path: str | Path) -> str | Path:
    """The data set in a folder of data sets, if there is just one in PASCAL VOC's layout."""
    if isinstance(path, str):
        return path
    inner = [child.parent for child in path.glob("*/JPEGImages")] if path.is_dir() else []
    return inner[0] if len(inner) == 1 and not (path / "JPEGImages").is_dir() else path
