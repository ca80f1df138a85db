import dataclasses
import json
import shutil
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from corrcore import decoding, experiments
from corrcore import patch_index as indexes
from corrcore.datasets import toy
from corrcore.metrics import keypoint_errors, pck
from corrcore.tasks import alignment, averaging, classification, detection, reconstruction, responses
from corrcore.tasks.alignment import CropSpec
from corrcore.tasks.classification import CropProtocol
from corrcore.tasks.detection import DetectorSpec
from tests.conftest import ArrayPhoto, smooth_noise


@pytest.fixture
def photos():
    return [ArrayPhoto(f"q{n}", smooth_noise(200, 180, seed=50 + n)) for n in range(3)]


def test_localisation_sums_up_what_each_photo_gives(alexnet, small_index, photos, tmp_path):
    out = tmp_path / "result.json"
    result = experiments.localisation(photos, network=alexnet, index=small_index, layers=("conv3",), out=out)
    scores = []
    for photo in photos:
        retrieval = reconstruction.retrieve(photo.pixels, "conv3", network=alexnet, index=small_index, k=1)
        rng = np.random.default_rng([0, *photo.name.encode()])
        scores.append(reconstruction.localise(photo.pixels, retrieval, small_index, rng=rng).score)
    summary = result["summary"]["conv3"]["score"]
    assert summary["mean"] == pytest.approx(np.mean(scores))
    assert summary["low"] <= summary["mean"] <= summary["high"]
    assert summary["samples"] == 3
    assert json.loads(out.read_text()) == result


def test_a_stopped_experiment_measures_only_what_is_left(alexnet, small_index, photos, tmp_path):
    class StopError(Exception):
        pass

    def stop(done, text):
        if done > 0.5:
            raise StopError

    arguments = {"network": alexnet, "index": small_index, "layers": ("conv3",), "out": tmp_path / "result.json"}
    with pytest.raises(StopError):
        experiments.localisation(photos, progress=stop, **arguments)
    loaded = []

    class Watched(ArrayPhoto):
        def load(self):
            loaded.append(self.name)
            return super().load()

    watched = [Watched(photo.name, photo.pixels) for photo in photos]
    resumed = experiments.localisation(watched, **arguments)
    assert loaded == ["q2"]
    assert resumed == experiments.localisation(photos, network=alexnet, index=small_index, layers=("conv3",))


def test_results_with_other_settings_are_not_mixed(alexnet, small_index, photos, tmp_path):
    out = tmp_path / "result.json"
    experiments.localisation(photos[:1], network=alexnet, index=small_index, layers=("conv3",), out=out)
    with pytest.raises(ValueError, match="holds an experiment with other settings"):
        experiments.localisation(photos, network=alexnet, index=small_index, layers=("conv3",), seed=1, out=out)


def test_a_photo_that_cannot_be_read_is_recorded_and_left_out(alexnet, small_index, photos):
    class Broken(ArrayPhoto):
        def load(self):
            msg = "'broken' is cut off."
            raise decoding.ImageError(msg)

    samples = [Broken("broken", photos[0].pixels), *photos]
    result = experiments.localisation(samples, network=alexnet, index=small_index, layers=("conv3",))
    assert result["records"]["broken"]["skipped"] == "'broken' is cut off."
    assert result["summary"]["conv3"]["psnr_db"]["samples"] == 3


def test_nothing_to_measure_is_said(alexnet, small_index):
    with pytest.raises(ValueError, match="nothing to measure"):
        experiments.localisation([], network=alexnet, index=small_index)


def test_a_large_photo_is_not_rebuilt_from_its_indexed_self(alexnet, tmp_path):
    large = [ArrayPhoto(str(n), smooth_noise(700, 560, seed=n)) for n in range(2)]
    index = indexes.build(large, tmp_path / "it", extractor=alexnet, layers=("conv3",))
    assert index.photos_like(large[1].pixels) == index.photos_like(index.photo(1)) == [1]
    result = experiments.localisation(large[:1], network=alexnet, index=index)
    assert float(result["records"]["0"]["measured"]["conv3"]["psnr_db"]) < 30


def test_effective_radius_leaves_the_seeds_photo_out_and_is_valid_json(small_index, tmp_path, monkeypatch):
    out, asked, average = tmp_path / "radius.json", [], averaging.average

    def watched(descriptor, layer, *, exclude, **options):
        found = average(descriptor, layer, exclude=exclude, **options)
        asked.append((exclude, small_index.photo_of[small_index.locate(layer, found.ids).pictures]))
        return found

    monkeypatch.setattr(averaging, "average", watched)
    result = experiments.agreement_radius(4, index=small_index, layers=("conv3",), k=10, out=out)
    assert json.loads(out.read_text(), parse_constant=pytest.fail) == result
    assert set(result["summary"]["conv3"]["agreement_radius_px"]) == {"median", "low", "high", "samples"}
    assert len(asked) == 4
    for number, (excluded, used) in enumerate(asked):
        seed = small_index.locate("conv3", np.array([result["records"][str(number)]["measured"]["conv3"]["id"]]))
        assert excluded == (small_index.photo_of[seed.pictures[0]],)
        assert excluded[0] not in used


# --- Transfer --------------------------------------------------------------------------------------------------------

CAT = "toy cat"
CROP_SPEC = CropSpec(n_cells=6)


@dataclass(frozen=True)
class Drawn(ArrayPhoto):
    """A drawing that is drawn once, and counts how often it is asked for."""

    stamp: str = "as it was"
    loads: list[str] = field(default_factory=list)

    def load(self):
        self.loads.append(self.name)
        return self.pixels


@pytest.fixture(scope="module")
def drawn():
    """Six train cats and two for val; the last train cat is the first one again, in its very photo."""
    dataset = toy.load(n_train=5, n_val=2)
    splits = {}
    for split in ("train", "val"):
        splits[CAT, split] = [
            replace(cat, photo=Drawn(cat.photo.name, cat.photo.load())) for cat in dataset.instances(CAT, split)
        ]
    first = splits[CAT, "train"][0]
    left, top, right, bottom = first.box
    splits[CAT, "train"].append(replace(first, name="again", box=(left + 4, top + 2, right, bottom)))
    return replace(dataset, splits=splits, keypoint_names={CAT: dataset.keypoint_names[CAT]})


