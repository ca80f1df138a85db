"""Neighbours warped onto an object by their features, keypoints carried along: Figure 3 and Table 2."""

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
import streamlit as st

from corrcore import concurrency, experiments, images, store
from corrcore.datasets.records import Instance, KeypointDataset
from corrcore.decoding import ImageError
from corrcore.experiments import published
from corrcore.tasks import alignment
from corrcore.tasks.alignment import Alignment, DescribedCrop, Transfer
from dashboard import figures
from dashboard.components import Outline, compare, image_click
from dashboard.parts import exports, header, job_panel, legends, pickers, result_panel, upload, url_state
from dashboard.services import caches
from dashboard.titles import feature_title, row_title
from dashboard.wording import escape_markdown

BACKBONE = pickers.BACKBONE
METHODS = {"trw-s": "TRW-S, with a lower bound", "bp": "belief propagation, as in the paper"}
MOST_ITERATIONS = 50
SHOWN = 5
PUBLISHED = "published, α = 0.1"
ALPHA = 0.1  # of the longer side of the box: what counts as right
OBJECTS, PHOTOS = "Objects of a data set", "Two photos of yours"
SECTIONS = ("The chosen pair", "A point", "Accuracy (Table 2)")
PLAIN = {"displayModeBar": False}

ENERGY = r"""
Every cell $p$ of the source is displaced by $w(p)$ to a cell of the target, all together with the least energy

$$ E(w) = \sum_p \|f_s(p) - f_t(p + w(p))\|^2 + \beta \sum_{(p,q)} \|w(p) - w(q)\|^2 $$

with descriptors of unit length and $w$ in cells. Sequential tree-reweighted message passing minimises it and bounds from
below what any displacement could reach; fractions of cells come from parabolas through the costs, bicubic splines lead
from cells to pixels. The energy is that of whole cells, the deformation that of the fractions: the mean of
$\|w(p) - w(q)\|^2$ over cells side by side. SIFT's descriptors differ less from each other than a layer's, so the same
$\beta$ holds them together more firmly; in the table each has its own, chosen on train objects. (The paper's 0.003 is for
features of another scale.)
"""
HOW_OBJECTS = (
    "Source and target are cut out by their boxes, widened by a tenth on every side, and stretched to 18 x 18 cells."
    + ENERGY
    + "\nOf the 25 train objects most like the target, the five least deformed that show a keypoint vote on it, by the median "
    "of each coordinate. A keypoint is right within a tenth of the box's longer side (PCK). Long, Zhang and Darrell (2014), "
    "Section 4."
)
HOW_PHOTOS = (
    "Both photos are scaled to 18 cells on the longer side, and widened to whole cells by repeating their borders."
    + ENERGY
    + "\nLong, Zhang and Darrell (2014), Section 4."
)


@dataclass(frozen=True)
class Asked:
    """What the page computes with."""

    features: tuple[str, str]
    smoothness: float
    method: str
    iterations: int

    @property
    def key(self) -> tuple[object, ...]:
        """Equal in every run of this page, each of which makes this class anew."""
        return astuple(self)

    @property
    def options(self) -> dict[str, Any]:
        return {"smoothness": self.smoothness, "method": self.method, "iterations": self.iterations}


@dataclass(frozen=True)
class View:
    """An object and its neighbours, aligned by each feature; warped pictures of the first few."""

    target: DescribedCrop
    transfers: Mapping[str, Transfer]
    warped: Mapping[str, list[np.ndarray]]


@dataclass(frozen=True)
class Pair:
    """A source and a target, aligned by each feature."""

    source: DescribedCrop
    target: DescribedCrop
    names: tuple[str, str]
    alignments: Mapping[str, Alignment]


