"""`corrcore match` of a folder of pairs, and of pairs that the experiment measures: the places are the same."""

import json
import shutil

import numpy as np
import pytest

from corrcore import networks
from corrcore.datasets import toy
from corrcore.experiments import Context, Pairs
from corrcore.experiments import run as measure
from tests.cli.matched import CONV4, POINTS, QUICK, check_records, coco, expected, save
from tests.conftest import relabelled

HERE = "tests.cli.test_match_pairs"


# --- Folders of pairs ------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, pair):
    """Two pairs, of which one has points of its own, and what is none."""
    root = tmp_path / "pairs"
    for name in ("one", "two", "three photos", "broken", "outside", "both", ".hidden", "empty"):
        (root / name).mkdir(parents=True)
    for name in ("one", "broken", "three photos", "outside", "both", ".hidden"):
        shutil.copy(pair[0], root / name / "1.png")
        shutil.copy(pair[1], root / name / "2.png")
    shutil.copy(pair[1], root / "three photos" / "3.png")
    (root / "broken" / "2.png").write_bytes(b"no picture")
    (root / "outside" / "points.csv").write_text("far,400,10\n")
    (root / "both" / "points.csv").write_text("a,40,10\n")
    (root / "both" / "points.json").write_text(coco("1.png", POINTS))
    shutil.copy(pair[1], root / "two" / "from.png")  # the other way round
    shutil.copy(pair[0], root / "two" / "to.png")
    (root / "two" / "points.json").write_text(coco("from.png", POINTS))
    (root / "two" / "notes.txt").write_text("no photo")
    return root


LEFT_OUT = {
    "both": "it has points.json and points.csv; keep one of them.",
    "broken": "'2.png' is in none of the formats read here",
    "empty": "it must hold exactly two photos; it has 0.",
    "outside": "point far at (400, 10) is outside outside/1.png, which has 320 x 256 px; x goes from 0 to 319",
    "three photos": "it must hold exactly two photos; it has 3.",
}


def test_every_subfolder_that_is_a_pair_is_matched_and_others_are_named(run, folder, alexnet, capsys, tmp_path):
    words = ("match", folder, *QUICK, "--points", "120,100", "--features", "conv4")
    assert run(*words, "--json", "--picture", tmp_path / "it.png", "--out", tmp_path / "it.npz") == 0
    said = capsys.readouterr()
    records = [json.loads(line) for line in said.out.splitlines()]
    assert [(each["pair"], each["source"], each["point"]) for each in records] == [
        ("one", "one/1.png", "1"),
        *(("two", "two/from.png", name) for name in POINTS),
    ]
    check_records(records[:1], expected(alexnet, [(120, 100)], [CONV4]), ["1"])
    left_out = dict(line.split(": ", 2)[1:] for line in said.err.splitlines() if line.startswith("left out: "))
    assert list(left_out) == list(LEFT_OUT)
    for name, reason in LEFT_OUT.items():
        assert reason in left_out[name]
    assert (tmp_path / "it-one.png").is_file()
    assert (tmp_path / "it-two.png").is_file()
    with np.load(tmp_path / "it.npz") as arrays:
        assert (arrays["pairs"].tolist(), arrays["pair_of_point"].tolist()) == (["one", "two"], [0, 1, 1, 1])
        np.testing.assert_allclose(arrays["alexnet:conv4_places"], [each["place"] for each in records], atol=5e-4)
    assert run(*words, "--out", tmp_path / "it.json") == 0
    said = capsys.readouterr().out
    assert "left out: empty: it must hold exactly two photos; it has 0." in said
    assert [line.split()[0] for line in said.splitlines() if "alexnet:conv4" in line] == ["one", "two", "two", "two"]
    plain = json.loads((tmp_path / "it.json").read_text())
    assert [each["file_name"] for each in plain["images"]] == ["one/2.png", "two/to.png"]


CALLS: list[int] = []


def make_counting():
    """AlexNet, which counts what it describes."""
    alexnet = networks.open("alexnet", device="cpu")

    def extract(network, image, layers):
        CALLS.append(len(layers))
        return alexnet.extract(image, layers)

    return relabelled(alexnet, extract=extract)


def test_copies_of_a_photo_are_described_once(run, folder, capsys):
    """Both pairs are of the same two photos."""
    CALLS.clear()
    words = ("--points", "120,100", "--features", "conv3,conv4", "--network", f"{HERE}:make_counting")
    assert run("match", folder, *QUICK, *words, "--json") == 0
    assert len(capsys.readouterr().out.splitlines()) == 2 * 4
    assert CALLS == [2, 2]


