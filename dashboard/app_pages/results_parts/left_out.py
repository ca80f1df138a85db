"""What is not shown: why there is no table yet and what computes it, and files that are left out, by reason."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import streamlit as st

from corrcore import experiments, networks
from corrcore.experiments import Classification, ObjectExperiment, Prediction, Stored, Transfer
from dashboard import links
from dashboard.app_pages.results_parts import kinds
from dashboard.app_pages.results_parts.source import Source
from dashboard.app_pages.results_parts.view import Entry
from dashboard.parts import pickers, result_panel
from dashboard.services import caches, people
from dashboard.wording import escape_markdown

SAID_AT_MOST = 5


@dataclass(frozen=True)
class LeftOut:
    """Files of an experiment that are not shown, by name, some with the reason; `command` renews them."""

    command: str
    older: Sequence[str] = ()
    of_other_annotations: Sequence[str] = ()
    in_whose_place_are_more: Sequence[str] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict)
    empty: Mapping[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """How many there are of each kind; empty where there is none."""
        counts = {
            "of an older version": len(self.older),
            "of other annotations": len(self.of_other_annotations),
            "of fewer objects than those shown": len(self.in_whose_place_are_more),
            "that cannot be read": len(self.unreadable),
            "with nothing to show": len(self.empty),
        }
        said = ", ".join(f"{n} {what}" for what, n in counts.items() if n)
        return f"Files that are not shown: {said}" if said else ""


def left_out_of(
    stored: Stored, kind: kinds.Kind, source: Source, empty: Mapping[Path, str], fewer: Sequence[Entry] = ()
) -> LeftOut:
    """What is left out of an experiment's table on a data set; `empty` are results that are no table, with the
    reason.
    """
    own = {path.parent for path, result in stored.results.items() if source.made(result.provenance)}
    if source.data is not None:
        own |= {caches.store().folder / experiments.dataset_folder(source.data, name) for name in networks.names()}

    def belongs(header: Mapping[str, Any]) -> bool:
        return header["settings"].get("experiment") == kind.kind and source.made(header.get("provenance", {}))

    others = [
        file_of(path)
        for path, result in stored.results.items()
        if isinstance(result.experiment, kind)
        and source.data is not None
        and result.provenance.get("data") == source.data.name
        and not source.made(result.provenance)
    ]
    return LeftOut(
        command(kind, source),
        [file_of(path) for path, header in stored.older.items() if belongs(header)],
        others,
        [entry.file for entry in fewer],
        _of_kind(stored.unreadable, kind, lambda path: path.parent in own),
        _of_kind(empty, kind, lambda path: path.parent in own),
    )


def left_out_of_kind(stored: Stored, kind: kinds.Kind, empty: Mapping[Path, str]) -> LeftOut:
    """What is left out of all results of an experiment, whatever they are of."""
    older = [
        file_of(path) for path, header in stored.older.items() if header["settings"].get("experiment") == kind.kind
    ]
    unreadable = _of_kind(stored.unreadable, kind, lambda path: path.name.startswith(f"{kind.kind} "))
    return LeftOut(command(kind), older, unreadable=unreadable, empty=_of_kind(empty, kind, lambda _: True))


def _of_kind(reasons: Mapping[Path, str], kind: kinds.Kind, belongs: Callable[[Path], bool]) -> dict[str, str]:
    """Reasons by file, without the files that other experiments' names begin."""
    others = tuple(f"{each.kind} " for each in experiments.kinds() if each is not kind)
    return {
        file_of(path): reason.replace(str(path), path.name)
        for path, reason in reasons.items()
        if belongs(path) and not path.name.startswith(others)
    }


def file_of(path: Path) -> str:
    """A result's folder and file."""
    return f"{path.parent.name}/{path.name}"


def say_left_out(out: LeftOut) -> None:
    """Files that are not shown, folded."""
    if not out.label:
        return
    with st.expander(out.label, icon=":material/folder_off:"):
        if out.older:
            names = escape_markdown(", ".join(out.older))
            st.caption(
                f"Of an older version of the code: {names}. Run the command again to renew them: `{out.command}`"
            )
        if out.of_other_annotations:
            names = escape_markdown(", ".join(out.of_other_annotations))
            st.caption(f"Of other annotations than the data set has now: {names}.")
        if out.in_whose_place_are_more:
            names = escape_markdown(", ".join(out.in_whose_place_are_more))
            st.caption(f"In their place results of more objects are shown: {names}.")
        reasons = [*out.unreadable.items(), *out.empty.items()]
        for name, reason in reasons[:SAID_AT_MOST]:
            st.caption(escape_markdown(f"{name} is left out: {reason}"))
        if len(reasons) > SAID_AT_MOST:
            st.caption(f"{len(reasons) - SAID_AT_MOST} more are left out.")


def command(kind: kinds.Kind, source: Source | None = None) -> str:
    """What computes an experiment on the command line, or what lists its options."""
    if source is None or not (kind.number and issubclass(kind, ObjectExperiment)):
        return f"corrcore evaluate {kind.kind} --help"
    if source.name not in caches.dataset_names():
        return f"corrcore evaluate {kind.kind} --data FOLDER"
    folder = caches.available().spec(source.name).folder
    return f"corrcore evaluate {kind.kind} --data {shlex.quote(source.name if folder is None else str(folder))}"


def nothing_yet(kind: kinds.Kind, source: Source | None = None) -> None:
    """What is missing, the command that computes it, and the page that does."""
    where = " for this data set" if source is not None else ""
    what = kinds.name_of(kind) if kind.number else kind.title
    lines = command(kind, source)
    if lines.endswith("--help"):
        text = "There is a command for it, which goes on where it was stopped. Its options are listed by:"
    else:
        text = f"{_by_page(kind, source)}For all categories there is a command, which goes on where it was stopped:"
    if not people.may_measure():
        st.info(f"{what} has not been computed{where} yet; {people.reserved()}", icon=":material/lock:")
        return
    result_panel.empty_state(f"{what} has not been computed{where} yet", text)
    st.code(lines, language="sh", wrap_lines=True)


def _by_page(kind: kinds.Kind, source: Source | None) -> str:
    """The page that computes a table of a data set, in a sentence; empty where there is none or it may not."""
    if source is None or source.data is None:
        return ""
    data = pickers.dataset_title(source.name)
    to: dict[type, links.Route] = {
        Transfer: links.Alignment(data=data, alignment_section=kinds.SECTIONS["transfer"]),
        Classification: links.Classification(data=data),
        Prediction: links.Prediction(data=data, prediction_section=kinds.SECTIONS["prediction"]),
    }
    if kind not in to:
        return ""
    at_once = kind is Classification and source.synthetic
    trained = (
        " Detectors of every keypoint are trained first, which takes minutes per category, once."
        if kind is Prediction and not source.synthetic
        else ""
    )
    when = "at once" if at_once else "at the press of a button"
    page = to[kind]
    return f"The [{page.path.capitalize()} page]({page.url}) computes it {when}, a category at a time.{trained} "