def work_on_object(
    category: str, instance: Instance, train: list[Instance], state: str, asked: Asked, key: tuple[object, ...]
) -> Callable[..., View]:
    """`state` tells the train objects' (see `caches.state_of`); what comes out is kept under `key`."""
    backbone, results, subjects = caches.network(BACKBONE), caches.results(), caches.subjects()
    features, views = tuple(dict.fromkeys(asked.features)), caches.alignments()

    def describe(one: Instance) -> DescribedCrop:
        return subjects.get(
            (caches.state_of([one]), features),
            lambda: alignment.subject(one, features, backbone=backbone).halved(),
        )

    def described_or_none(one: Instance) -> DescribedCrop | None:
        try:
            return describe(one)
        except (ImageError, OSError):
            return None

    def work(*, progress: Callable[[float, str], None]) -> View:
        return views.get(key, lambda: make(progress))

    def make(progress: Callable[[float, str], None]) -> View:
        target = describe(instance)

        def each(
            work: Callable[[Instance], Any], some: list[Instance], start: float, end: float, what: str
        ) -> list[Any]:
            found: list[Any] = []

            def keep(one: Any) -> None:
                found.append(one)
                text = f"describing {what}, {len(found)} of {len(some)}"
                progress(start + (end - start) * len(found) / len(some), text)

            concurrency.map_in_order(work, some, keep)
            return found

        def summary(one: Instance) -> np.ndarray:  # of a photo that cannot be read: like nothing
            found = described_or_none(one)
            return np.zeros_like(target.summary) if found is None else found.summary

        def summaries() -> tuple[dict[str, np.ndarray], dict[str, Any]]:
            return {"summaries": np.stack(each(summary, train, 0, 0.5, f"{category} to find neighbours among"))}, {}

        known_as = store.key(task="summaries", version=alignment.VERSION, objects=state, backbone=backbone.digest)
        known = results.get_or_compute(known_as, summaries).arrays["summaries"]
        order = alignment.nearest(target.summary, known, len(train))
        others = [train[n] for n in order if train[n].photo.name != instance.photo.name and known[n].any()]
        others = others[: experiments.NEIGHBOURS]
        found = each(described_or_none, others, 0.5, 0.7, "neighbours")
        pairs = [(one, subject) for one, subject in zip(others, found, strict=True) if subject is not None]
        transfers, warped = {}, {}
        for number, feature in enumerate(features):

            def report(share: float, text: str, number: int = number) -> None:
                progress(0.7 + 0.3 * (number + share) / len(features), text)

            transfers[feature] = alignment.transfer(target, pairs, feature, **asked.options, progress=report)
            warped[feature] = []
            first = transfers[feature].neighbours[:SHOWN]
            concurrency.map_in_order(
                lambda one: alignment.warp(one.subject, target, one.alignment)[0], first, warped[feature].append
            )
        return View(target, transfers, warped)

    return work


def work_on_photos(photos: list[np.ndarray], names: tuple[str, str], asked: Asked) -> Callable[..., Pair]:
    backbone = caches.network(BACKBONE)
    features = tuple(dict.fromkeys(asked.features))

    def work(*, progress: Callable[[float, str], None]) -> Pair:
        progress(0, "describing the photos")
        whole = [(-0.5, -0.5, photo.shape[1] - 0.5, photo.shape[0] - 0.5) for photo in photos]
        source, target = (
            alignment.describe(photo, box, features, backbone=backbone, margin=0, square=False)
            for photo, box in zip(photos, whole, strict=True)
        )
        found = {}
        for number, feature in enumerate(features):
            progress(0.2 + 0.8 * number / len(features), f"{feature_title(feature)}: aligning")
            found[feature] = alignment.align(source.grids[feature], target.grids[feature], **asked.options)
        return Pair(source, target, names, found)

    return work