@pytest.fixture
def cats(drawn):
    """The same with counts that begin anew."""
    for split in drawn.splits.values():
        for cat in split:
            cat.photo.loads.clear()
    return drawn


def loads(dataset, split):
    return [name for cat in dataset.instances(CAT, split) for name in cat.photo.loads]


def transfer(dataset, alexnet, **options):
    chosen = {"features": ("conv4",), "smoothness": {"conv4": 0.1}, "crop": CROP_SPEC, "iterations": 3} | options
    return experiments.transfer(dataset, CAT, network=alexnet, **chosen)


def test_transfer_records_what_every_row_predicts_of_val_objects(alexnet, cats, tmp_path, monkeypatch):
    monkeypatch.setattr(experiments, "NEIGHBOURS", 3)
    out = tmp_path / "transfer.json"
    given = {"conv4": 0.1, "sift20": 0.3}
    result = transfer(cats, alexnet, features=("conv4", "sift20"), smoothness=given, out=out)
    assert json.loads(out.read_text(), parse_constant=pytest.fail) == result
    assert result["settings"]["smoothness"] == given
    assert not (tmp_path / "transfer.smoothness.json").exists()
    val, train = cats.instances(CAT, "val"), cats.instances(CAT, "train")
    assert list(result["records"]) == [cat.name for cat in val]
    for cat in val:
        record = result["records"][cat.name]
        assert record["stamp"] == "as it was"
        measured = record["measured"]
        assert measured["box"] == list(cat.box)
        np.testing.assert_array_equal(np.array(measured["truth"], dtype=float), cat.keypoints)
        assert list(measured["predicted"]) == ["NN", "conv4", "sift20"]
        summaries = np.stack([alignment.subject(one, (), network=alexnet, crop=CROP_SPEC).summary for one in train])
        likeness = summaries @ alignment.subject(cat, (), network=alexnet, crop=CROP_SPEC).summary
        assert measured["neighbours"] == [train[n].name for n in np.argsort(-likeness)[:3]]


def test_unaligned_keypoints_are_those_of_boxes_laid_on_one_another(alexnet, cats, monkeypatch):
    monkeypatch.setattr(experiments, "TOP", 1)
    result = transfer(cats, alexnet, features=())
    train = {cat.name: cat for cat in cats.instances(CAT, "train")}
    for cat in cats.instances(CAT, "val"):
        measured = result["records"][cat.name]["measured"]
        places = []
        for name in measured["neighbours"]:
            other = train[name]
            share = (other.keypoints - other.box[:2]) / other.size  # of the box, whatever its margin
            places.append(share * cat.size + cat.box[:2])
        for number, found in enumerate(measured["predicted"]["NN"]):
            shown = [place[number] for place in places if np.isfinite(place[number]).all()]
            expected = shown[0] if shown else [np.nan, np.nan]
            np.testing.assert_allclose(np.array(found, dtype=float), expected, atol=0.006)


@pytest.mark.parametrize("options", [{}, {"position": 0.05, "order": "likeness"}], ids=["usual", "kept in place"])
def test_a_row_predicts_what_its_aligned_neighbours_vote_for(alexnet, cats, options):
    result = transfer(cats, alexnet, smoothness={"conv4": 0.03}, **options)
    target = cats.instances(CAT, "val")[1]
    train = {cat.name: cat for cat in cats.instances(CAT, "train")}
    measured = result["records"][target.name]["measured"]
    subjects = {
        name: alignment.subject(cat, ("conv4",), network=alexnet, crop=CROP_SPEC).halved()
        for name, cat in train.items()
    }
    own = alignment.subject(target, ("conv4",), network=alexnet, crop=CROP_SPEC)
    pairs = [(train[name], subjects[name]) for name in measured["neighbours"]]
    expected = alignment.transfer(own, pairs, "conv4", smoothness=0.03, iterations=3, **options)
    np.testing.assert_allclose(np.array(measured["predicted"]["conv4"], dtype=float), expected.keypoints, atol=0.006)


def test_the_summary_is_pck_of_the_records(alexnet, cats, monkeypatch):
    monkeypatch.setattr(experiments, "LARGE_PX", 280)
    result = transfer(cats, alexnet)
    records = [record["measured"] for record in result["records"].values()]
    shorter = [min(cat.size) for cat in cats.instances(CAT, "val")]
    assert min(shorter) < 280 <= max(shorter)
    for part, some in (("all", [True, True]), ("large", np.array(shorter) >= 280)):
        chosen = [record for record, taken in zip(records, some, strict=True) if taken]
        assert result["summary"][part]["objects"] == len(chosen)
        truth, boxes = (np.array([record[name] for record in chosen], dtype=float) for name in ("truth", "box"))
        for row in ("NN", "conv4"):
            predicted = np.array([record["predicted"][row] for record in chosen], dtype=float)
            for alpha in (0.1, 0.05, 0.025):
                errors = keypoint_errors(predicted, truth, boxes)
                found = result["summary"][part]["rows"][row][str(alpha)]
                expected = pck(errors, alpha=alpha, rng=np.random.default_rng(0))
                assert (found["mean"], found["low"], found["high"]) == (expected.mean, expected.low, expected.high)
                np.testing.assert_array_equal(np.array(found["by_keypoint"], dtype=float), expected.by_keypoint)


def test_objects_that_show_little_are_not_among_the_large_ones(alexnet, cats):
    val = [
        replace(cat, keypoints=np.where(np.cumsum(cat.visible)[:, None] <= shown, cat.keypoints, np.nan))
        for cat, shown in zip(cats.instances(CAT, "val"), (4, 5), strict=True)
    ]
    result = transfer(replace(cats, splits=cats.splits | {(CAT, "val"): val}), alexnet)
    assert result["summary"]["all"]["objects"] == 2
    assert result["summary"]["large"]["objects"] == 1
    result = transfer(replace(cats, splits=cats.splits | {(CAT, "val"): val[:1]}), alexnet)
    assert "large" not in result["summary"]


