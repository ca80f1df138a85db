"""The Alignment page: what every choice and every click changes, and what is said where there is nothing to show."""

import base64
import csv
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from corrcore import datasets, networks
from corrcore.datasets import toy
from corrcore.experiments import Transfer, run
from corrcore.features import Feature
from corrcore.tasks import alignment
from dashboard.services import caches
from dashboard.services.jobs import Queue
from dashboard.services.kept_networks import kept_networks
from dashboard.wording import escape_markdown

from ..conftest import smooth_noise
from ..datasets.voc_tree import Tree
from .conftest import ROOT, component, keys, offered_as, parameters, picture, settled

PAGE = str(ROOT / "dashboard/app_pages/alignment.py")
N_TRAIN, N_VAL = 6, 3
PHOTOS = "Two photos of yours"
POINT, TABLE = "A point", "Accuracy (Table 2)"
CONV4, SIFT20 = Feature("alexnet", "conv4"), Feature("sift", "20")


@pytest.fixture(scope="module", autouse=True)
def data(cache_folder):
    """A few drawn animals, on offer as "few"."""
    few = toy.load(n_train=N_TRAIN, n_val=N_VAL)
    with offered_as("few", few):
        yield few


@pytest.fixture
def open_few(open_page):
    """``open_few(mode=...)``: the page on the few animals."""
    return lambda **query: open_page("alignment", **{"data": "few", **query})


@pytest.fixture
def at(open_few):
    return open_few()


def captions(at, part):
    return [caption.value for caption in at.caption if part in caption.value]


def deformations(at):
    return [float(text.rpartition(" ")[2]) for text in captions(at, "deformation")]


def texts(at):
    return [markdown.value for markdown in at.markdown]


def chosen(at):
    """The position and the name of the neighbour that is marked, and the pair that is shown below."""
    [number] = [text for text in texts(at) if text.endswith("chosen**")]
    [pair] = captions(at, "Source: ")
    return int(number.strip("*").partition(",")[0]), pair.rpartition("Source: ")[2].rstrip(".")


def pair_numbers(at):
    """Energy, likeness and smoothness of the chosen pair."""
    [text] = [text for text in texts(at) if text.startswith("Rim of the wheel")]
    return [float(n) for n in re.findall(r"(?:Energy|likeness|smoothness) ([0-9.]+[0-9])", text)], text


def drawn_energy(at):
    """The energies of the chart, by the names of its lines."""
    traces = json.loads(at.get("plotly_chart")[0].proto.spec)["data"]
    numbers = {trace["name"]: trace["y"] for trace in traces}
    return {name: np.frombuffer(base64.b64decode(y["bdata"]), y["dtype"]) for name, y in numbers.items()}


@pytest.fixture(scope="module")
def kept():
    """The first view, for tests that only look at it."""
    return {}


@pytest.fixture
def first(kept, open_few, offered):
    if not kept:
        kept.update(at=open_few(), offered=dict(offered))
    return kept["at"]


@pytest.fixture
def files(first, kept):
    return kept["offered"]


@pytest.fixture(scope="module")
def expected(data):
    """What the package alone carries to the first object, in full precision."""
    network, features = networks.open("alexnet"), (CONV4, SIFT20)
    train, [target, *_] = data.instances("toy cat", "train"), data.instances("toy cat", "val")

    def describe(one):
        return alignment.describe_object(one, features, network=network)

    pool = alignment.NeighbourPool.of(train, describe)
    return alignment.transfer_to_object(target, describe(target), pool, dict.fromkeys(features, 0.1))