def choose_features(places: Sequence[Any]) -> Asked:
    """The controls, one in each of four places."""
    offered = pickers.aligned_features()
    title = feature_title
    titles = [title(feature) for feature in offered]
    allowed = {
        "upper": titles,
        "lower": titles,
        "smoothness": [str(each) for each in pickers.SMOOTHNESSES],
        "method": list(METHODS.values()),
        "iterations": [str(each) for each in range(1, MOST_ITERATIONS + 1)],
    }
    for name, values in allowed.items():
        url_state.check_link(name, values)
    at_upper, at_lower, at_smoothness, at_solver = places
    upper = at_upper.selectbox("Upper row", offered, offered.index("conv4"), title, key="upper", bind="query-params")
    lower = at_lower.selectbox("Lower row", offered, offered.index("sift20"), title, key="lower", bind="query-params")
    smoothness = at_smoothness.select_slider(
        "Smoothness β",
        pickers.SMOOTHNESSES,
        0.1,
        key="smoothness",
        bind="query-params",
        help="How much neighbouring cells are held together: little follows every likeness, much moves all alike.",
    )
    with at_solver.popover("Solver", icon=":material/tune:", width="stretch"):
        method = st.radio("Messages", list(METHODS), format_func=METHODS.get, key="method", bind="query-params")
        iterations = st.slider("Iterations at most", 1, MOST_ITERATIONS, 10, key="iterations", bind="query-params")
    return Asked((upper, lower), smoothness, method, iterations)


def radii_in_cut_out(instance: Instance, subject: DescribedCrop) -> tuple[float, float]:
    """What counts as right is a circle in the photo; in the cut-out, which is stretched, an ellipse of these radii."""
    x, y = subject.placement.scale
    return ALPHA * max(instance.size) * x, ALPHA * max(instance.size) * y


def show_figure(view: View, instance: Instance, names: tuple[str, ...]) -> tuple[str, int]:
    """Figure 3, each neighbour to be clicked; which row and neighbour is chosen."""
    features = list(view.transfers)
    asked = re.fullmatch(r"([1-9])\.([1-9])", url_state.asked("neighbour", "1.1"))
    row, number = (int(each) - 1 for each in asked.groups()) if asked else (0, 0)
    chosen_row = min(row, len(features) - 1)
    chosen = min(number, SHOWN - 1, len(view.transfers[features[chosen_row]].neighbours) - 1)
    truth = view.target.placement.to_crop(instance.keypoints)
    radii = radii_in_cut_out(instance, view.target)
    rows = header.two_a_row("figure")
    height, width = view.target.image.shape[:2]
    frame = Outline((0, 0, 2 * width, 2 * height), width=4)  # pictures are drawn at twice their size
    for at, (feature, transfer) in enumerate(view.transfers.items()):
        predicted = view.target.placement.to_crop(transfer.keypoints)
        errors = np.linalg.norm(transfer.keypoints - instance.keypoints, axis=1) / max(instance.size)
        right = int((errors <= ALPHA).sum())
        places = rows.columns(SHOWN + 1, gap="small")
        with places[0]:
            st.markdown(
                f"**{feature_title(feature)}**",
                help="Filled: right, within the thin ellipse. Rings: wrong, with a line to the truth.",
            )
            drawn = figures.draw_keypoints(view.target.image, predicted, truth=truth, radii_px=radii)
            st.image(images.encode(drawn, format="JPEG"), width="stretch")
            st.caption(f"the target, predicted: {right} of {int(instance.visible.sum())} right")
        for n, (neighbour, warped) in enumerate(zip(transfer.neighbours, view.warped[feature], strict=False)):
            with places[n + 1]:
                st.markdown(f"{n + 1}" if (at, n) != (chosen_row, chosen) else f"**{n + 1}, chosen**")
                image_click(
                    images.encode(
                        figures.draw_keypoints(warped, view.target.placement.to_crop(neighbour.keypoints)),
                        format="JPEG",
                    ),
                    alt=f"{neighbour.instance.name}, warped by {feature_title(feature)}",
                    key=f"neighbour {at} {n}",
                    boxes=[frame] if (at, n) == (chosen_row, chosen) else (),
                    on_click=lambda *_, where=f"{at + 1}.{n + 1}": url_state.choose("neighbour", where),
                )
                st.caption(f"deformation {neighbour.alignment.deformation:.2f}")
    legends.keypoint_legend(names)
    st.caption(
        "The five least deformed of 25 neighbours, others in each row. In the target: filled where a prediction is right, a ring "
        "with a line to the truth where it is wrong; a thin ellipse is what counts as right (a circle in the photo). Click a "
        "neighbour to look at it below."
    )
    return features[chosen_row], chosen