def test_objects_without_a_visible_keypoint_are_neither_neighbours_nor_measured(alexnet, cats):
    splits = {}
    for key, animals in cats.splits.items():
        hidden = replace(animals[0], name=f"hidden {key[1]}", keypoints=np.full_like(animals[0].keypoints, np.nan))
        splits[key] = [hidden, *animals]
    result = transfer(replace(cats, splits=splits), alexnet)
    assert list(result["records"]) == [cat.name for cat in cats.instances(CAT, "val")]
    assert all("hidden train" not in record["measured"]["neighbours"] for record in result["records"].values())


def test_a_stopped_transfer_measures_only_what_is_left(alexnet, cats, tmp_path):
    class StopError(Exception):
        pass

    def stop(done, text):
        if text.startswith("1 of 2"):
            raise StopError

    out = tmp_path / "transfer.json"
    with pytest.raises(StopError):
        transfer(cats, alexnet, out=out, progress=stop)
    assert not experiments.is_complete(out)
    first, second = (cat.photo.name for cat in cats.instances(CAT, "val"))
    assert loads(cats, "val") == [first]
    resumed = transfer(cats, alexnet, out=out)
    assert loads(cats, "val") == [first, second]
    assert experiments.is_complete(out)
    assert resumed == transfer(cats, alexnet)


def test_a_finished_transfer_describes_nothing(alexnet, cats, tmp_path):
    out = tmp_path / "transfer.json"
    options = {"out": out, "smoothness": None, "n_validation": 2}
    once = transfer(cats, alexnet, **options)
    before = loads(cats, "train"), loads(cats, "val")
    told = []
    assert transfer(cats, alexnet, progress=lambda done, text: told.append((done, text)), **options) == once
    assert (loads(cats, "train"), loads(cats, "val")) == before
    assert [done for done, _ in told] == [0.5, 1, 0.5, 1]


def test_a_limit_takes_objects_of_the_whole_split_that_more_objects_have_too(alexnet, cats, tmp_path):
    train = cats.instances(CAT, "train")
    val = [replace(cat, name=f"val {n}", photo=Drawn(f"val {n}", cat.photo.pixels)) for n, cat in enumerate(train)]
    many = replace(cats, splits=cats.splits | {(CAT, "val"): val})
    kept = [transfer(many, alexnet, features=(), limit=limit, out=tmp_path / "it.json") for limit in (2, 3, None)]
    assert [result["summary"]["all"]["objects"] for result in kept] == [2, 3, 6]
    names = [list(result["records"]) for result in kept]
    assert sorted(names[0]) != ["val 0", "val 1"]
    assert names[2][:2] == names[1][:2] == names[0]
    assert sorted(names[2]) == [cat.name for cat in val]
    assert kept[0]["records"].items() <= kept[2]["records"].items()


@pytest.mark.parametrize(
    "other",
    [
        {"smoothness": {"conv4": 0.2}},
        {"crop": replace(CROP_SPEC, margin=0.2)},
        {"iterations": 2},
        {"position": 0.01},
        {"order": "likeness"},
        {"features": ("conv3",), "smoothness": {"conv3": 0.1}},
    ],
    ids=lambda other: next(iter(other)),
)
def test_a_transfer_with_other_settings_is_refused(alexnet, cats, tmp_path, other):
    out = tmp_path / "transfer.json"
    transfer(cats, alexnet, limit=1, out=out)
    kept = out.read_text()
    with pytest.raises(ValueError, match="holds an experiment with other settings; give another file with --out"):
        transfer(cats, alexnet, limit=1, out=out, **other)
    assert out.read_text() == kept


def test_a_transfer_of_other_annotations_is_refused(alexnet, cats, tmp_path):
    out = tmp_path / "transfer.json"
    transfer(cats, alexnet, limit=1, out=out)
    with pytest.raises(ValueError, match="holds an experiment with other settings"):
        transfer(replace(cats, digest="another"), alexnet, limit=1, out=out)


def test_smoothness_is_chosen_on_train_objects_without_their_own_photos(alexnet, cats, tmp_path, monkeypatch):
    monkeypatch.setattr(experiments, "SMOOTHNESSES", (0.02, 3.0))
    out, told = tmp_path / "transfer.json", []
    result = transfer(
        cats,
        alexnet,
        smoothness=None,
        n_validation=4,
        out=out,
        features=("conv4", "sift20"),
        progress=lambda done, text: told.append(text),
    )
    search = json.loads((tmp_path / "transfer.smoothness.json").read_text(), parse_constant=pytest.fail)
    train = {cat.name: cat for cat in cats.instances(CAT, "train")}
    assert len(search["records"]) == 4
    assert set(search["records"]) <= set(train)
    for name, record in search["records"].items():
        neighbours = record["measured"]["neighbours"]
        elsewhere = {other for other, cat in train.items() if cat.photo.name != train[name].photo.name}
        assert set(neighbours) == elsewhere
        assert len(neighbours) == len(elsewhere)
    assert any(train[name].photo.name == train["again"].photo.name for name in search["records"])
    rows = search["summary"]["all"]["rows"]
    for feature in ("conv4", "sift20"):
        scores = {value: rows[f"{feature} {value}"]["0.1"]["mean"] for value in (0.02, 3.0)}
        assert len(set(scores.values())) == 2
        assert result["settings"]["smoothness"][feature] == max(scores, key=scores.get)
    stages = [text.split(":")[0] for text in told]
    assert list(dict.fromkeys(stages)) == ["describing train objects", "choosing the smoothness", "1 of 2", "2 of 2"]