def test_first_view_shows_two_rows_of_a_target_and_its_five_least_deformed_neighbours(first, data, expected):
    assert first.session_state["corrcore"].shown["object"] == "toy-cat-val-000"
    rows = [text for text in texts(first) if text in ("**conv4**", "**SIFT, radius 20 px**")]
    assert rows == ["**conv4**", "**SIFT, radius 20 px**"]
    instance = data.instances("toy cat", "val")[0]
    predictions = []
    for transfer in expected.transfers.values():
        errors = np.linalg.norm(transfer.keypoints - instance.keypoints, axis=1) / max(instance.size)
        right = int((errors <= 0.1).sum())
        predictions.append(f"the target, predicted: {right} of {int(instance.visible.sum())} right")
    assert captions(first, "the target, predicted") == predictions
    least = [n for transfer in expected.transfers.values() for n in transfer.neighbours[:5]]
    found = deformations(first)
    np.testing.assert_allclose(
        found, [n.alignment.deformation for n in least], atol=0.03
    )  # descriptors at half precision
    named = [text.partition(",")[0] for text in captions(first, "deformation")]
    assert named == [n.instance.name for n in least]
    assert {f"neighbour {row} {n}" for row in ("upper", "lower") for n in range(5)} <= keys(first)


def test_neighbours_are_the_warped_photos(first, data):
    shown = picture(first, "neighbour upper 0")
    assert shown.shape[0] == shown.shape[1]
    others = [picture(first, f"neighbour {row} {n}") for row, n in (("upper", 1), ("lower", 0), ("lower", 4))]
    assert all((other != shown).any() for other in others)
    alts = [component(first, f"neighbour {row} {n}")["alt"] for row in ("upper", "lower") for n in range(5)]
    assert [alt.split(",")[0] for alt in alts] == [text.partition(",")[0] for text in captions(first, "deformation")]


def test_drawn_objects_are_labelled_synthetic_and_the_network_is_named(first):
    [about] = captions(first, "**drawn, synthetic**")
    assert "of AlexNet" in about
    assert first.selectbox(key="data").options == ["Drawn animals", "few"]
    assert first.selectbox(key="network").value == "alexnet"


def test_parameters_in_force_are_listed(first, data):
    table = parameters(first)
    assert table["features"] == "conv4, SIFT, radius 20 px"
    assert table["smoothness"] == "0.1"
    assert table["object"] == "toy-cat-val-000"
    assert table["neighbours"] == f"{N_TRAIN} of {N_TRAIN} train objects"
    assert data.digest[:8] in table["data"]


def test_another_feature_changes_its_row_only(at):
    before = deformations(at)
    at.selectbox(key="lower").set_value(Feature("alexnet", "conv5"))
    settled(at.run())
    after = deformations(at)
    assert after[:5] == before[:5]
    assert after[5:] != before[5:]
    assert "**conv5**" in texts(at)
    assert "**SIFT, radius 20 px**" not in texts(at)
    assert parameters(at)["features"] == "conv4, conv5"


def test_one_feature_twice_is_one_row(at):
    at.selectbox(key="lower").set_value(CONV4)
    settled(at.run())
    assert len(captions(at, "the target, predicted")) == 1
    assert len(deformations(at)) == 5


def test_more_smoothness_deforms_less(at):
    before = deformations(at)
    at.select_slider(key="smoothness").set_value(1.0)
    settled(at.run())
    assert sum(deformations(at)) < 0.5 * sum(before)
    assert parameters(at)["smoothness"] == "1.0"


def test_belief_propagation_has_no_bound(at):
    assert "above the optimum" in pair_numbers(at)[1]
    at.radio(key="method").set_value("bp")
    settled(at.run())
    assert "above the optimum" not in pair_numbers(at)[1]
    assert parameters(at)["solver"].startswith("belief propagation")


@pytest.mark.parametrize(
    "query", [{"iterations": "1"}, {"method": "belief propagation, as in the paper", "iterations": "2"}]
)
def test_the_charts_energy_ends_at_the_number_in_the_text(open_few, query):
    at = open_few(lower="conv4", **query)
    assert parameters(at)["solver"].endswith(f"at most {query['iterations']} iterations")
    energies = drawn_energy(at)["energy"]
    assert f"{energies[-1]:.2f}" == f"{pair_numbers(at)[0][0]:.2f}"
    assert energies[-1] == min(energies)