def show_pair(pair: Pair, feature: str) -> None:
    """Source, warped and target, the field in colours and arrows, and how the energy fell."""
    found = pair.alignments[feature]
    warped, _ = alignment.warp(pair.source, pair.target, found)
    left, right = st.columns([1, 1], gap="medium")
    with left:
        st.markdown(f"**Target, and the source warped onto it by {feature_title(feature)}**")
        compare(
            images.encode(pair.target.image, format="JPEG"),
            images.encode(warped, format="JPEG"),
            labels=("target", "source, warped"),
            alt=f"{pair.names[1]} and {pair.names[0]} warped onto it by {feature_title(feature)}",
            key="compare",
            width=480,
        )
    with right:
        st.markdown("**Displacement of the source's cells**")
        arrows, colours = st.columns(2, gap="small")
        arrows.image(
            images.encode(figures.displacement_arrows(pair.source.image, found), format="JPEG"), caption="as arrows"
        )
        longest = max(float(np.linalg.norm(found.displacement, axis=-1).max()), 1.0)
        colours.image(
            images.encode(figures.displacement_picture(found, longest=longest), format="PNG"),
            caption="as colours: see the wheel",
        )
        wheel, numbers = st.columns([1, 3], gap="small", vertical_alignment="center")
        with wheel:
            legends.round_picture(
                figures.colour_wheel(), alt="Colours of directions: red to the right, others clockwise"
            )
        solution = found.solution
        gap = "" if not np.isfinite(solution.lower_bound) else f", at most {max(solution.gap, 0):.2f} above the optimum"
        numbers.markdown(
            f"Rim of the wheel: {longest:.1f} cells. Deformation {found.deformation:.2f} cells² a pair of neighbours. "
            f"Energy {solution.energy:.2f} = likeness {solution.data:.2f} + smoothness {solution.smoothness:.2f}{gap}."
        )
    st.plotly_chart(figures.energy_history(found.solution), key="energy", config=PLAIN)


def show_point(pair: Pair) -> None:
    """A clicked point of the source, where it lands by each field, and how like it every place of the target is."""
    height, width = pair.source.image.shape[:2]
    x, y = url_state.pixel_of(pair.source.image)
    point = np.array([float(x), float(y)])
    places = st.columns(1 + len(pair.alignments), gap="small")
    with places[0]:
        st.markdown("**source**")
        image_click(
            images.encode(pair.source.image, format="JPEG"),
            alt=f"{pair.names[0]}: click a point",
            key="point",
            selected=(x, y),
            on_click=lambda x, y: url_state.choose("at", f"{x},{y}"),
        )
        st.caption(f"Click a point; now ({x}, {y}) of {width} x {height} px.")
    for place, (feature, found) in zip(places[1:], pair.alignments.items(), strict=True):
        cells = pair.source.grids[feature].cells
        row, column = cells.nearest(x, y)
        descriptor = pair.source.grids[feature].descriptors[row, column].float()
        similarity = (pair.target.grids[feature].descriptors.float() @ descriptor).cpu().numpy()
        lands = found.to_target(point)
        with place:
            st.markdown(f"**{feature_title(feature)}**")
            drawn = figures.similarity_overlay(pair.target.image, similarity)
            drawn = figures.draw_crosses(
                drawn, [((float(lands[0]) * 2 + 0.5, float(lands[1]) * 2 + 0.5), "#d55e00")], scale=1
            )
            st.image(images.encode(drawn, format="JPEG"), width="stretch")
            st.caption(
                f"Target. Lands at ({lands[0]:.0f}, {lands[1]:.0f}) px of the cut-out; greatest likeness {similarity.max():.2f}."
            )
    legends.colour_bar(figures.viridis_colours(), "likeness of the target's cells (cosine): 0", "1")