def test_a_stopped_search_for_the_smoothness_goes_on(alexnet, cats, tmp_path):
    class StopError(Exception):
        pass

    def stop(done, text):
        if text.startswith("choosing the smoothness: 2 of"):
            raise StopError

    options = {"smoothness": None, "n_validation": 3}
    out = tmp_path / "transfer.json"
    with pytest.raises(StopError):
        transfer(cats, alexnet, out=out, progress=stop, **options)
    kept = json.loads((tmp_path / "transfer.smoothness.json").read_text())["records"]
    assert len(kept) == 2
    resumed = transfer(cats, alexnet, out=out, **options)
    assert kept.items() <= json.loads((tmp_path / "transfer.smoothness.json").read_text())["records"].items()
    assert resumed == transfer(cats, alexnet, **options)


def test_photos_that_cannot_be_read_are_neither_neighbours_nor_measured(alexnet, cats):
    @dataclass(frozen=True)
    class Broken(Drawn):
        def load(self):
            msg = f"'{self.name}' is cut off."
            raise decoding.ImageError(msg)

    splits = {}
    for key, animals in cats.splits.items():
        broken = Broken(f"broken {key[1]}", animals[0].photo.pixels)
        splits[key] = [replace(animals[0], name=broken.name, photo=broken), *animals]
    result = transfer(replace(cats, splits=splits), alexnet)
    assert result["records"].pop("broken val")["skipped"] == "'broken val' is cut off."
    assert result["summary"]["all"]["objects"] == len(result["records"]) == 2
    for record in result["records"].values():
        assert sorted(record["measured"]["neighbours"]) == sorted(cat.name for cat in cats.instances(CAT, "train"))


def test_a_photo_that_could_not_be_reached_is_tried_again(alexnet, cats, tmp_path):
    @dataclass(frozen=True)
    class Away(Drawn):
        def load(self):
            msg = "the disk is away"
            raise OSError(msg)

    first, second = cats.instances(CAT, "val")
    away = replace(first, photo=Away(first.photo.name, first.photo.pixels))
    out = tmp_path / "transfer.json"
    without = transfer(replace(cats, splits=cats.splits | {(CAT, "val"): [away, second]}), alexnet, out=out)
    assert without["records"][first.name]["skipped"] == "the disk is away"
    assert without["summary"]["all"]["objects"] == 1
    assert transfer(cats, alexnet, out=out) == transfer(cats, alexnet)


def test_an_unknown_feature_is_refused_before_anything_is_drawn(alexnet, cats):
    with pytest.raises(ValueError, match="layer of alexnet must be one of .*; got 'conv9'"):
        transfer(cats, alexnet, features=("conv9",))
    assert not loads(cats, "train") + loads(cats, "val")


def test_a_feature_without_its_smoothness_is_named(alexnet, cats):
    with pytest.raises(ValueError, match="smoothness must have a value for every feature; it has none for conv3"):
        transfer(cats, alexnet, features=("conv4", "conv3"))


def test_an_object_alone_in_its_category_is_said_to_have_no_neighbours(alexnet, cats):
    train = cats.instances(CAT, "train")
    alone = replace(cats, splits={(CAT, "train"): train[:1], (CAT, "val"): train[-1:]})
    with pytest.raises(ValueError, match="again needs neighbours in other photos of its category's train split"):
        transfer(alone, alexnet)


def test_results_of_other_annotations_lie_in_another_folder(cats):
    folders = {experiments.default_folder(one, "alexnet") for one in (cats, replace(cats, digest="another"))}
    assert len(folders) == 2
    assert {folder.parent for folder in folders} == {experiments.results_folder()}


@pytest.mark.parametrize("text", [None, "", "[1", '{"records": {}}'])
def test_what_has_no_summary_is_not_complete(tmp_path, text):
    path = tmp_path / "it.json"
    if text is not None:
        path.write_text(text)
    assert not experiments.is_complete(path)


# --- Naming keypoints, and where their classifiers respond -----------------------------------------------------------


SMALL = CropProtocol(longer_side_px=200)


@pytest.fixture(scope="module")
def herd():
    return toy.load(n_train=10, n_val=3)


def classify(herd, alexnet, **options):
    chosen = {"features": ("conv3", "sift20"), "protocol": SMALL, "costs": (0.1, 10.0), "n_folds": 3} | options
    return experiments.classify(herd, "toy cat", network=alexnet, **chosen)


def test_classification_records_what_every_keypoint_is_called(alexnet, herd, tmp_path):
    out = tmp_path / "classification.json"
    result = classify(herd, alexnet, out=out)
    assert json.loads(out.read_text(), parse_constant=pytest.fail) == result
    val = herd.shown("toy cat", "val")
    expected = [(cat.name, int(number)) for cat in val for number in np.flatnonzero(cat.visible)]
    for feature, found in result["summary"].items():
        record = result["records"][feature]["measured"]
        assert list(zip(record["objects"], record["keypoints"], strict=True)) == expected
        labels, called = np.array(record["labels"]), np.array(record["called"])
        assert found["accuracy"] == pytest.approx(100 * (labels == called).mean())
        assert found["low"] <= found["accuracy"] <= found["high"]
        confusion = np.array(found["confusion"])
        assert confusion.sum() == len(expected)
        assert np.trace(confusion) == (labels == called).sum()
        assert confusion[labels[0], called[0]] >= 1
        shown = [n for n, value in enumerate(found["by_class"]) if value is not None]
        assert shown == list(np.unique(labels))
        assert found["cost"] == (0.1, 10.0)[int(np.argmax(found["curve"]))]
        assert found["accuracy"] > 2 * 100 / 16  # of chance


def test_a_finished_classification_describes_nothing_and_a_new_feature_only_itself(
    alexnet, herd, tmp_path, monkeypatch
):
    out = tmp_path / "classification.json"
    first = classify(herd, alexnet, features=("sift20",), out=out)
    more = classify(herd, alexnet, features=("sift20", "sift10"), out=out)
    assert more["records"]["sift20"] == first["records"]["sift20"]
    monkeypatch.setattr(experiments.classification, "samples", None)
    assert classify(herd, alexnet, features=("sift10",), out=out)["summary"] == more["summary"]  # no row is lost
    with pytest.raises(ValueError, match="other settings"):
        classify(herd, alexnet, protocol=replace(SMALL, sides=False), out=out)


