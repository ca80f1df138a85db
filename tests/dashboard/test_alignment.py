"""The Alignment page: what every choice and every click changes, and what is said where there is nothing to show."""

import csv
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from corrcore import experiments, networks
from corrcore.datasets import toy
from corrcore.images import ImageError
from corrcore.tasks import alignment
from dashboard.services import caches
from dashboard.services.jobs import Queue
from dashboard.wording import escape_markdown

from ..conftest import smooth_noise
from ..test_datasets_voc import Tree
from .conftest import ROOT, settled
from .test_reconstruction import component, keys, picture

PAGE = str(ROOT / "dashboard/app_pages/alignment.py")
N_TRAIN, N_VAL = 5, 3
PHOTOS = "Two photos of yours"
LOAD = toy.load
POINT, TABLE = "A point", "Accuracy (Table 2)"


@pytest.fixture(scope="module")
def data():
    return LOAD(n_train=N_TRAIN, n_val=N_VAL)


@pytest.fixture(autouse=True)
def few_animals(data, cache_folder, monkeypatch):
    """The drawn data set, with few animals."""
    monkeypatch.setattr(toy, "load", lambda: data)
    caches.dataset.clear()
    yield
    caches.dataset.clear()


@pytest.fixture
def at(open_page):
    return open_page("alignment")


def captions(at, beginning):
    return [caption.value for caption in at.caption if caption.value.startswith(beginning)]


def deformations(at):
    return [float(text.split()[1]) for text in captions(at, "deformation")]


def texts(at):
    return [markdown.value for markdown in at.markdown]


def parameters(at):
    table = at.get("table")[0].value
    return {str(name): str(value) for name, value in table.itertuples(index=False)}


def pair_numbers(at):
    """Energy, likeness and smoothness of the chosen pair."""
    [text] = [text for text in texts(at) if text.startswith("Rim of the wheel")]
    return [float(n) for n in re.findall(r"(?:Energy|likeness|smoothness) ([0-9.]+[0-9])", text)], text


@pytest.fixture(scope="module")
def kept():
    """The first view, for tests that only look at it."""
    return {}


@pytest.fixture
def first(kept, open_page, offered):
    if not kept:
        kept.update(at=open_page("alignment"), offered=dict(offered))
    return kept["at"]


@pytest.fixture
def files(first, kept):
    return kept["offered"]


@pytest.fixture(scope="module")
def expected(data):
    """The first object's neighbours by conv4 and sift20, made with the package alone."""
    backbone, features = networks.load("alexnet"), ["conv4", "sift20"]
    train, val = data.instances("toy cat", "train"), data.instances("toy cat", "val")

    def of(instance):
        target = alignment.subject(instance, features, backbone=backbone)
        others = [(one, alignment.subject(one, features, backbone=backbone)) for one in train]
        return {feature: alignment.transfer(target, others, feature) for feature in features}

    return {instance.name: of(instance) for instance in val[:1]}


def test_first_view_shows_two_rows_of_a_target_and_its_five_least_deformed_neighbours(first, data, expected):
    name = first.session_state["corrcore"].shown["object"]
    name = name if isinstance(name, str) else name[0]
    assert name == "toy-cat-val-000"
    transfers = expected[name]
    assert list(transfers) == ["conv4", "sift20"]
    rows = [text for text in texts(first) if text in ("**conv4**", "**SIFT, radius 20 px**")]
    assert rows == ["**conv4**", "**SIFT, radius 20 px**"]
    instance = data.instances("toy cat", "val")[0]
    predictions = []
    for transfer in transfers.values():
        errors = np.linalg.norm(transfer.keypoints - instance.keypoints, axis=1) / max(instance.size)
        right = int((errors <= 0.1).sum())
        predictions.append(f"the target, predicted: {right} of {int(instance.visible.sum())} right")
    assert captions(first, "the target") == predictions
    least = [n.alignment.deformation for transfer in transfers.values() for n in transfer.neighbours[:5]]
    np.testing.assert_allclose(deformations(first), least, atol=0.03)  # descriptors first half precision
    assert {f"neighbour {row} {n}" for row in (0, 1) for n in range(5)} <= keys(first)