def show_table(data: KeypointDataset, category: str) -> None:
    """Table 2 of what was computed on this machine, beside what was published, and a button to compute it."""
    folder = experiments.default_folder(data, BACKBONE)
    st.markdown(
        f"**PCK of keypoints transferred to the val objects** of {data.title}, in percent, with 95 % intervals over objects. "
        "NN lays the neighbours' boxes on the target's, with no alignment."
    )
    computed: list[dict[str, str]] = []
    missing: list[dict[str, str]] = []
    for each in data.categories:
        result = experiments.read(folder / f"transfer {each}.json")
        if result is None:
            missing += [
                {"category": each, "objects": "not computed", "row": row_title(row), PUBLISHED: number}
                for row in published.TRANSFER_ROWS
                if (number := published.transfer(row, each))
            ]
            continue
        for part, found in result["summary"].items():
            for row, at in found["rows"].items():
                cells = {"category": each, "objects": f"{found['objects']} {part}", "row": row_title(row)}
                for alpha in experiments.ALPHAS:
                    number = at[str(alpha)]
                    cells[f"α = {alpha}"] = f"{number['mean']:.1f} [{number['low']:.1f}, {number['high']:.1f}]"
                computed.append(cells | {PUBLISHED: published.transfer(row, each) if part == "all" else ""})
    if computed or missing:
        names = list((computed or missing)[0])
        st.dataframe(
            {name: [cells.get(name, "") for cells in computed + missing] for name in names},
            hide_index=True,
            width="stretch",
        )
        st.caption(
            "*Large*: the box's shorter side at least 60 px and five keypoints visible. Published: Long, Zhang and Darrell "
            "(2014), Table 2, with the Caffe reference model and fc7 neighbours."
        )
    file = folder / f"transfer {category}.json"

    def work(*, progress: Callable[[float, str], None]) -> dict[str, Any]:
        folder.mkdir(parents=True, exist_ok=True)
        return experiments.transfer(data, category, backbone=caches.network(BACKBONE), out=file, progress=progress)

    found = result_panel.result_panel(
        f"Table 2 has not been computed for {category} yet",
        "It takes about ten minutes, here or with `corrcore evaluate transfer --data FOLDER --categories NAME`.",
        ("transfer", data.digest, category),
        work,
        read=lambda: experiments.read(file),
        button=f"Compute for {category}",
        label=f"Table 2, {category}",
    )
    if found is not None and not caches.read_only():
        st.button(
            f"Forget the results for {category}",
            key="forget",
            on_click=lambda: experiments.forget(file),
            help="To compute them anew, for instance where they are of other settings.",
        )


def poster(view: View, instance: Instance) -> bytes:
    """Figure 3 as one PNG."""
    truth = view.target.placement.to_crop(instance.keypoints)
    radii = radii_in_cut_out(instance, view.target)
    columns = [
        figures.Column(
            "target",
            [
                figures.draw_keypoints(
                    view.target.image, view.target.placement.to_crop(t.keypoints), truth=truth, radii_px=radii
                )
                for t in view.transfers.values()
            ],
        )
    ]
    for n in range(SHOWN):
        pictures = [
            figures.draw_keypoints(view.warped[f][n], view.target.placement.to_crop(t.neighbours[n].keypoints))
            for f, t in view.transfers.items()
            if n < len(view.warped[f])
        ]
        if pictures:
            columns.append(figures.Column(f"neighbour {n + 1}", pictures))
    return images.encode(
        figures.image_grid(columns, [feature_title(feature) for feature in view.transfers]), format="PNG"
    )


def fields(alignments: Mapping[str, Alignment]) -> bytes:
    """The displacement fields as NPZ: in cells, (dx, dy), with what is needed to turn them to pixels."""
    content: dict[str, np.ndarray] = {}
    for name, found in alignments.items():
        content[f"{name}_displacement_cells"] = found.displacement
        content[f"{name}_source_centres_px"] = found.source.centres()
        content[f"{name}_target_centres_px"] = found.target.centres()
        content[f"{name}_stride_px"] = np.array(found.source.receptive_field.stride)
        content[f"{name}_energy_and_bound"] = found.solution.history
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **content)
    return file.getvalue()