def test_what_an_earlier_version_has_measured_is_measured_anew(alexnet, cats, tmp_path):
    out = tmp_path / "transfer.json"
    result = transfer(cats, alexnet, features=(), out=out)
    spoilt = {name: record | {"measured": {}} for name, record in result["records"].items()}
    earlier = result["settings"] | {"version": [0], "iterations": 99}
    out.write_text(json.dumps({"settings": earlier, "records": spoilt}))
    assert transfer(cats, alexnet, features=(), out=out) == result
    out.write_text(json.dumps({"settings": earlier | {"data_digest": "another"}, "records": spoilt}))
    with pytest.raises(ValueError, match="other settings"):
        transfer(cats, alexnet, features=(), out=out)


def test_responses_are_where_the_maps_are_highest(alexnet, herd, tmp_path):
    out = tmp_path / "responses.json"
    options = {"network": alexnet, "features": ("sift20", "conv3"), "protocol": SMALL, "cost": 1.0}
    result = experiments.respond(herd, "toy cat", ["Nose", "TailBase"], out=out, **options)
    assert json.loads(out.read_text(), parse_constant=pytest.fail) == result
    names = list(herd.keypoint_names["toy cat"])
    train, val = herd.shown("toy cat", "train"), herd.shown("toy cat", "val")
    found = classification.samples(train, ["sift20"], names, network=alexnet, protocol=SMALL)
    named = classification.train(found, "sift20", tuple(names), cost=1.0, protocol=SMALL)
    n_compared = 0
    for cat in val:
        for keypoint, at in result["records"][cat.name]["measured"]["sift20"].items():
            image, placement = classification.view(cat, SMALL)
            x, y = placement.to_crop(cat.keypoints)[names.index(keypoint)]
            whole = responses.response_map(image, named, network=alexnet).scores[..., named.names.index(keypoint)]
            column, row = round(x), round(y)
            square = whole[row - 10 : row + 11, column - 10 : column + 11]
            down, across = np.unravel_index(square.argmax(), (21, 21))
            assert at["maximum"] == [across - 10, down - 10]
            np.testing.assert_allclose(at["place"], [x - column, y - row], atol=1e-6)
            n_compared += 1
    assert n_compared
    summary = result["summary"]["sift20"]["Nose"]
    assert np.sum(summary["counts"]) == summary["instances"]
    assert len(summary["profile"]) == 11
    assert summary["finer_than_stride"] is summary["stride_median_px"] is None
    with pytest.raises(ValueError, match="keypoints of toy cat must be among .*; got Wing"):
        experiments.respond(herd, "toy cat", ["Wing"], **options)
    with pytest.raises(ValueError, match="side_px must be odd, .*; got 20"):
        experiments.respond(herd, "toy cat", ["Nose"], side_px=20, **options)


def test_responses_go_on_where_they_were_stopped_and_train_no_more_when_done(alexnet, herd, tmp_path, monkeypatch):
    out = tmp_path / "responses.json"
    options = {"network": alexnet, "features": ("sift20",), "protocol": SMALL}
    result = experiments.respond(herd, "toy cat", ["Nose"], out=out, **options)
    kept = json.loads(out.read_text())
    dropped = next(iter(kept["records"]))
    del kept["records"][dropped], kept["summary"]
    out.write_text(json.dumps(kept))
    view, seen = classification.view, []
    train = {cat.name for cat in herd.shown("toy cat", "train")}

    def watched(instance, protocol):
        seen.append(instance.name)
        return view(instance, protocol)

    monkeypatch.setattr(classification, "view", watched)
    again = experiments.respond(herd, "toy cat", ["Nose"], out=out, **options)
    assert again["summary"] == result["summary"]
    assert set(seen) - train == {dropped}
    seen.clear()
    assert experiments.respond(herd, "toy cat", ["Nose"], out=out, **options)["summary"] == result["summary"]
    assert not seen


def test_what_no_classifier_can_be_trained_on_is_said_once_and_not_kept(alexnet, herd, tmp_path):
    names = list(herd.keypoint_names["toy cat"])
    train = [dataclasses.replace(cat, keypoints=cat.keypoints.copy()) for cat in herd.shown("toy cat", "train")]
    for cat in train[1:]:
        cat.keypoints[names.index("Nose")] = np.nan
    changed = dataclasses.replace(herd, splits={**herd.splits, ("toy cat", "train"): train})
    told = []
    out = tmp_path / "responses.json"
    with pytest.raises(ValueError, match="every class needs samples outside of every fold"):
        experiments.respond(
            changed,
            "toy cat",
            ["L_EarBase"],
            network=alexnet,
            features=["sift20"],
            protocol=SMALL,
            out=out,
            progress=lambda share, text: told.append(text),
        )
    assert len(told) == len(train)
    assert not out.exists()


def test_results_of_other_settings_are_none(alexnet, herd, tmp_path):
    out = tmp_path / "classification.json"
    classify(herd, alexnet, features=("sift20",), out=out)
    options = {"network": alexnet, "protocol": SMALL, "costs": (0.1, 10.0), "n_folds": 3}
    settings = experiments.classification_settings(herd, "toy cat", **options)
    assert experiments.read(out, settings)
    other = experiments.classification_settings(herd, "toy cat", **options | {"limit": 2})
    assert experiments.read(out, other) is None
    experiments.forget_others(out, settings)
    assert out.exists()
    experiments.forget_others(out, other)
    assert not out.exists()


def test_a_quick_look_has_a_file_of_its_own():
    assert experiments.classification_file("cow", "box") == "classification cow.json"
    assert experiments.classification_file("cow", "photo", 20) == "classification cow photo of 20.json"