def test_neighbours_are_the_warped_photos(first, data):
    shown = picture(first, "neighbour 0 0")
    assert shown.shape == (288, 288, 3) or shown.shape[0] == shown.shape[1]
    others = [picture(first, f"neighbour {row} {n}") for row, n in ((0, 1), (1, 0), (1, 4))]
    assert all((other != shown).any() for other in others)
    names = {one.name for one in data.instances("toy cat", "train")}
    alts = {component(first, f"neighbour {row} {n}")["alt"] for row in (0, 1) for n in range(5)}
    assert {alt.split(",")[0] for alt in alts} <= names


def test_drawn_objects_are_labelled_synthetic(first):
    assert any("**drawn, synthetic**" in caption.value for caption in first.caption)
    assert first.selectbox(key="data").options == ["Drawn animals"]


def test_parameters_in_force_are_listed(first, data):
    table = parameters(first)
    assert table["features"] == "conv4, SIFT, radius 20 px"
    assert table["smoothness"] == "0.1"
    assert table["object"] == "toy-cat-val-000"
    assert table["neighbours"] == f"{N_TRAIN} of {N_TRAIN} train objects"
    assert data.digest[:8] in table["data"]


def test_another_feature_changes_its_row_only(at):
    before = deformations(at)
    at.selectbox(key="lower").set_value("conv5")
    settled(at.run())
    after = deformations(at)
    assert after[:5] == before[:5]
    assert after[5:] != before[5:]
    assert "**conv5**" in texts(at)
    assert "**SIFT, radius 20 px**" not in texts(at)
    assert parameters(at)["features"] == "conv4, conv5"


def test_one_feature_twice_is_one_row(at):
    at.selectbox(key="lower").set_value("conv4")
    settled(at.run())
    assert len(captions(at, "the target")) == 1
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


def test_as_many_iterations_as_asked_for_are_drawn(open_page):
    at = open_page("alignment", lower="conv4", iterations="2")
    assert parameters(at)["solver"].endswith("at most 2 iterations")
    traces = json.loads(at.get("plotly_chart")[0].proto.spec)["data"]
    assert [trace["name"] for trace in traces] == ["energy", "lower bound"]


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
    assert [text for text in texts(at) if text.endswith("chosen**")] == ["**1, chosen**"]
    before = pair_numbers(at)
    click(at, "neighbour 1 2", 10, 10)
    settled(at)
    assert at.query_params["neighbour"] in ("2.3", ["2.3"])
    assert [text for text in texts(at) if text.endswith("chosen**")] == ["**3, chosen**"]
    assert "**Target, and the source warped onto it by SIFT, radius 20 px**" in texts(at)
    (energy, data, smoothness), text = pair_numbers(at)
    assert energy == pytest.approx(data + smoothness, abs=0.02)
    assert (energy, data, smoothness) != tuple(before[0])
    assert f"Deformation {deformations(at)[5 + 2]:.2f} cells" in text


@pytest.mark.parametrize("link", ["1.5", "x", "9" * 5000 + ".1"], ids=lambda link: link[:5])
def test_a_link_to_a_neighbour_that_is_not_there_shows_another(open_page, monkeypatch, link):
    few = LOAD(n_train=2, n_val=1)
    monkeypatch.setattr(toy, "load", lambda: few)
    caches.dataset.clear()
    at = open_page("alignment", neighbour=link)
    assert len(deformations(at)) == 4
    assert len([text for text in texts(at) if text.endswith("chosen**")]) == 1