def keypoints_table(view: View, instance: Instance, names: tuple[str, ...]) -> bytes:
    """Predicted and true keypoints, in pixels of the photo, as CSV."""
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(["object", "keypoint", "row", "x", "y", "true_x", "true_y"])
    for feature, transfer in view.transfers.items():
        for name, point, true in zip(names, transfer.keypoints, instance.keypoints, strict=True):
            numbers = ["" if np.isnan(value) else f"{value:.2f}" for value in (*point, *true)]
            table.writerow([instance.name, name, feature, *numbers])
    return text.getvalue().encode()


def python_lines(source: str, category: str, instance: Instance, asked: Asked) -> str:
    imports, where = pickers.python_dataset(source)
    return f"""{imports}import numpy as np

from corrcore.tasks import alignment
from corrcore import networks, datasets

data, backbone = datasets.open_dataset({where}), networks.load({BACKBONE!r})
target = next(one for one in data.visible_instances({category!r}, "val") if one.name == {instance.name!r})
others = [one for one in data.visible_instances({category!r}, "train") if one.photo.name != target.photo.name]
features = {list(dict.fromkeys(asked.features))}
described = [alignment.subject(one, features, backbone=backbone).halved() for one in others]
subject = alignment.subject(target, features, backbone=backbone).halved()
nearest = alignment.nearest(subject.summary, np.stack([one.summary for one in described]), {experiments.NEIGHBOURS})
neighbours = [(others[n], described[n]) for n in nearest]
for feature in features:
    found = alignment.transfer(subject, neighbours, feature, **{asked.options})
    print(feature, found.keypoints - target.keypoints)
"""


def page_of_objects() -> None:
    at_data, at_category, *others = header.two_a_row("controls").columns(
        [3, 2, 3, 3, 3, 2], gap="small", vertical_alignment="bottom"
    )
    name, data, category = pickers.choose_category(at_data, at_category)
    asked = choose_features(others)
    names = tuple(data.keypoint_names[category])
    gallery, beside = st.columns([5, 3], gap="medium")
    with gallery:
        try:
            instance = pickers.choose_object(data, category, beside)
            train = data.visible_instances(category, "train")
            state = caches.state_of(train)
            key = (data.digest, category, instance.name, caches.state_of([instance]), state, asked.key)
        except (OSError, ValueError) as error:
            st.error(escape_markdown(str(error)), icon=":material/broken_image:")
            st.stop()
    with beside:
        drawn = " · **drawn, synthetic**" if data.synthetic else ""
        st.caption(
            f"{escape_markdown(instance.name)}{drawn} · neighbours found by "
            f"{alignment.summary_source(caches.network(BACKBONE))}"
        )
        pickers.show_left_out("annotation", data.left_out)
    work = work_on_object(category, instance, train, state, asked, key)
    view: View = job_panel.view(work, f"Aligning {escape_markdown(instance.name)}", key)
    feature, chosen = show_figure(view, instance, names)
    neighbour = view.transfers[feature].neighbours[chosen]
    alignments = {
        each: next(n.alignment for n in transfer.neighbours if n.instance is neighbour.instance)
        for each, transfer in view.transfers.items()
    }
    pair = Pair(neighbour.subject, view.target, (neighbour.instance.name, instance.name), alignments)
    section = header.section_picker("Look closer", SECTIONS, key="alignment_section")
    if section == SECTIONS[0]:
        show_pair(pair, feature)
    elif section == SECTIONS[1]:
        show_point(pair)
    else:
        show_table(data, category)
    finish(
        HOW_OBJECTS,
        asked,
        {
            "data": f"{data.title}, {data.digest[:8]}",
            "object": instance.name,
            "neighbours": f"{len(view.transfers[feature].neighbours)} of {len(data.instances(category, 'train'))} train objects",
        },
        {
            "alignment.png": lambda: poster(view, instance),
            "alignment.npz": lambda: fields(
                {
                    f"{each}_{n.instance.name}": n.alignment
                    for each, transfer in view.transfers.items()
                    for n in transfer.neighbours[:SHOWN]
                }
            ),
            "keypoints.csv": lambda: keypoints_table(view, instance, names),
        },
        python_lines(name, category, instance, asked),
    )