def test_objects_whose_photo_is_gone_are_named(alexnet, herd):
    class Gone:
        name, stamp = "gone.jpg", "gone"

        def load(self):
            raise FileNotFoundError(2, "No such file", "gone.jpg")

    train = [*herd.shown("toy cat", "train")]
    train[3] = dataclasses.replace(train[3], photo=Gone())
    changed = dataclasses.replace(herd, splits={**herd.splits, ("toy cat", "train"): train})
    result = classify(changed, alexnet, features=("sift20",))
    left_out = result["records"]["sift20"]["measured"]["left_out"]
    assert list(left_out) == [train[3].name]
    assert "gone.jpg" in left_out[train[3].name]


def test_a_layer_is_finer_than_its_stride_where_the_interval_leaves_no_doubt():
    def verdict(distance):
        records = [{"maximum": [distance, 0], "place": [0.0, 0.0], "profile": [0.0]} for _ in range(8)]
        return experiments._placed(records, 41, 16)["finer_than_stride"]

    assert [verdict(2), verdict(9)] == ["yes", "no"]
    mixed = [{"maximum": [d, 0], "place": [0.0, 0.0], "profile": [0.0]} for d in (1, 12) * 4]
    assert experiments._placed(mixed, 41, 16)["finer_than_stride"] == "open"


def test_a_keypoint_that_no_object_shows_is_named(alexnet, herd):
    names = list(herd.keypoint_names["toy cat"])
    blind = []
    for cat in herd.splits["toy cat", "train"]:
        points = cat.keypoints.copy()
        points[names.index("Nose")] = np.nan
        blind.append(dataclasses.replace(cat, keypoints=points))
    changed = dataclasses.replace(herd, splits={**herd.splits, ("toy cat", "train"): blind})
    with pytest.raises(ValueError, match="visible in some train object of toy cat; none shows Nose"):
        experiments.respond(changed, "toy cat", ["Nose"], network=alexnet, features=["sift20"], protocol=SMALL)


# --- Tables ----------------------------------------------------------------------------------------------------------


def kept(tmp_path, name):
    folder = tmp_path / "toy 12345678 alexnet"
    folder.mkdir(exist_ok=True)
    return folder / name


def test_a_table_of_places_has_the_numbers_of_its_file(alexnet, cats, tmp_path):
    out = kept(tmp_path, "whatever.json")
    result = transfer(cats, alexnet, features=("conv4",), out=out)
    [table] = experiments.tables(tmp_path).tables
    assert (table.experiment, table.category, table.rows) == ("transfer", CAT, ("NN", "conv4"))
    assert table.objects == tuple(result["records"])
    np.testing.assert_array_equal(table.shown, [cat.visible for cat in cats.instances(CAT, "val")])
    np.testing.assert_array_equal(table.boxes, [cat.box for cat in cats.instances(CAT, "val")])
    for row in table.rows:
        for alpha in experiments.ALPHAS:
            expected = result["summary"]["all"]["rows"][row][str(alpha)]
            found = table.accuracy(row, alpha=alpha)
            assert (found.value, found.low, found.high) == (expected["mean"], expected["low"], expected["high"])
    assert table.how["iterations"] == 3
    assert not {"category", "smoothness", "data"} & set(table.how)


def test_a_table_of_names_has_the_numbers_of_its_file(alexnet, cats, tmp_path):
    out = kept(tmp_path, "whatever.json")
    result = classify(cats, alexnet, features=("conv3", "sift20"), out=out)
    [table] = experiments.tables(tmp_path).tables
    for row in table.rows:
        expected, found = result["summary"][row], table.accuracy(row)
        assert found.value == pytest.approx(expected["accuracy"])
        assert (found.low, found.high) == pytest.approx((expected["low"], expected["high"]))
    first, second = (result["records"][row]["measured"] for row in table.rows)
    right = [np.array(one["called"]) == np.array(one["labels"]) for one in (first, second)]
    tested = table.mcnemar("conv3", "sift20")
    assert (tested.first_only, tested.second_only) == ((right[0] > right[1]).sum(), (right[1] > right[0]).sum())
    assert table.difference("conv3", "sift20").value == pytest.approx(100 * (right[0].mean() - right[1].mean()))
    assert table.boxes is None


def test_names_are_resampled_with_all_objects_of_their_photo(alexnet, cats, tmp_path):
    out = kept(tmp_path, "it.json")
    result = classify(cats, alexnet, features=("sift20",), out=out)
    measured = result["records"]["sift20"]["measured"]
    measured["photos"] = ["one and the same"] * len(measured["photos"])
    out.write_text(json.dumps(result))
    [table] = experiments.tables(tmp_path).tables
    found = table.accuracy("sift20")
    assert len(table.objects) == 2
    assert found.low == pytest.approx(found.value) == pytest.approx(found.high)


def test_a_table_of_some_objects_is_that_of_a_file_of_them(alexnet, cats, tmp_path):
    transfer(cats, alexnet, out=kept(tmp_path, "all.json"))
    transfer(cats, alexnet, limit=1, out=kept(tmp_path, "some.json"))
    every, some = experiments.tables(tmp_path).tables
    [name] = some.objects
    found = every.accuracy("conv4", some=np.array(every.objects) == name)
    assert found.value == some.accuracy("conv4").value


def test_what_is_no_table_is_told_from_what_cannot_be_read(alexnet, cats, tmp_path):
    good = kept(tmp_path, "transfer a.json")
    result = transfer(cats, alexnet, smoothness=None, n_validation=2, out=good)
    assert (tmp_path / good.parent.name / "transfer a.smoothness.json").exists()
    broken = {
        "cut off.json": json.dumps(result)[:5000],
        "a list.json": "[1, 2]",
        "no rows.json": json.dumps(result | {"summary": {"all": {}}}),
        "not finished.json": json.dumps({name: result[name] for name in ("settings", "records")}),
        "of another shape.json": json.dumps(result | {"records": {"it": {"measured": {"truth": [[1, 2]], "box": 3}}}}),
    }
    for name, text in broken.items():
        kept(tmp_path, name).write_text(text)
    kept(tmp_path, "binary.json").write_bytes(b"\xff\xfe\x00")
    settings = result["settings"]
    kept(tmp_path, "older.json").write_text(json.dumps(result | {"settings": settings | {"version": [0]}}))
    kept(tmp_path, "other.json").write_text(json.dumps(result | {"settings": settings | {"experiment": "responses"}}))
    found = experiments.tables(tmp_path)
    assert [table.path for table in found.tables] == [good]
    assert {path.name: (about["experiment"], about["category"]) for path, about in found.older.items()} == {
        "older.json": (settings["experiment"], settings["category"])
    }
    assert {path.name for path in found.unreadable} == {*broken, "binary.json"}
    reasons = {path.name: reason for path, reason in found.unreadable.items()}
    assert reasons["not finished.json"] == "it is not finished: 2 measured so far."
    assert reasons["a list.json"].startswith("it is not as results are written: TypeError")