def test_a_point_of_the_source_is_followed_by_both_features(at, click):
    at.segmented_control(key="alignment_section").set_value(POINT)
    settled(at.run())
    assert "energy" not in str(at.get("plotly_chart"))
    first = captions(at, "Target. Lands at")
    assert len(first) == 2
    click(at, "point", 60, 200)
    settled(at)
    assert at.query_params["at"] in ("60,200", ["60,200"])
    side = picture(at, "point").shape[0]
    assert captions(at, "Click a point") == [f"Click a point; now (60, 200) of {side} x {side} px."]
    after = captions(at, "Target. Lands at")
    assert after != first
    likeness = [float(text.rstrip(".").rpartition(" ")[2]) for text in after]
    assert all(0 < each <= 1.001 for each in likeness)


def test_a_point_lands_where_the_alignment_takes_it(open_page, expected):
    at = open_page("alignment", at="60,200", alignment_section=POINT)
    neighbour = expected["toy-cat-val-000"]["conv4"].neighbours[0]
    x, y = neighbour.alignment.to_target(np.array([60.0, 200.0]))
    shown = [float(n) for n in re.findall(r"[-0-9]+", captions(at, "Target. Lands at")[0])[:2]]
    assert shown == pytest.approx([x, y], abs=2)  # descriptors at half precision


def test_a_link_that_asks_for_what_is_not_offered_says_so(open_page):
    wrong = {
        "data": "../x",
        "category": "dog",
        "upper": "conv99",
        "lower": "sift2",
        "smoothness": "7",
        "method": "magic",
        "iterations": "999",
    }
    at = open_page("alignment", **wrong)
    assert [warning.value for warning in at.warning] == [
        f"This link asks for {name} {escape_markdown(value)}, which does not exist here; another is shown."
        for name, value in wrong.items()
    ]
    assert len(deformations(at)) == 10


@pytest.mark.parametrize("name", ["../../etc/passwd", "9" * 5000], ids=lambda name: name[:5])
def test_a_link_to_an_object_that_is_not_there_says_so(open_page, name):
    at = open_page("alignment", object=name)
    assert [warning.value.startswith("There is no object") for warning in at.warning] == [True]
    assert len(deformations(at)) == 10


def test_a_link_restores_all_choices_without_a_warning(open_page):
    at = open_page(
        "alignment",
        data="Drawn animals",
        category="toy cow",
        object="toy-cow-val-002",
        neighbour="2.2",
        upper="conv3",
        lower="SIFT, radius 10 px",
        smoothness="0.3",
        method="belief propagation, as in the paper",
        iterations="2",
    )
    assert not at.warning
    table = parameters(at)
    assert (table["object"], table["features"], table["smoothness"]) == (
        "toy-cow-val-002",
        "conv3, SIFT, radius 10 px",
        "0.3",
    )
    assert table["solver"] == "belief propagation, as in the paper, at most 2 iterations"
    assert "**Target, and the source warped onto it by SIFT, radius 10 px**" in texts(at)
    assert [text for text in texts(at) if text.endswith("chosen**")] == ["**2, chosen**"]


def test_a_rerun_computes_nothing_anew(open_page, monkeypatch):
    transfer, submit = alignment.transfer, Queue.submit
    aligned, submitted = [], []

    def counted(target, neighbours, feature, **options):
        aligned.append(feature)
        return transfer(target, neighbours, feature, **options)

    def counted_submit(*arguments, **options):
        submitted.append(options["label"])
        return submit(*arguments, **options)

    monkeypatch.setattr(alignment, "transfer", counted)
    monkeypatch.setattr(Queue, "submit", counted_submit)
    at = open_page("alignment", iterations="4", lower="conv4")
    for _ in range(2):
        settled(at.run())
    at.segmented_control(key="alignment_section").set_value(POINT)
    settled(at.run())
    assert aligned == ["conv4"]
    assert submitted == ["Aligning toy-cat-val-000"]


def test_another_session_waits_for_nothing_that_was_aligned_before(at, open_page, monkeypatch):
    monkeypatch.setattr(alignment, "transfer", None)
    assert deformations(open_page("alignment")) == deformations(at)


