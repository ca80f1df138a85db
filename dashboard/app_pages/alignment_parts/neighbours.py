"""An object and its neighbours: the work that aligns them, and Figure 3, whose neighbours are to be clicked."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import streamlit as st

from corrcore import concurrency, extractors, images, metrics, store
from corrcore.concurrency import Progress
from corrcore.datasets.records import Instance
from corrcore.engines import mrf
from corrcore.features import Extractor, Feature
from corrcore.tasks import alignment
from corrcore.tasks.alignment import DescribedCrop, Neighbour, NeighbourPool, ObjectTransfer, Transfer
from dashboard import figures
from dashboard.app_pages.alignment_parts import kept
from dashboard.app_pages.alignment_parts.controls import ROWS, Choice
from dashboard.components import Outline, image_click
from dashboard.parts import header, legends, url_state
from dashboard.services import caches
from dashboard.wording import escape_markdown

SHOWN = 5
ALPHA = 0.1  # of the longer side of the box: what counts as right


@dataclass(frozen=True, eq=False)
class View:
    """An object, what was carried to it from how many neighbours, and warped pictures of each feature's first ones.

    Of the neighbours `found` has those that are drawn.
    """

    found: ObjectTransfer
    among: int
    warped: Mapping[Feature, Sequence[np.ndarray]]

    def shown(self, feature: Feature) -> tuple[Neighbour, ...]:
        """The neighbours that are drawn."""
        return self.found.transfers[feature].neighbours[:SHOWN]


def work_on_object(
    instance: Instance, train: Sequence[Instance], network: Extractor, choice: Choice, key: Hashable
) -> Callable[..., View]:
    """Work that aligns an object's neighbours among `train`; what comes out is remembered under `key`."""
    described, views, results = caches.described_crops(), caches.alignments(), caches.results()
    by, among = (network.digest, alignment.summary_source(network)), caches.state_of(train)
    known_as = store.key(task="summaries", version=alignment.VERSION, objects=among, by=by)
    aligned_as = store.key(
        task="object aligned",
        version=[alignment.VERSION, mrf.VERSION],
        object=caches.state_of([instance]),
        neighbours=[among, SHOWN],
        by=by,
        features=[[str(each), extractors.extractor_of(each, network).digest] for each in choice.each],
        smoothness=choice.smoothness,
        options=asdict(choice.options),
    )

    def describe(one: Instance) -> DescribedCrop:
        return described.get(
            (caches.state_of([one]), by, choice.each),
            lambda: alignment.describe_object(one, choice.each, network=network).halved(),
        )

    def pool(progress: Progress) -> NeighbourPool:
        def summaries() -> tuple[dict[str, np.ndarray], dict[str, str]]:
            def summarised(one: Instance) -> DescribedCrop:  # by no feature: the summary alone
                return alignment.describe_object(one, (), network=network)

            return {"summaries": NeighbourPool.of(train, summarised, progress=progress).summaries}, {}

        return NeighbourPool(train, describe, results.get_or_compute(known_as, summaries).arrays["summaries"])

    smoothness = dict.fromkeys(choice.each, choice.smoothness)

    def align(progress: Progress) -> ObjectTransfer:
        return alignment.transfer_to_object(
            instance,
            describe(instance),
            pool(concurrency.part(progress, 0, 0.5)),
            smoothness,
            options=choice.options,
            progress=concurrency.part(progress, 0.5, 0.5),
        )

    def make(progress: Progress) -> View:
        entry = results.get_or_compute(aligned_as, lambda: kept.as_arrays(align(progress), SHOWN))
        found = kept.from_entry(entry, describe(instance), train, describe, smoothness)
        warped: dict[Feature, list[np.ndarray]] = {feature: [] for feature in choice.each}
        for feature, transfer in found.transfers.items():
            concurrency.map_in_order(
                lambda one: alignment.warp(one.crop, found.target, one.alignment)[0],
                transfer.neighbours[:SHOWN],
                warped[feature].append,
            )
        return View(found, entry.metadata["among"], warped)

    def work(*, progress: Progress) -> View:
        return views.get(key, lambda: make(progress))

    return work