def test_no_folder_of_results_has_no_tables(tmp_path):
    assert experiments.tables(tmp_path / "nowhere") == experiments.Tables((), {}, {})


def test_objects_that_could_not_be_measured_are_named_beside_their_table(alexnet, cats, tmp_path):
    out = kept(tmp_path, "it.json")
    result = transfer(cats, alexnet, out=out)
    first = next(iter(result["records"]))
    result["records"][first] = {"stamp": None, "skipped": "it is cut off."}
    out.write_text(json.dumps(result))
    [table] = experiments.tables(tmp_path).tables
    assert table.left_out == {first: "it is cut off."}
    assert first not in table.objects


def test_a_table_of_predictions_measures_in_boxes_stretched_to_squares(alexnet, cats, tmp_path):
    out = kept(tmp_path, "prediction.json")
    result = transfer(cats, alexnet, out=out)
    settings = result["settings"] | {"experiment": "prediction", "version": experiments.VERSIONS["prediction"]}
    name = next(iter(result["records"]))
    measured = result["records"][name]["measured"]
    measured["box"] = [0, 0, 200, 100]
    measured["truth"] = [[50, 50]] * len(measured["truth"])
    for row in measured["predicted"]:
        measured["predicted"][row] = [[50 + 0.09 * 200, 50], [50, 50 + 0.09 * 200], *[[50, 50]] * 14]
    records = {name: result["records"][name]}
    out.write_text(json.dumps({"settings": settings, "records": records, "summary": result["summary"]}))
    [table] = experiments.tables(tmp_path).tables
    np.testing.assert_allclose(table.errors[0, 0, :3], [0.09, 0.18, 0])
    assert table.accuracy("conv4").value == pytest.approx(100 * 15 / 16)


BY_SIFT = {"features": ("sift16",), "costs": (0.1, 1.0)}  # which is quick


@pytest.fixture(scope="module")
def flock():
    """Cats drawn once, that are taken for photos: what weighs the prior is chosen as for these."""
    dataset = toy.load(n_train=14, n_val=3)
    splits = {
        (CAT, split): [replace(cat, photo=Drawn(cat.photo.name, cat.photo.load())) for cat in dataset.shown(CAT, split)]
        for split in ("train", "val")
    }
    return replace(dataset, splits=splits, keypoint_names={CAT: dataset.keypoint_names[CAT]}, synthetic=False)


@pytest.fixture(scope="module")
def predicted(flock, alexnet, tmp_path_factory):
    """A result, and the folder it was written to."""
    folder = tmp_path_factory.mktemp("predicted")
    return predict(flock, alexnet, out=folder / "prediction.json"), folder


def predict(flock, alexnet, **options):
    return experiments.predict(flock, CAT, network=alexnet, **{**BY_SIFT, **options})


def test_prediction_records_where_every_row_has_the_keypoints(alexnet, flock, predicted):
    result, folder = predicted
    trained, prior = experiments.detectors(flock, CAT, network=alexnet, out=folder, **BY_SIFT)
    each = trained["sift16"]
    for instance in flock.shown(CAT, "val"):
        record = result["records"][instance.name]["measured"]
        image, placement = detection.crop_box(instance.photo.load(), instance.box)
        subject = detection.describe(image, [DetectorSpec("sift16")], network=alexnet)
        nearest = prior.nearest(subject.summary, k=5, photo=instance.photo.name)
        places, grid = prior.places(nearest), subject.grids["sift16"]
        scores, centres = each.detectors.scores(grid.descriptors), grid.cells.centres()
        expected = {"prior": places[0], "sift16": detection.argmax_points(scores, centres)}
        for name, weighing in each.weighings.items():
            expected[f"sift16{name}"] = detection.predict(scores, centres, places, weighing)
        for row, points in expected.items():
            np.testing.assert_allclose(
                np.array(record["predicted"][row], float), placement.to_image(points), atol=0.0051
            )
        assert record["truth"] == experiments._plain(instance.keypoints.tolist())
        assert record["neighbours"] == [prior.objects[n] for n in nearest[0]]
    assert set(record["predicted"]) == {"prior", "5 priors", "sift16", "sift16+prior", "sift16+5 priors"}
    assert json.loads((folder / "prediction.json").read_text()) == result


def test_the_summary_of_predictions_is_pck_in_the_stretched_box(predicted):
    result, _ = predicted
    measured = [record["measured"] for record in result["records"].values()]
    hits, shown = np.zeros(16), np.zeros(16)
    for record in measured:
        left, top, right, bottom = record["box"]
        for k, (true, point) in enumerate(zip(record["truth"], record["predicted"]["sift16+prior"], strict=True)):
            if None not in true:
                shown[k] += 1
                dx, dy = (point[0] - true[0]) / (right - left), (point[1] - true[1]) / (bottom - top)
                hits[k] += np.hypot(dx, dy) <= 0.05
    found = result["summary"]["all"]["rows"]["sift16+prior"]["0.05"]["mean"]
    assert found == pytest.approx(100 * np.mean(hits[shown > 0] / shown[shown > 0]))