def test_failed_work_is_said_in_a_sentence_and_can_be_tried_again(open_page, monkeypatch):
    def broken(*arguments, **options):
        msg = "toy-cat-train-001.png cannot be read."
        raise ImageError(msg)

    with monkeypatch.context() as patch:
        patch.setattr(alignment, "transfer", broken)
        at = open_page("alignment", iterations="5", lower="conv4")
        assert [error.value for error in at.error] == ["toy-cat-train-001.png cannot be read."]
        assert not deformations(at)
    [again] = [button for button in at.button if button.label == "Try again"]
    again.click()
    settled(at.run())
    assert len(deformations(at)) == 5


# Files to take along


def test_downloaded_fields_are_those_of_the_package(files, expected):
    arrays = np.load(io.BytesIO(files["alignment.npz"]()))
    neighbour = expected["toy-cat-val-000"]["conv4"].neighbours[0]
    name = f"conv4_{neighbour.instance.name}"
    assert len(arrays.files) == 2 * 5 * 5
    np.testing.assert_allclose(arrays[f"{name}_displacement_cells"], neighbour.alignment.displacement, atol=0.5)
    np.testing.assert_array_equal(arrays[f"{name}_source_centres_px"], neighbour.alignment.source.centres())
    assert arrays[f"{name}_stride_px"] == 16
    energy, bound = arrays[f"{name}_energy_and_bound"].T
    assert energy[-1] >= bound[-1] - 1e-3


def test_downloaded_keypoints_are_those_of_the_package(files, data, expected):
    table = list(csv.DictReader(io.StringIO(files["keypoints.csv"]().decode())))
    names, instance = data.keypoint_names["toy cat"], data.instances("toy cat", "val")[0]
    assert [(row["row"], row["keypoint"]) for row in table] == [
        (f, name) for f in ("conv4", "sift20") for name in names
    ]
    number = [n for n, row in enumerate(table) if row["row"] == "sift20"]
    found = np.array([[float(table[n][axis] or "nan") for axis in ("x", "y")] for n in number])
    true = np.array([[float(table[n][f"true_{axis}"] or "nan") for axis in ("x", "y")] for n in number])
    np.testing.assert_allclose(true, instance.keypoints, atol=0.006)
    predicted = expected["toy-cat-val-000"]["sift20"].keypoints
    np.testing.assert_array_equal(np.isnan(found), np.isnan(predicted))
    assert np.nanmax(np.abs(found - predicted)) < 3  # descriptors at half precision


def test_downloaded_picture_shows_the_figure(files):
    with Image.open(io.BytesIO(files["alignment.png"]())) as sheet:
        assert sheet.format == "PNG"
        assert sheet.size[0] > 2 * sheet.size[1]


def test_python_lines_name_what_is_shown(open_page, offered):
    open_page("alignment", category="toy cow", upper="SIFT, radius 20 px")
    compile(offered["python"], "lines", "exec")
    for part in ("'toy cow'", "'toy-cow-val-000'", "['sift20']", "'smoothness': 0.1"):
        assert part in offered["python"]


# Two photos


