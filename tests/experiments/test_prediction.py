"""Table 4 and its detectors: trained once, kept, gone on with, and trained anew for other photos."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from corrcore.datasets import toy
from corrcore.experiments import Context, DetectorTraining, Prediction, ResultStore, run
from corrcore.features import Feature
from corrcore.tasks import detection
from corrcore.tasks.detection import PriorFusion
from tests.conftest import relabelled
from tests.experiments.conftest import CAT, Away, StopError, drawn_once, stop_at, with_split

SIFT40 = Feature("sift", "40")  # whose few cells are quickly learnt from
ROWS = ["prior", "5 priors", "sift40", "sift40+prior", "sift40+5 priors"]


def prediction(**options):
    return Prediction("toy", CAT, **{"features": ("sift40",)} | options)


@pytest.fixture(scope="module")
def flock():
    """Cats drawn once. Taken for photos, so that how the prior counts is chosen as for these."""
    return replace(drawn_once(toy.load(n_train=14, n_val=2)), synthetic=False)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return ResultStore(tmp_path_factory.mktemp("predicted"))


@pytest.fixture(scope="module")
def contexts(alexnet):
    return lambda data: Context(opened_datasets={"toy": data}, opened_networks={"alexnet": alexnet})


@pytest.fixture(scope="module")
def predicted(flock, contexts, store):
    """Of two costs, trained once."""
    return run(prediction(costs=(0.1, 1.0)), context=contexts(flock), store=store)


def training(**options):
    return DetectorTraining("toy", CAT, features=("sift40",), costs=(0.1, 1.0), **options)


def kept(contexts, data, store, **options):
    return training(**options).known(replace(contexts(data), store=store.folder))


def test_records_have_where_every_row_sees_the_keypoints(alexnet, contexts, flock, store, predicted):
    trained, prior = kept(contexts, flock, store)
    each = trained[SIFT40]
    for instance in flock.visible_instances(CAT, "val"):
        record = predicted.records[instance.name]
        image, transform = detection.crop_box(instance.photo.load(), instance.box)
        described = detection.describe(image, [SIFT40], network=alexnet)
        nearest = prior.nearest(described.summary, k=5, photo=instance.photo.name)
        places, grid = prior.places(nearest), described.grids[SIFT40]
        scores, centres = each.detectors.scores(grid.descriptors), grid.cells.centres()
        expected = {
            "prior": places[0],
            "5 priors": detection.median_places(places),
            "sift40": detection.argmax_points(scores, centres),
            "sift40+prior": detection.predict(scores, centres, places, each.fusions[1]),
            "sift40+5 priors": detection.predict(scores, centres, places, each.fusions[5]),
        }
        assert list(record.predicted) == ROWS
        for row, points in expected.items():
            np.testing.assert_allclose(record.predicted[row], transform.to_image(points), atol=0.0051)
        np.testing.assert_array_equal(record.truth, instance.keypoints)
        assert record.neighbours == tuple(prior.objects[n] for n in nearest[0])


def test_the_summary_is_pck_in_the_box_stretched_to_a_square(predicted):
    hits, shown = np.zeros(16), np.zeros(16)
    for record in predicted.records.values():
        left, top, right, bottom = record.box
        for k, (true, point) in enumerate(zip(record.truth, record.predicted["sift40+prior"], strict=True)):
            if np.isfinite(true).all():
                shown[k] += 1
                hits[k] += np.hypot((point[0] - true[0]) / (right - left), (point[1] - true[1]) / (bottom - top)) <= 0.1
    table = predicted.summary
    [row] = (row for row in table.rows if row.key == "sift40+prior")
    assert table.accuracy(row, alpha=0.1).value == pytest.approx(100 * np.mean(hits[shown > 0] / shown[shown > 0]))


def test_how_the_prior_counts_is_what_did_best_in_cross_validation(predicted):
    about = predicted.notes["training"]["sift40"]
    assert about["pck_by_cost"][str(about["cost"])] == max(about["pck_by_cost"].values())
    for name, fusion in about["fusions"].items():
        tried = about["pck_by_eta"][name]
        best = max(pck for of in tried.values() for pck in of.values())
        assert tried[str(fusion["sigma_px"])][str(fusion["eta"])] == best
    assert list(about["pck_by_eta"]["1"]) == ["22.0"]  # the paper's
    assert len(about["pck_by_eta"]["5"]) > 1
    [line] = predicted.experiment.note_lines(predicted.notes)
    assert line.startswith(f"sift40: cost {about['cost']:g}, trained in ")


def test_a_prediction_with_kept_detectors_trains_nothing_and_goes_on_where_it_was_stopped(
    contexts, flock, store, predicted, tmp_path
):
    said = []
    copy = ResultStore(tmp_path)
    for file in store.folder.glob("*/*.safetensors"):
        (tmp_path / file.parent.name).mkdir(exist_ok=True)
        shutil.copy(file, tmp_path / file.parent.name)
    experiment = prediction(costs=(0.1, 1.0))
    with pytest.raises(StopError):
        run(experiment, context=contexts(flock), store=copy, progress=stop_at("1 of"))
    partial = copy.load(experiment.resolved(contexts(flock)), contexts(flock))
    assert (len(partial.records), partial.asked) == (1, 2)
    resumed = run(experiment, context=contexts(flock), store=copy, progress=lambda _, text: said.append(text))
    assert not any("training" in text or "describing" in text for text in said)
    assert resumed.to_json() == predicted.to_json()


def test_training_that_was_stopped_after_cross_validation_chooses_nothing_again(contexts, flock, tmp_path):
    context = replace(contexts(flock), store=tmp_path)
    assert not training().begun(context)
    with pytest.raises(StopError):
        training().train(context, progress=stop_at("SIFT, radius 40 px: training"))
    assert (training().begun(context), training().outdated(context)) == (True, False)
    assert len(list(tmp_path.glob("*/*.choice"))) == 1
    assert training().known(context) is None
    said = []
    trained, _ = training().train(context, progress=lambda _, text: said.append(text))
    assert not any("cross validation" in text for text in said)
    assert "pck_by_eta" in trained[SIFT40].about
    assert (training().begun(context), training().outdated(context)) == (False, False)
    assert not list(tmp_path.glob("*/*.choice")) + list(tmp_path.glob("*/*.mining"))


@pytest.mark.parametrize("changed", ["annotations", "photos", "weights"])
def test_detectors_of_other_data_are_not_taken(contexts, flock, store, predicted, alexnet, changed):
    train = flock.visible_instances(CAT, "train")
    other = {
        "annotations": replace(flock, digest=flock.digest[:8] + "1" * 56),  # in the same folder
        "photos": with_split(
            flock, "train", [replace(train[0], photo=replace(train[0].photo, stamp="another")), *train[1:]]
        ),
        "weights": flock,
    }[changed]
    context = replace(contexts(other), store=store.folder)
    if changed == "weights":
        context = replace(context, opened_networks={"alexnet": relabelled(alexnet, digest="other weights")})
    assert kept(contexts, flock, store) is not None
    assert training().known(context) is None
    assert (training().begun(context), training().outdated(context)) == (False, True)
    assert not training().outdated(replace(contexts(flock), store=store.folder))


def test_detectors_of_other_photos_are_trained_anew(contexts, flock, tmp_path):
    """Of drawn objects, of which nothing is chosen."""
    drawn = replace(flock, synthetic=True)
    train = drawn.visible_instances(CAT, "train")
    first, prior = training().train(replace(contexts(drawn), store=tmp_path))
    moved = [
        replace(train[0], photo=replace(train[0].photo, stamp="another"), keypoints=train[0].keypoints + 3.0),
        *train[1:],
    ]
    second, moved_prior = training().train(replace(contexts(with_split(drawn, "train", moved)), store=tmp_path))
    assert not np.array_equal(prior.keypoints, moved_prior.keypoints, equal_nan=True)
    assert not np.array_equal(first[SIFT40].detectors.linear.weights, second[SIFT40].detectors.linear.weights)
    assert first[SIFT40].fusions[1] == PriorFusion(neighbours=1, sigma_px=22.0, eta=0.05)
    assert "pck_by_eta" not in first[SIFT40].about


@pytest.mark.slow
def test_refined_places_are_within_half_a_stride_of_the_cells(contexts, flock):
    cat = flock.visible_instances(CAT, "val")[0]
    shown = np.flatnonzero(cat.visible)[:4]
    few = replace(cat, keypoints=np.where(np.isin(np.arange(16), shown)[:, None], cat.keypoints, np.nan))
    context = contexts(with_split(replace(flock, synthetic=True), "val", [few]))
    result = run(prediction(features=("pool5",), refined=True), context=context)
    [record] = result.records.values()
    assert {row for row in record.predicted if "refined" in row} == {
        "pool5+prior, refined",
        "pool5+5 priors, refined",
    }
    left, top, right, bottom = record.box
    scale = np.array([500 / (right - left), 500 / (bottom - top)])
    moved = 0
    for name in ("pool5+prior", "pool5+5 priors"):
        coarse, refined = record.predicted[name], record.predicted[f"{name}, refined"]
        away = np.abs(refined - coarse)[shown] * scale
        assert np.nanmax(away) <= 16.1
        assert np.isnan(np.delete(refined, shown, axis=0)).all()
        moved += int((away > 1).any(axis=1).sum())
    assert moved > 1


def test_an_object_is_no_prior_of_itself(contexts, flock, store, predicted):
    first, *others = flock.visible_instances(CAT, "train")
    context = contexts(with_split(flock, "val", [replace(first, name="itself")]))
    [record] = run(prediction(costs=(0.1, 1.0)), context=context, store=store).records.values()
    assert first.name not in record.neighbours
    assert {name for name in record.neighbours if name} <= {other.name for other in others}


def test_detectors_are_not_kept_where_a_photo_could_not_be_reached(contexts, flock, tmp_path):
    first, *others = flock.visible_instances(CAT, "train")
    away = with_split(flock, "train", [replace(first, photo=Away(first.photo.name, first.photo.pixels)), *others])
    context = replace(contexts(replace(away, synthetic=True)), store=tmp_path)
    with pytest.raises(OSError, match="the disk is away"):
        training().train(context)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_limit_leaves_enough_train_objects_for_detectors(contexts, flock):
    everything = prediction().training.instances(contexts(flock))
    limited = prediction(limit=1)
    assert len(limited.samples(contexts(flock))) == 1
    assert limited.training.instances(contexts(flock)) != []
    assert {one.name for one in limited.training.instances(contexts(flock))} == {one.name for one in everything}
    assert limited.training.limit == 24


def test_too_few_objects_to_learn_from_are_one_sentence(contexts, flock):
    few = contexts(with_split(flock, "train", flock.visible_instances(CAT, "train")[:3]))
    with pytest.raises(ValueError, match="a detector needs 5 train objects that show its keypoint"):
        run(prediction(), context=few)


def test_where_nothing_can_be_written_detectors_are_trained_and_it_is_said_once(contexts, flock, unwritable, recwarn):
    context = contexts(replace(flock, synthetic=True))
    result = run(prediction(limit=1), context=context, store=ResultStore(unwritable))
    assert result.finished
    assert len(recwarn) == 1
