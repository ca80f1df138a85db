"""The photos that are searched: what there is, and building an index of one's own."""

import os
from collections.abc import Callable
from pathlib import Path

import streamlit as st

from corrcore import patch_index as indexes
from corrcore.datasets import folder
from corrcore.patch_index import IndexDamagedError, IndexNotFoundError, PatchIndex
from dashboard.parts import header, job_panel
from dashboard.services import caches, sessions
from dashboard.services.jobs import QueueFull
from dashboard.state import session
from dashboard.wording import counted, escape_markdown

SCALES = {"as they are": (1.0,), "and at 70 %": (1.0, 0.7), "and at 70 % and 50 %": (1.0, 0.7, 0.5)}

HOW = """
Every photo runs through the network at each chosen scale, whole, and mirrored if asked for. The descriptors of each layer are
made unit length and kept in half precision, with 8-bit codes for the first pass of the search, beside the raw pixels
from which patches are cut. While an index is built its folder ends in `.partial`; a build that is cancelled or killed
goes on from its last checkpoint, and only a finished index can be chosen.
"""


def show_indexes() -> None:
    rows, unreadable = [], {}
    for name in caches.index_names():
        try:
            index = caches.open_index(name)
        except (IndexNotFoundError, IndexDamagedError, OSError, ValueError) as error:
            st.error(str(error), icon=":material/error:")
            continue
        patches = {layer: f"{index.n_patches(layer):,}" for layer in index.layers}
        rows.append(
            {
                "name": name,
                "photos": f"{len(index.photos):,}",
                "pictures": f"{len(index.photo_of):,}",
                "patches": " · ".join(f"{layer} {count}" for layer, count in patches.items()),
                "on disk": f"{index.n_bytes / 1e9:.2f} GB",
                "network": index.backbone,
                "held out": f"{len(index.held_out):,}",
                "unreadable": f"{len(index.skipped):,}",
            }
        )
        if index.skipped:
            unreadable[name] = index.skipped
    st.dataframe(rows, hide_index=True, width="stretch")
    for name, skipped in unreadable.items():
        with st.expander(f"{counted(len(skipped), 'photo')} left out of {name}", icon=":material/broken_image:"):
            st.dataframe({"photo": list(skipped), "why": list(skipped.values())}, hide_index=True, width="stretch")
    smallest = caches.open_index(caches.SAMPLES)
    st.caption(
        f"*samples* comes with the app: {len(smallest.photos)} photographs at three scales, mirrored. It shows every "
        "page at work, but good reconstructions need about a million patches: some thousand photos."
    )


def delete_form() -> None:
    """Deletes an index, or what there is of one whose build was stopped."""
    root = indexes.default_root()
    finished = [name for name in caches.index_names() if name != caches.SAMPLES]
    unfinished = [name for name in indexes.list_unfinished(root) if name not in finished]
    if caches.read_only() or not finished + unfinished:
        return
    if unfinished:
        st.caption(
            f"Not finished: {', '.join(unfinished)}. **Build** with the same folder, name and settings goes on from there."
        )
    with st.popover("Delete an index", icon=":material/delete:"):
        name = st.selectbox(
            "Index",
            finished + unfinished,
            key="delete_name",
            format_func=lambda name: name if name in finished else f"{name}, not finished",
        )
        if st.button("Delete for good", key="delete", type="primary"):
            try:
                caches.delete_index(name)
            except OSError as error:
                st.error(escape_markdown(str(error)), icon=":material/error:")
                return
            st.rerun()


def build_form() -> None:
    st.subheader("Build an index", anchor=False)
    if caches.read_only():
        st.info("This server is shared: indexes are built on it by its owner only.", icon=":material/lock:")
        return
    source = st.text_input(
        "Folder of photos on the machine that runs this app",
        os.environ.get("CORRCORE_DATA", ""),
        key="build_folder",
        placeholder="/home/me/photos, or a data set in PASCAL VOC's layout",
    )
    name, scale, mirror, hold_out = st.columns(4, vertical_alignment="bottom")
    name_ = name.text_input("Name", key="build_name", placeholder="my-photos")
    scale_ = scale.selectbox("Photos enter", list(SCALES), key="build_scales")
    mirror_ = mirror.toggle("Mirrored as well", key="build_mirror")
    hold_out_ = hold_out.number_input("Photos to hold out", 0, 1000, 0, key="build_hold_out")
    if st.button("Build", type="primary", key="build", icon=":material/construction:"):
        start(source, name_, SCALES[scale_], mirror_, int(hold_out_))
    job = session().building
    if job is not None:
        job_panel.job_panel(job)
        if job.result is not None:
            st.success(f"{job.result.name} is ready: choose it under “Patches from”.", icon=":material/check:")
        elif job.state in ("cancelled", "failed"):
            st.caption("What is done is kept: **Build** with the same settings goes on from there.")


def start(source: str, name: str, scales: tuple[float, ...], mirror: bool, n_held_out: int) -> None:
    """Checks what was asked for and lines the build up; says in a sentence what is wrong."""
    try:
        target = indexes.default_root() / indexes.checked_name(name.strip())
        if target.exists():
            msg = f"There is an index {name!r} already; choose another name."
            raise ValueError(msg)
        if not source.strip():
            msg = "Name the folder that holds the photos."
            raise ValueError(msg)
        found = voc_root(Path(source.strip()).expanduser())
        photos, held_out = folder.hold_out(folder.photos(found), n_held_out)
        backbone = caches.network("alexnet")

        def work(*, progress: Callable[[float, str], None]) -> PatchIndex:
            return indexes.build(
                photos,
                target,
                backbone=backbone,
                scales=scales,
                mirror=mirror,
                held_out=[photo.name for photo in held_out],
                progress=progress,
            )

        running = session().building
        if running is not None and not running.finished:
            msg = f"{running.label} is not finished; wait for it or cancel it."
            raise ValueError(msg)
        session().building = sessions.queue("builds").submit(
            work, label=f"Building {name.strip()}", owner=session().owner
        )
    except (ValueError, OSError, QueueFull) as error:
        st.error(escape_markdown(str(error)), icon=":material/error:")


def voc_root(path: Path) -> Path:
    """The data set in a folder of data sets, if there is just one in PASCAL VOC's layout."""
    inner = [child.parent for child in path.glob("*/JPEGImages")] if path.is_dir() else []
    return inner[0] if len(inner) == 1 and not (path / "JPEGImages").is_dir() else path


def page() -> None:
    header.header("The photos that are searched", "Every page looks for nearest neighbours in one of these indexes.")
    show_indexes()
    delete_form()
    build_form()
    header.how_computed(HOW, {"indexes are kept in": indexes.default_root(), "network": "alexnet"})
    with st.expander("On the command line", icon=":material/terminal:"):
        st.code("corrcore index build PHOTOS --name my-photos --scales 1,0.7 --mirror\ncorrcore index list", "shell")


page()