def photo(seed, width=120, height=90):
    file = io.BytesIO()
    Image.fromarray(smooth_noise(width, height, seed)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def two_photos(at):
    at.segmented_control(key="mode").set_value(PHOTOS)
    return settled(at.run())


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
    assert parameters(at)["photos"] == "source.png and target.png"
    arrays = np.load(io.BytesIO(offered["alignment.npz"]()))
    rows, columns = arrays["conv4_displacement_cells"].shape[:2]
    assert rows < columns  # of the source, which is wide
    compile(offered["python"], "lines", "exec")
    at.segmented_control(key="pair_by").set_value("sift20")
    settled(at.run())
    assert "**Target, and the source warped onto it by SIFT, radius 20 px**" in texts(at)
    at.segmented_control(key="alignment_section").set_value(POINT)
    settled(at.run())
    assert len(captions(at, "Target. Lands at")) == 2


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


@pytest.fixture
def cats(data, monkeypatch, tmp_path):
    """The drawn cats under the name of a category for which numbers were published; results in a folder of their own."""
    named = replace(
        data,
        keypoint_names={"cat": data.keypoint_names["toy cat"]},
        splits={("cat", split): data.splits["toy cat", split] for split in ("train", "val")},
    )
    monkeypatch.setattr(toy, "load", lambda: named)
    monkeypatch.setattr(experiments, "results_folder", lambda: tmp_path)
    caches.dataset.clear()
    return named


def result(n):
    numbers = {str(alpha): {"mean": n + alpha, "low": n - 1, "high": n + 1} for alpha in experiments.ALPHAS}
    return {"summary": {part: {"objects": 3, "rows": {"conv4": numbers, "NN": numbers}} for part in ("all", "large")}}


def labelled(at, label):
    """The buttons that say so."""
    return [button for button in at.button if button.label == label]


def keep(dataset, category, content):
    file = experiments.default_folder(dataset, "alexnet") / f"transfer {category}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))


def test_without_results_table_2_says_how_to_get_them(open_page, cats):
    at = open_page("alignment", alignment_section=TABLE)
    assert "Table 2 has not been computed for cat yet" in [heading.value for heading in at.subheader]
    table = at.dataframe[0].value
    assert list(table["published, α = 0.1"]) == ["19.6", "16.0", "11.1"]
    assert set(table["objects"]) == {"not computed"}


def test_unfinished_results_are_not_shown(open_page, cats):
    keep(cats, "cat", {"records": {}})
    assert labelled(open_page("alignment", alignment_section=TABLE), "Compute for cat")


def test_results_stand_beside_what_was_published(open_page, cats):
    keep(cats, "cat", result(40))
    at = open_page("alignment", alignment_section=TABLE)
    assert not labelled(at, "Compute for cat")
    table = at.dataframe[0].value
    assert list(table["row"]) == ["conv4", "NN, not aligned"] * 2
    assert list(table["published, α = 0.1"]) == ["19.6", "11.1", "", ""]
    assert list(table["objects"]) == ["3 all", "3 all", "3 large", "3 large"]
    assert table["α = 0.1"][0] == "40.1 [39.0, 41.0]"


def test_results_can_be_forgotten(open_page, cats):
    keep(cats, "cat", result(40))
    at = open_page("alignment", alignment_section=TABLE)
    at.button(key="forget").click()
    settled(at.run())
    assert labelled(at, "Compute for cat")
    assert not [button for button in at.button if button.key == "forget"]
    assert not list(experiments.default_folder(cats, "alexnet").iterdir())


def test_table_2_is_computed_when_asked_for(open_page, cats, monkeypatch):
    asked = []

    def compute(dataset, category, *, out, progress, **options):
        asked.append((dataset, category))
        progress(0.5, "measuring")
        out.write_text(json.dumps(result(50)))
        return result(50)

    monkeypatch.setattr(experiments, "transfer", compute)
    at = open_page("alignment", alignment_section=TABLE)
    labelled(at, "Compute for cat")[0].click()
    settled(at.run())
    settled(at.run())
    assert asked == [(cats, "cat")]
    assert at.dataframe[0].value["α = 0.1"][0].startswith("50.1")


def test_a_shared_server_offers_no_computing(open_page, cats, monkeypatch):
    monkeypatch.setenv("CORRCORE_READ_ONLY", "1")
    at = open_page("alignment", alignment_section=TABLE)
    assert not labelled(at, "Compute for cat")


# A folder of photos


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Two cats to train on and one to test, as photos; the folder is named before the page is opened."""
    tree = Tree(tmp_path / "photos")
    for number, image in enumerate(("2008_1", "2008_2", "2009_1")):
        Image.fromarray(smooth_noise(60, 40, number)).save(tree.root / "JPEGImages" / f"{image}.jpg")
    return tree


def open_tree(tree, **query):
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