def chosen_neighbour(view: View, choice: Choice) -> tuple[Feature, Neighbour]:
    """Whose row and which neighbour is looked at: the object that was clicked, while its row shows it, else the
    first.
    """
    asked = url_state.asked("neighbour")
    row, _, name = asked.partition(":")
    features: dict[str, Feature] = dict(zip(ROWS, choice.features, strict=True))
    feature = features.get(row, choice.features[0])
    neighbours = view.shown(feature)
    there = {one.instance.name: one for one in neighbours}
    if asked:
        sentence = "Neighbour {} is not among those shown here; this is another."
        url_state.check_choice("neighbour", asked, row in features and name in there, sentence)
    chosen = there.get(name, neighbours[0])
    url_state.show("neighbour", f"{choice.rows[feature]}:{chosen.instance.name}")
    return feature, chosen


def show_figure(view: View, instance: Instance, names: Sequence[str], choice: Choice) -> tuple[Feature, Neighbour]:
    """Figure 3, each neighbour to be clicked; which row and neighbour is chosen."""
    chosen_row, chosen = chosen_neighbour(view, choice)
    rows = header.two_a_row("figure")
    for feature, transfer in view.found.transfers.items():
        places = rows.columns(SHOWN + 1, gap="small")
        with places[0]:
            st.markdown(
                f"**{feature.title}**",
                help="Filled: right, within the thin ellipse. Rings: wrong, with a line to the truth.",
            )
            picture = images.encode(target_picture(view, instance, transfer), format="JPEG")
            st.image(picture, width="stretch", alt=f"{instance.name}, keypoints carried to it by {feature.title}")
            hits = int(_right(transfer, instance).sum())
            st.caption(f"the target, predicted: {hits} of {int(instance.visible.sum())} right")
        for number, neighbour in enumerate(view.shown(feature)):
            with places[number + 1]:
                here = feature == chosen_row and neighbour.instance is chosen.instance
                _show_neighbour(view, feature, number, choice.rows[feature], here)
    legends.keypoint_legend(names)
    st.caption(
        f"The {SHOWN} least deformed of {view.among} neighbours, others in each row. In the target: "
        "filled "
        "where a prediction is right, a ring with a line to the truth where it is wrong; a thin ellipse is what "
        "counts as "
        "right (a circle in the photo). Click a neighbour to look at it below."
    )
    return chosen_row, chosen


def _show_neighbour(view: View, feature: Feature, number: int, row: str, chosen: bool) -> None:
    neighbour = view.shown(feature)[number]
    name, picture = neighbour.instance.name, neighbour_picture(view, feature, number)
    height, width = picture.shape[:2]
    st.markdown(f"**{number + 1}, chosen**" if chosen else f"{number + 1}")
    image_click(
        images.encode(picture, format="JPEG"),
        alt=f"{name}, warped by {feature.title}",
        key=f"neighbour {row} {number}",
        boxes=[Outline((0, 0, width, height), width=4)] if chosen else (),
        whole=True,
        on_click=lambda *_: url_state.choose("neighbour", f"{row}:{name}"),
    )
    st.caption(f"{escape_markdown(name)}, deformation {neighbour.alignment.deformation:.2f}")


def _right(transfer: Transfer, instance: Instance) -> np.ndarray:
    """Which keypoints are right; False where the object does not show one."""
    points, truth, box = transfer.keypoints[None], instance.keypoints[None], np.array([instance.box])
    errors = metrics.keypoint_errors(points, truth, box)[0]
    return np.nan_to_num(errors, nan=np.inf) <= ALPHA


def target_picture(view: View, instance: Instance, transfer: Transfer) -> np.ndarray:
    """The target with what was carried to it. What counts as right is a circle in the photo, in the crop an ellipse."""
    target = view.found.target
    x, y = target.transform.scale
    return figures.draw_keypoints(
        target.image,
        target.transform.to_crop(transfer.keypoints),
        truth=target.transform.to_crop(instance.keypoints),
        radii_px=(ALPHA * max(instance.size) * x, ALPHA * max(instance.size) * y),
    )


def neighbour_picture(view: View, feature: Feature, number: int) -> np.ndarray:
    """A neighbour warped onto the target, with its keypoints."""
    points = view.found.target.transform.to_crop(view.shown(feature)[number].keypoints)
    return figures.draw_keypoints(view.warped[feature][number], points)


def poster(view: View, instance: Instance) -> bytes:
    """Figure 3 as one PNG."""
    transfers = view.found.transfers
    columns = [figures.Column("target", [target_picture(view, instance, each) for each in transfers.values()])]
    columns += [
        figures.Column(f"neighbour {number + 1}", [neighbour_picture(view, feature, number) for feature in transfers])
        for number in range(min(SHOWN, len(view.found.neighbours)))
    ]
    return images.encode(figures.image_grid(columns, [feature.title for feature in transfers]), format="PNG")