def test_a_pair_that_cannot_be_described_is_left_out_with_its_reason(run, folder, capsys):
    (folder / "one" / "2.png").write_bytes((folder / "one" / "2.png").read_bytes()[:4000])  # its header stays
    assert run("match", folder, *QUICK, "--points", "120,100", "--features", "conv4", "--json") == 0
    said = capsys.readouterr()
    assert {json.loads(line)["pair"] for line in said.out.splitlines()} == {"two"}
    assert "left out: one: '2.png' cannot be decoded as PNG" in said.err
    (folder / "two" / "to.png").write_bytes((folder / "two" / "to.png").read_bytes()[:4000])
    assert run("match", folder, *QUICK, "--points", "120,100", "--features", "conv4") == 2
    assert "corrcore: none of 2 pairs could be matched; what is left out says why." in capsys.readouterr().err


def test_one_file_may_have_the_points_of_all_pairs(run, folder, capsys, tmp_path):
    (folder / "two" / "points.json").unlink()
    images_of = [{"id": 1, "file_name": "one/1.png"}, {"id": 2, "file_name": "from.png"}]
    annotations = [{"image_id": number, "category_id": 1, "keypoints": [10 * number, 20, 2]} for number in (1, 2)]
    plain = {"images": images_of, "annotations": annotations, "categories": [{"id": 1, "keypoints": ["nose"]}]}
    (tmp_path / "all.json").write_text(json.dumps(plain))
    assert run("match", folder, *QUICK, "--points", tmp_path / "all.json", "--features", "conv4", "--json") == 0
    said = capsys.readouterr()
    assert [json.loads(line)["at"] for line in said.out.splitlines()] == [[10, 20], [20, 20]]


def test_a_folder_without_pairs_is_a_sentence(run, folder, capsys):
    (folder / "empty" / "a").mkdir()
    assert run("match", folder / "empty", "--points", "1,1") == 2
    told = capsys.readouterr().err.strip()
    rule = "each must hold exactly two photos that can be read"
    assert told == f"corrcore: no subfolder of {folder / 'empty'} is a pair; {rule}."


# --- The same as the experiment --------------------------------------------------------------------------------------


def check_pck(run, capsys, root, pairs, experiment, context):
    """Places by the command line make the PCK of `corrcore evaluate pairs`, counted here by hand."""
    for number, one in enumerate(pairs):
        (root / f"{number:03}").mkdir(parents=True)
        for name, photo in (("1 source", one.source.photo), ("2 target", one.target.photo)):
            save(root / f"{number:03}" / f"{name}.png", photo.load())
        named = {str(n): tuple(one.source.keypoints[n]) for n in np.flatnonzero(one.shared)}
        (root / f"{number:03}" / "points.json").write_text(coco("1 source.png", named))
    assert run("match", root, "--method", experiment.method, "--features", "conv4", "--json") == 0
    places: dict[str, dict[int, list[float]]] = {}
    for line in capsys.readouterr().out.splitlines():
        record = json.loads(line)
        places.setdefault(record["pair"], {})[int(record["point"])] = record["place"]
    result = measure(experiment, context=context)
    table = result.summary
    for alpha in (0.1, 0.05):
        shares, right, n = [], 0, 0
        for number, one in enumerate(pairs):
            left, top, end, bottom = one.target.box
            reach = alpha * (max(end - left, bottom - top) - 1)  # from the first pixel's centre to the last one's
            hits = [
                np.linalg.norm(np.round(place, 2) - one.target.keypoints[point]) <= reach
                for point, place in places[f"{number:03}"].items()
            ]
            assert len(hits) == one.shared.sum()
            shares.append(np.mean(hits))
            right, n = right + sum(hits), n + len(hits)
        assert table.accuracy(table.rows[0], alpha=alpha, over="micro").value == pytest.approx(100 * right / n)
        assert table.accuracy(table.rows[0], alpha=alpha, over="per_image").value == pytest.approx(
            100 * np.mean(shares)
        )
    for number, one in enumerate(pairs):
        predicted = result.records[one.name].predicted["conv4"]
        for point, place in places[f"{number:03}"].items():
            assert place == pytest.approx(predicted[point], abs=0.006)


@pytest.mark.parametrize("method", ["nn", "mrf"])
def test_pck_is_that_of_the_experiment(run, alexnet, capsys, tmp_path, method):
    animals = toy.load(n_train=2, n_val=3)
    context = Context(opened_datasets={"toy": animals}, opened_networks={"alexnet": alexnet})
    pairs = animals.pairs("toy cat", "val")
    experiment = Pairs("toy", "toy cat", features=("conv4",), method=method, extent="photo")
    check_pck(run, capsys, tmp_path / "pairs", pairs, experiment, context)


def test_pck_of_real_pairs_is_that_of_the_experiment(run, data_folder, alexnet, capsys, tmp_path):
    if not (data_folder / "SPair-71k").is_dir():
        pytest.skip("CORRCORE_DATA holds no SPair-71k")
    context = Context(opened_networks={"alexnet": alexnet})
    experiment = Pairs(str(data_folder / "SPair-71k"), "cow", features=("conv4",), split="val", limit=12)
    pairs = list(experiment.resolved(context).samples(context).values())
    check_pck(run, capsys, tmp_path / "pairs", pairs, experiment, context)