def test_another_category_shows_one_of_its_objects(at):
    before = deformations(at)
    at.selectbox(key="category").set_value("toy cow")
    settled(at.run())
    assert parameters(at)["object"].startswith("toy-cow-val-")
    assert deformations(at) != before
    assert not at.warning


def test_a_click_in_the_gallery_chooses_that_object(at, click):
    before = deformations(at)
    click(at, "gallery", 112 + 50, 50)
    settled(at)
    assert parameters(at)["object"] == "toy-cat-val-001"
    assert at.query_params["object"] in ("toy-cat-val-001", ["toy-cat-val-001"])
    assert deformations(at) != before


def test_a_clicked_neighbour_is_marked_and_its_pair_shown(at, click):
    assert chosen(at)[0] == 1
    before = pair_numbers(at)
    click(at, "neighbour lower 2", 10, 10)
    settled(at)
    name = captions(at, "deformation")[5 + 2].partition(",")[0]
    assert at.query_params["neighbour"] in (f"lower:{name}", [f"lower:{name}"])
    assert chosen(at) == (3, name)
    assert "**Target, and the source warped onto it by SIFT, radius 20 px**" in texts(at)
    (energy, likeness, smoothness), text = pair_numbers(at)
    assert energy == pytest.approx(likeness + smoothness, abs=0.02)
    assert (energy, likeness, smoothness) != tuple(before[0])
    assert f"Deformation {deformations(at)[5 + 2]:.2f} cells" in text


def test_the_chosen_neighbour_stays_chosen_wherever_it_goes(at, click):
    """The choice is an object: other settings order neighbours otherwise."""
    seen = set()
    click(at, "neighbour upper 1", 10, 10)
    settled(at)
    _, name = chosen(at)
    for smoothness in (0.003, 0.03, 1.0):
        at.select_slider(key="smoothness").set_value(smoothness)
        settled(at.run())
        shown = [text.partition(",")[0] for text in captions(at, "deformation")[:5]]
        position, now = chosen(at)
        seen.add(position)
        assert now == (name if name in shown else shown[0])
        assert position == shown.index(now) + 1
        assert not at.warning
    assert len(seen) > 1


@pytest.mark.parametrize("link", ["upper:nobody", "x", "1.5", "9" * 5000 + ":1"], ids=lambda link: link[:8])
def test_a_link_to_a_neighbour_that_is_not_there_says_so_and_shows_another(open_few, link):
    at = open_few(neighbour=link, lower="conv4")
    assert [warning.value.startswith("Neighbour ") for warning in at.warning] == [True]
    assert chosen(at)[0] == 1


def test_a_point_of_the_source_is_followed_by_both_features(at, click):
    at.segmented_control(key="alignment_section").set_value(POINT)
    settled(at.run())
    assert not at.get("plotly_chart")
    first = captions(at, "Target. Lands at")
    assert len(first) == 2
    click(at, "point", 60, 200)
    settled(at)
    assert at.query_params["at"] in ("60,200", ["60,200"])
    assert len(captions(at, "Click a point; now (")) == 1
    after = captions(at, "Target. Lands at")
    assert after != first
    likeness = [float(text.rstrip(".").rpartition(" ")[2]) for text in after]
    assert all(0 < each <= 1.001 for each in likeness)


def test_places_are_in_pixels_of_the_photos(open_few, offered, expected):
    at = open_few(at="60,200", alignment_section=POINT)
    neighbour = expected.transfers[CONV4].neighbours[0]
    moved = neighbour.alignment.to_target(np.array([60.0, 200.0]))
    x, y = expected.target.transform.to_image(moved)
    [clicked], [first, _] = captions(at, "Click a point"), captions(at, "Target. Lands at")
    own = neighbour.crop.transform.to_image(np.array([60.0, 200.0]))
    numbers = [float(n) for n in re.findall(r"\((-?[0-9]+), (-?[0-9]+)\)", clicked)[0]]
    assert numbers == pytest.approx(own, abs=0.51)
    assert [float(n) for n in re.findall(r"\((-?[0-9]+), (-?[0-9]+)\)", first)[0]] == pytest.approx([x, y], abs=2)
    arrays = np.load(io.BytesIO(offered["alignment.npz"]()))
    np.testing.assert_allclose(arrays["point_px"], own)
    np.testing.assert_allclose(arrays["conv4_lands_px"], [x, y], atol=2)
    best = arrays["conv4_similarity_px"].reshape(-1, 2)[arrays["conv4_similarity"].argmax()]
    assert f"likest cell is at ({round(best[0])}, {round(best[1])})" in first