def page_of_photos() -> None:
    asked = choose_features(
        header.two_a_row("controls").columns([3, 3, 3, 2], gap="small", vertical_alignment="bottom")
    )
    found = []
    for place, what in zip(st.columns(2), ("Source, to be warped", "Target"), strict=True):
        with place:
            found.append(upload.upload(what))
    photos, names = [each[0] for each in found if each], [each[1] for each in found if each]
    if len(photos) < 2:
        st.info(
            "Upload two photos of the same kind of thing, each cropped to it. They stay in this session's memory.",
            icon=":material/upload_file:",
        )
        st.stop()
    key = ("photos", *(images.digest(photo) for photo in photos), asked.key)
    pair: Pair = job_panel.view(work_on_photos(photos, (names[0], names[1]), asked), "Aligning two photos", key)
    features = list(pair.alignments)
    places = header.two_a_row("figure").columns(2 + len(features), gap="small")
    for place, title, image in zip(places, ("source", "target"), (pair.source.image, pair.target.image), strict=False):
        place.markdown(f"**{title}**")
        place.image(images.encode(image, format="JPEG"), width="stretch")
    warped = {feature: alignment.warp(pair.source, pair.target, pair.alignments[feature])[0] for feature in features}
    for place, feature in zip(places[2:], features, strict=True):
        place.markdown(f"**warped by {feature_title(feature)}**")
        place.image(images.encode(warped[feature], format="JPEG"), width="stretch")
        place.caption(f"deformation {pair.alignments[feature].deformation:.2f}")
    section = header.section_picker("Look closer", SECTIONS[:2], key="alignment_section")
    if section == SECTIONS[0]:
        feature = st.segmented_control(
            "By", features, default=features[0], format_func=feature_title, key="pair_by", required=True
        )
        show_pair(pair, feature)
    else:
        show_point(pair)
    python = f"""from corrcore import decoding, networks
from corrcore.tasks import alignment

backbone = networks.load("{BACKBONE}")
photos = [decoding.decode(name) for name in ({names[0]!r}, {names[1]!r})]
boxes = [(-0.5, -0.5, photo.shape[1] - 0.5, photo.shape[0] - 0.5) for photo in photos]
source, target = (alignment.describe(photo, box, ["{features[0]}"], backbone=backbone, margin=0, square=False)
                  for photo, box in zip(photos, boxes))
found = alignment.align(source.grids["{features[0]}"], target.grids["{features[0]}"], **{asked.options})
picture, shown = alignment.warp(source, target, found)
"""

    def sheet() -> bytes:
        columns = [figures.Column("source", [pair.source.image]), figures.Column("target", [pair.target.image])]
        columns += [
            figures.Column(f"warped by {feature_title(feature)}", [picture]) for feature, picture in warped.items()
        ]
        return images.encode(figures.image_grid(columns, [""]), format="PNG")

    finish(
        HOW_PHOTOS,
        asked,
        {"photos": " and ".join(names)},
        {"alignment.png": sheet, "alignment.npz": lambda: fields(pair.alignments)},
        python,
    )


def finish(
    how: str, asked: Asked, parameters: dict[str, object], downloads: dict[str, Callable[[], bytes]], python: str
) -> None:
    backbone = caches.network(BACKBONE)
    header.how_computed(
        how,
        parameters
        | {
            "network": f"{backbone.name}, weights {backbone.digest[:8]}",
            "features": ", ".join(map(feature_title, asked.features)),
            "smoothness": asked.smoothness,
            "solver": f"{METHODS[asked.method]}, at most {asked.iterations} iterations",
        },
    )
    exports.export_row(downloads=downloads, python=python)


def page() -> None:
    header.header(
        "One thing bent into another's shape",
        "Neighbours are warped onto an object by matching features and holding the warp smooth, and their keypoints travel with "
        "them. **Look for** eyes, noses and legs that land in place: features trained only to name images do that "
        "at least as well as SIFT, which was made for matching.",
    )
    mode = header.section_picker("What to align", (OBJECTS, PHOTOS), key="mode")
    (page_of_objects if mode == OBJECTS else page_of_photos)()


page()