def test_what_weighs_the_prior_is_what_did_best_in_cross_validation(predicted):
    about = predicted[0]["summary"]["training"]["sift16"]
    assert about["pck_by_cost"][str(about["cost"])] == max(about["pck_by_cost"].values())
    for name, weighing in about["weighings"].items():
        tried = about["pck_by_eta"][name]
        best = max(pck for of in tried.values() for pck in of.values())
        assert tried[str(weighing["sigma_px"])][str(weighing["eta"])] == best
    assert list(about["pck_by_eta"]["+prior"]) == ["22.0"]  # the paper's
    assert len(about["pck_by_eta"]["+5 priors"]) == len(experiments.SIGMAS_PX)


def test_a_stopped_prediction_trains_and_measures_only_what_is_left(alexnet, flock, predicted, tmp_path, monkeypatch):
    class StopError(Exception):
        pass

    def stop(done, text):
        if text.startswith("1 of"):
            raise StopError

    for file in predicted[1].glob("*.safetensors"):
        shutil.copy(file, tmp_path)
    monkeypatch.setattr(detection.HardNegativeMiner, "fit", None)  # nothing is trained
    out = tmp_path / "prediction.json"
    with pytest.raises(StopError):
        predict(flock, alexnet, out=out, progress=stop)
    assert len(json.loads(out.read_text())["records"]) == 1
    said = []
    resumed = predict(flock, alexnet, out=out, progress=lambda done, text: said.append(text))
    assert not any("training" in text or "describing" in text for text in said)
    assert resumed["summary"]["all"] == predicted[0]["summary"]["all"]
    again = predict(flock, alexnet, out=out)
    assert again == resumed
    assert again["summary"]["training"]["sift16"]["cost"] == predicted[0]["summary"]["training"]["sift16"]["cost"]


def test_training_that_was_stopped_after_cross_validation_chooses_nothing_again(alexnet, flock, tmp_path, monkeypatch):
    class StopError(Exception):
        pass

    def stop(done, text):
        if "training" in text:
            raise StopError

    with pytest.raises(StopError):
        predict(flock, alexnet, out=tmp_path / "prediction.json", progress=stop)
    assert len(list(tmp_path.glob("*.choice"))) == 1
    monkeypatch.setattr(detection, "held_out_scores", None)
    predict(flock, alexnet, out=tmp_path / "prediction.json")
    assert not list(tmp_path.glob("*.choice"))
    assert not list(tmp_path.glob("*.mining"))


def test_detectors_of_other_data_are_trained_anew(alexnet, flock, tmp_path):
    options = {"network": alexnet, "features": ("sift16",), "out": tmp_path}
    flock = replace(flock, synthetic=True)  # nothing is chosen
    first, prior = experiments.detectors(flock, CAT, **options)
    assert experiments.known_detectors(flock, CAT, **options) is not None
    train = flock.shown(CAT, "train")
    moved = [replace(train[0], keypoints=train[0].keypoints + 3.0), *train[1:]]
    other = replace(flock, digest="1" * 32, splits={**flock.splits, (CAT, "train"): moved})
    assert experiments.known_detectors(other, CAT, **options) is None
    second, moved_prior = experiments.detectors(other, CAT, **options)
    assert not np.array_equal(prior.keypoints, moved_prior.keypoints, equal_nan=True)
    assert not np.array_equal(first["sift16"].detectors.linear.weights, second["sift16"].detectors.linear.weights)


def test_fine_places_are_within_half_a_stride_of_the_cells(alexnet, flock):
    cat = flock.shown(CAT, "val")[0]
    few = np.where(np.arange(16)[:, None] < 8, cat.keypoints, np.nan)
    one = replace(flock, splits={**flock.splits, (CAT, "val"): [replace(cat, keypoints=few)]}, synthetic=True)
    result = predict(one, alexnet, features=("conv5",), costs=(0.1,), fine=True, limit=8)
    moved = 0
    for record in (each["measured"] for each in result["records"].values()):
        left, top, right, bottom = record["box"]
        scale = np.array([500 / (right - left), 500 / (bottom - top)])
        for name in ("conv5+prior", "conv5+5 priors"):
            coarse, finer = (np.array(record["predicted"][row], float) for row in (name, f"{name}, fine"))
            away = np.abs(finer - coarse) * scale
            shown = np.isfinite(np.array(record["truth"], float)).all(axis=1)
            assert np.nanmax(away[shown]) <= 8.1
            assert np.isnan(finer[~shown]).all()
            moved += int((away[shown] > 1).any(axis=1).sum())
    assert moved > 5


def test_too_few_objects_choose_nothing_and_are_learnt_from(alexnet, flock):
    about = predict(flock, alexnet, limit=8)["summary"]["training"]["sift16"]
    assert about["weighings"]["+prior"] == {"neighbours": 1, "sigma_px": 22.0, "eta": 0.05}
    assert "pck_by_eta" not in about


def test_no_feature_at_all_is_refused(alexnet, flock):
    with pytest.raises(ValueError, match="give at least one feature: a layer of alexnet such as pool5, or sift20"):
        predict(flock, alexnet, features=())


def test_detectors_are_not_kept_where_a_photo_could_not_be_reached(alexnet, flock, tmp_path):
    class AwayPhoto(Drawn):
        def load(self):
            msg = "the disk is away"
            raise OSError(msg)

    first, *others = flock.shown(CAT, "train")
    away = replace(first, photo=AwayPhoto(first.photo.name, first.photo.pixels))
    other = replace(flock, splits={**flock.splits, (CAT, "train"): [away, *others]}, synthetic=True)
    trained, _ = experiments.detectors(other, CAT, network=alexnet, features=("sift16",), out=tmp_path)
    assert trained["sift16"].about["left_out"] == {first.name: "the disk is away"}
    assert not list(tmp_path.iterdir())


def test_objects_of_the_same_photo_are_no_prior(alexnet, flock):
    first, *others = flock.shown(CAT, "train")
    itself = replace(first, name="itself")
    one = replace(flock, splits={**flock.splits, (CAT, "val"): [itself]}, synthetic=True)
    record = predict(one, alexnet)["records"]["itself"]["measured"]
    assert first.name not in record["neighbours"]
    assert {name for name in record["neighbours"] if name} <= {other.name for other in others}