def test_a_link_that_asks_for_what_is_not_offered_says_so(open_few):
    wrong = {
        "data": "../x",
        "category": "dog",
        "network": "hal9000",
        "upper": "conv99",
        "lower": "sift2",
        "smoothness": "7",
        "method": "magic",
        "iterations": "999",
    }
    [toys] = [spec for spec in datasets.available().specs if spec.name == datasets.TOY]
    datasets.unregister(datasets.TOY)  # so that the few animals are the first on offer
    try:
        at = open_few(**wrong)
    finally:
        few = datasets.available().spec("few")
        datasets.unregister("few")
        datasets.register(toys)
        datasets.register(few)
    assert [warning.value for warning in at.warning] == [
        f"This link asks for {name} {escape_markdown(value)}, which does not exist here; another is shown."
        for name, value in wrong.items()
    ]
    assert len(deformations(at)) == 10


@pytest.mark.parametrize("name", ["../../etc/passwd", "9" * 5000], ids=lambda name: name[:5])
def test_a_link_to_an_object_that_is_not_there_says_so(open_few, name):
    at = open_few(object=name)
    assert [warning.value.startswith("There is no object") for warning in at.warning] == [True]
    assert len(deformations(at)) == 10


def test_a_link_restores_all_choices_without_a_warning(open_few):
    settings = {
        "category": "toy cow",
        "object": "toy-cow-val-002",
        "upper": "conv3",
        "lower": "SIFT, radius 10 px",
        "smoothness": "0.3",
        "method": "belief propagation, as in the paper",
        "iterations": "2",
    }
    second = captions(open_few(**settings), "deformation")[5 + 1].partition(",")[0]
    at = open_few(**settings, neighbour=f"lower:{second}")
    assert not at.warning
    table = parameters(at)
    assert (table["object"], table["features"], table["smoothness"]) == (
        "toy-cow-val-002",
        "conv3, SIFT, radius 10 px",
        "0.3",
    )
    assert table["solver"] == "belief propagation, as in the paper, at most 2 iterations"
    assert "**Target, and the source warped onto it by SIFT, radius 10 px**" in texts(at)
    assert chosen(at) == (2, second)


def test_a_rerun_computes_nothing_anew(open_few, monkeypatch):
    transfer, submit = alignment.transfer_to_object, Queue.submit
    aligned, submitted = [], []

    def counted(*arguments, **options):
        aligned.append(arguments[0].name)
        return transfer(*arguments, **options)

    def counted_submit(*arguments, **options):
        submitted.append(options["label"])
        return submit(*arguments, **options)

    monkeypatch.setattr(alignment, "transfer_to_object", counted)
    monkeypatch.setattr(Queue, "submit", counted_submit)
    at = open_few(iterations="4", lower="conv4")
    for _ in range(2):
        settled(at.run())
    at.segmented_control(key="alignment_section").set_value(POINT)
    settled(at.run())
    assert aligned == ["toy-cat-val-000"]
    assert submitted == ["Aligning toy-cat-val-000"]


def test_another_session_waits_for_nothing_that_was_aligned_before(first, open_few, monkeypatch):
    monkeypatch.setattr(alignment, "transfer_to_object", None)
    assert deformations(open_few()) == deformations(first)


# Another network


@pytest.fixture
def vgg16(vgg16_weights):
    kept_networks().clear()
    yield
    kept_networks().clear()


def test_vgg16_aligns_by_its_own_layers(open_few, vgg16, offered):
    at = open_few(network="vgg16", iterations="2")
    assert not at.warning
    assert parameters(at)["features"] == "conv5\\_3, SIFT, radius 20 px"
    assert parameters(at)["network"].startswith("vgg16, weights ")
    assert "by conv5_3" in captions(at, "neighbours found by")[0]
    assert len(deformations(at)) == 10
    assert "networks.open('vgg16')" in offered["python"]


def test_a_network_without_weights_is_said_to_have_none(open_few, monkeypatch, tmp_path):
    monkeypatch.setenv("CORRCORE_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    kept_networks().clear()
    at = open_few(network="vgg16")
    assert ["vgg16.safetensors" in error.value for error in at.error] == [True]


# Files to take along


def test_downloaded_fields_are_those_of_the_package_in_pixels_of_the_photos(files, expected):
    arrays = np.load(io.BytesIO(files["alignment.npz"]()))
    neighbour = expected.transfers[CONV4].neighbours[0]
    name = f"conv4_{neighbour.instance.name}"
    assert sum(key.endswith("_displacement_cells") for key in arrays.files) == 2 * 5
    np.testing.assert_allclose(arrays[f"{name}_displacement_cells"], neighbour.alignment.displacement, atol=0.5)
    centres = neighbour.alignment.source.centres()
    np.testing.assert_allclose(arrays[f"{name}_source_px"], neighbour.crop.transform.to_image(centres))
    lands = expected.target.transform.to_image(neighbour.alignment.to_target(centres))
    np.testing.assert_allclose(arrays[f"{name}_target_px"], lands, atol=8)  # half a cell
    energy, bound = arrays[f"{name}_energy_and_bound"].T
    assert energy[-1] >= bound[-1] - 1e-3
    assert arrays[f"{name}_energy"] <= energy.min()
    assert "pixels of the upright photos" in str(arrays["frame"])


def test_downloaded_keypoints_are_those_of_the_package(files, data, expected):
    table = list(csv.DictReader(io.StringIO(files["keypoints.csv"]().decode())))
    names, instance = data.keypoint_names["toy cat"], data.instances("toy cat", "val")[0]
    assert [(row["row"], row["keypoint"]) for row in table] == [
        (f, name) for f in ("conv4", "sift20") for name in names
    ]
    number = [n for n, row in enumerate(table) if row["row"] == "sift20"]
    found = np.array([[float(table[n][f"{axis}_px"] or "nan") for axis in ("x", "y")] for n in number])
    true = np.array([[float(table[n][f"true_{axis}_px"] or "nan") for axis in ("x", "y")] for n in number])
    np.testing.assert_allclose(true, instance.keypoints, atol=0.006)
    predicted = expected.transfers[SIFT20].keypoints
    np.testing.assert_array_equal(np.isnan(found), np.isnan(predicted))
    assert np.nanmax(np.abs(found - predicted)) < 3  # descriptors at half precision


def test_downloaded_picture_shows_the_figure(files):
    with Image.open(io.BytesIO(files["alignment.png"]())) as sheet:
        assert sheet.format == "PNG"
        assert sheet.size[0] > 2 * sheet.size[1]


def test_python_lines_make_what_is_shown(files):
    lines, table = {}, csv.DictReader(io.StringIO(files["keypoints.csv"]().decode()))
    exec(files["python"], lines)
    shown = {(row["row"], row["keypoint"]): row["x_px"] for row in table}
    for feature, transfer in lines["found"].transfers.items():
        names = lines["data"].keypoint_names["toy cat"]
        for name, (x, _) in zip(names, transfer.keypoints, strict=True):
            assert shown[feature.key, name] == ("" if np.isnan(x) else f"{x:.2f}")


def test_python_lines_name_what_is_shown(open_few, offered):
    open_few(category="toy cow", upper="SIFT, radius 20 px", iterations="3")
    for part in ("'toy cow'", "'toy-cow-val-000'", "['sift20']", "0.1", "iterations=3"):
        assert part in offered["python"]


# Two photos


def photo(seed, width=120, height=90):
    file = io.BytesIO()
    Image.fromarray(smooth_noise(width, height, seed)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def two_photos(open_few):
    return open_few(mode=PHOTOS)


def upload(at, source, target):
    for what, content in (("Source, to be warped", source), ("Target", target)):
        at.file_uploader(key=f"upload {what}").set_value((f"{what[:6].lower()}.png", content, "image/png"))
    return settled(at.run())


def test_without_photos_the_page_asks_for_two(two_photos):
    assert [info.value.startswith("Upload two photos") for info in two_photos.info] == [True]
    assert not deformations(two_photos)


def test_two_photos_are_aligned(two_photos, offered):
    at = upload(two_photos, photo(1), photo(2, 80, 110))
    assert not at.info
    assert len(deformations(at)) == 2
    assert [text for text in texts(at) if text.startswith("**warped by")] == [
        "**warped by conv4**",
        "**warped by SIFT, radius 20 px**",
    ]
    assert parameters(at)["photos"] == "source.png, 120 x 90 px and target.png, 80 x 110 px"
    at.segmented_control(key="pair_by").set_value(SIFT20.title)
    settled(at.run())
    assert "**Target, and the source warped onto it by SIFT, radius 20 px**" in texts(at)
    at.segmented_control(key="alignment_section").set_value(POINT)
    settled(at.run())
    assert len(captions(at, "Target. Lands at")) == 2


def test_words_fit_two_photos(two_photos):
    at = upload(two_photos, photo(1), photo(2))
    said = " ".join([*texts(at), *captions(at, ""), *(box.label for box in at.selectbox)])
    for foreign in (
        "neighbours are warped",
        "train object",
        "Upper row",
        "Lower row",
        "chosen",
        "val object",
        "in the table",
    ):
        assert foreign.lower() not in said.lower()
    assert {"First feature", "Second feature", "Network"} <= {box.label for box in at.selectbox}
    assert captions(at, "Target: target.png. Source: source.png.")


def test_two_photos_arrays_lie_on_the_photos_themselves(two_photos, offered):
    """A photo and its part, 20 px to the right and 10 px down: every point is found where it is."""
    whole = smooth_noise(220, 160, 5)
    large, part = io.BytesIO(), io.BytesIO()
    Image.fromarray(whole).save(large, "PNG")
    Image.fromarray(whole[10:150, 20:200]).save(part, "PNG")
    at = upload(two_photos, part.getvalue(), large.getvalue())
    arrays = np.load(io.BytesIO(offered["alignment.npz"]()))
    rows, columns = arrays["conv4_displacement_cells"].shape[:2]
    assert rows < columns
    source, lands = arrays["conv4_source_px"], arrays["conv4_target_px"]
    assert source.min() > 0
    assert (source.max(axis=(0, 1)) < [180, 150]).all()
    assert np.median(np.abs(lands - source - [20, 10])) < 4  # px; a cell is 12
    point = arrays["point_px"]
    assert np.abs(arrays["conv4_lands_px"] - point - [20, 10]).max() < 10
    assert arrays["sift20_similarity"].shape == arrays["sift20_similarity_px"].shape[:2]
    best = arrays["sift20_similarity_px"].reshape(-1, 2)[arrays["sift20_similarity"].argmax()]
    assert np.abs(best - point - [20, 10]).max() < 12
    assert at.get("table")


def test_two_photos_python_lines_give_the_same_by_all_features(two_photos, offered, monkeypatch, tmp_path):
    contents = photo(1), photo(2, 80, 110)
    upload(two_photos, *contents)
    for name, content in zip(("source.png", "target.png"), contents, strict=True):
        (tmp_path / name).write_bytes(content)
    monkeypatch.chdir(tmp_path)
    lines = {}
    exec(offered["python"], lines)
    arrays = np.load(io.BytesIO(offered["alignment.npz"]()))
    assert [feature.key for feature in lines["pair"].alignments] == ["conv4", "sift20"]
    for feature, found in lines["pair"].alignments.items():
        np.testing.assert_allclose(arrays[f"{feature.key}_displacement_cells"], found.displacement, atol=1e-6)


def test_a_photo_aligned_to_itself_stays_as_it_is(two_photos):
    at = upload(two_photos, photo(3), photo(3))
    np.testing.assert_allclose(deformations(at), 0, atol=0.02)


def test_photos_are_kept_while_objects_are_looked_at(two_photos):
    at = upload(two_photos, photo(1), photo(2, 80, 110))
    before = deformations(at)
    for mode in ("Objects of a data set", PHOTOS):
        at.segmented_control(key="mode").set_value(mode)
        settled(at.run())
    assert deformations(at) == before


def test_a_broken_photo_gets_one_sentence(two_photos):
    at = upload(two_photos, photo(1), b"<html>no picture</html>")
    assert len(at.error) == 1
    assert "target" in at.error[0].value
    assert not deformations(at)


# Table 2


@pytest.fixture(scope="module")
def cats(data):
    """Drawn cats as if they were those of PASCAL VOC 2011, for which numbers were published."""
    named = replace(
        data,
        name="voc2011",
        keypoint_names={"cat": data.keypoint_names["toy cat"], "dog": data.keypoint_names["toy cow"]},
        splits={
            (category, split): data.splits[own, split][:2] if split == "val" else data.splits[own, split]
            for category, own in (("cat", "toy cat"), ("dog", "toy cow"))
            for split in ("train", "val")
        },
    )
    with offered_as("cats", named):
        yield named


@pytest.fixture
def own_results(monkeypatch, tmp_path):
    """A folder of results of a test's own."""
    monkeypatch.setenv("CORRCORE_CACHE", str(tmp_path))


def labelled(at, label):
    """The buttons that say so."""
    return [button for button in at.button if button.label == label]


def measure(category="cat", **options):
    """Measures Table 2 of the cats as the command line would."""
    context = caches.context("cats", "alexnet")
    experiment = Transfer("cats", category, smoothness=0.1, features=("conv4",), iterations=1)
    return run(replace(experiment, **options), context=context, store=caches.store())


def measure_usual(**options):
    return measure(smoothness=None, features=(), iterations=10, **options)


def test_without_results_table_2_says_how_to_get_them(open_page, cats, own_results):
    at = open_page("alignment", data="cats", alignment_section=TABLE)
    assert "Table 2 has not been computed for cat yet" in [heading.value for heading in at.subheader]
    table = at.dataframe[0].value
    assert list(table["published, α = 0.1"])[:3] == ["19.6", "16.0", "11.1"]
    assert set(table["objects"]) == {"not computed"}
    assert labelled(at, "Compute for cat")


def test_nothing_published_stands_beside_another_data_sets_cat(open_page, cats, own_results):
    with offered_as("cats of mine", replace(cats, name="mine")):
        at = open_page("alignment", data="cats of mine", alignment_section=TABLE)
        assert labelled(at, "Compute for cat")
        assert not at.dataframe


def test_table_2_is_computed_when_asked_for_stays_and_can_be_forgotten(open_page, cats, own_results):
    at = open_page("alignment", data="cats", alignment_section=TABLE)
    labelled(at, "Compute for cat")[0].click()
    settled(at.run(), 180)
    settled(at.run())
    assert not labelled(at, "Compute for cat")
    table = at.dataframe[0].value
    ours = table[table["objects"] == "2"]
    assert list(ours["row"]) == ["NN, not aligned", "conv4", "SIFT, radius 20 px"]
    assert list(ours["published, α = 0.1"]) == ["11.1", "19.6", "16.0"]
    result = caches.store().load(
        Transfer("cats", "cat").resolved(caches.context("cats", "alexnet")), caches.context("cats", "alexnet")
    )
    estimate = result.summary.accuracy(result.summary.rows[1])
    assert list(ours["α = 0.1"])[1] == f"{estimate.value:.1f} [{estimate.low:.1f}, {estimate.high:.1f}]"
    assert "not computed" in set(table["objects"])  # dogs
    at.button(key="forget").click()
    settled(at.run())
    assert labelled(at, "Compute for cat")
    assert not [button for button in at.button if button.key == "forget"]


def test_a_limited_result_is_shown_as_a_part_also_of_other_categories(open_page, cats, own_results):
    measure_usual(category="dog", limit=1)
    at = open_page("alignment", data="cats", alignment_section=TABLE)
    table = at.dataframe[0].value
    dogs = table[(table["category"] == "dog") & (table["row"] == "conv4")]
    assert dogs["objects"].iloc[0] == "1 of 2"
    assert all("1 of 2" in each for each in dogs["objects"])
    assert labelled(at, "Compute for cat")


def test_results_of_other_settings_are_not_shown(open_page, cats, own_results):
    measure()
    at = open_page("alignment", data="cats", alignment_section=TABLE)
    assert set(at.dataframe[0].value["objects"]) == {"not computed"}


def test_a_shared_server_offers_no_computing(open_page, cats, own_results, monkeypatch):
    monkeypatch.setenv("CORRCORE_READ_ONLY", "1")
    at = open_page("alignment", data="cats", alignment_section=TABLE)
    assert not labelled(at, "Compute for cat")


# A folder of photos


@pytest.fixture
def tree(tmp_path):
    """Two cats to train on and one to test, as photos."""
    tree = Tree(tmp_path / "photos")
    for number, image in enumerate(("2008_1", "2008_2", "2009_1")):
        Image.fromarray(smooth_noise(60, 40, number)).save(tree.root / "JPEGImages" / f"{image}.jpg")
    return tree


def open_tree(tree, **query):
    caches.dataset.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CORRCORE_DATA", str(tree.root.parent))
        at = AppTest.from_file(PAGE, default_timeout=60)
        for key, value in {"data": "photos", **query}.items():
            at.query_params[key] = value
        return settled(at.run())


def test_photos_of_a_folder_are_not_called_drawn(tree):
    at = open_tree(tree)
    assert at.selectbox(key="data").value == "photos"
    assert len(deformations(at)) == 4
    assert not any("synthetic" in caption.value for caption in at.caption)
    assert not at.warning


def test_a_folder_that_cannot_be_read_gets_one_sentence(tree):
    (tree.root / "ImageSets" / "Main" / "val.txt").unlink()
    at = open_tree(tree)
    assert len(at.error) == 1
    assert "val.txt" in at.error[0].value.replace("\\", "")
    assert not deformations(at)


def test_annotations_left_out_are_listed(tree):
    tree.add("2009_1", 2, box={"xmin": 0, "ymin": 0, "width": -5, "height": 3})
    at = open_tree(tree)
    assert "1 annotation left out" in [expander.label for expander in at.expander]
    assert any("2009" in caption.value and "2.xml" in caption.value for caption in at.caption)


def test_a_photo_that_is_broken_gets_one_sentence(tree):
    tree.add("2009_1", 1, box={"xmin": 13, "ymin": 6, "width": 27, "height": 19})  # nothing kept of it
    file = tree.root / "JPEGImages" / "2009_1.jpg"
    file.write_bytes(file.read_bytes()[:700])
    at = open_tree(tree)
    assert len(at.error) == 1
    assert "2009" in at.error[0].value


def test_a_category_without_train_objects_gets_one_sentence(tree):
    tree.add("2009_1", 2, "cow")
    at = open_tree(tree, category="cow")
    assert [error.value.startswith("split of cow in") for error in at.error] == [True]


def test_a_category_whose_objects_show_no_keypoint_gets_one_sentence(tree):
    for image in ("2008_1", "2009_1"):
        tree.add(image, 2, "cow", points=[])
    at = open_tree(tree, category="cow")
    assert len(at.error) == 1
