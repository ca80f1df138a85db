"""What follows from an experiment's dataclass: settings, file names, and that a worker needs nothing else."""

import json
import os
import pickle
from dataclasses import fields, replace

import pytest

from corrcore import experiments
from corrcore.datasets import toy
from corrcore.experiments import (
    AgreementRadius,
    Classification,
    Confidence,
    ConfidenceTraining,
    Context,
    Localisation,
    Pairs,
    Prediction,
    Responses,
    SmoothnessSearch,
    Sweep,
    Transfer,
)
from corrcore.experiments.base import from_jsonable, subsample, to_jsonable
from corrcore.features import Feature
from tests.conftest import relabelled

CAT = "toy cat"
EXAMPLES = {
    "localisation": Localisation("small", photos="/some/photos", layers=("conv3",), every=True, limit=3),
    "radius": AgreementRadius("small", seed=3, k=7),
    "transfer": Transfer("toy", CAT, features=("conv3", "sift20"), smoothness=0.1, order="likeness", limit=4),
    "smoothness": SmoothnessSearch("toy", CAT, features=("sift20",), smoothnesses=(0.5,)),
    "classification": Classification("toy", CAT, features=("sift20",), protocol="small", costs=(0.1, 1.0), folds=3),
    "responses": Responses("toy", CAT, features=("conv3",), keypoints=("Nose", "TailBase"), side=31, cost=1.0),
    "pairs": Pairs("toy", CAT, features=("conv3",), limit=4, split="train", longer_side=300, refine=True),
    "confidence": Confidence("toy", (CAT,), features=("conv3",), limit=4, learn_from=(CAT,)),
    "confidence-training": ConfidenceTraining("toy", (CAT,), features=("conv3",), limit=4, refine=True),
    "sweep": Sweep("toy", CAT, features=("conv3",), objects=4, photos=9, limit=5),
    "prediction": Prediction("toy", CAT, features=("conv5",), costs=(0.1,), refined=True, limit=3),
}


@pytest.fixture(scope="module")
def context(alexnet, small_index):
    return Context(
        opened_datasets={"toy": toy.load(n_train=3, n_val=2)},
        opened_networks={"alexnet": alexnet},
        opened_indexes={"small": small_index},
    )


def test_there_is_an_example_of_every_experiment():
    parts = {"smoothness", "confidence-training"}  # of others
    assert {kind.kind for kind in experiments.kinds()} | parts == set(EXAMPLES)
    assert not parts & {kind.kind for kind in experiments.kinds()}


@pytest.mark.parametrize("kind", EXAMPLES)
def test_a_worker_gets_the_dataclass_and_nothing_else(kind):
    experiment = EXAMPLES[kind]
    assert pickle.loads(pickle.dumps(experiment)) == experiment
    assert hash(experiment) == hash(replace(experiment))


@pytest.mark.parametrize("kind", EXAMPLES)
def test_settings_are_read_again_as_what_wrote_them(kind, context):
    experiment = EXAMPLES[kind].resolved(context)
    written = json.loads(json.dumps(experiment.settings()))
    assert experiments.find(written["experiment"]) is type(experiment)
    again = type(experiment).from_settings(written)
    assert again.settings() == experiment.settings()
    for each in fields(experiment):
        if each.name not in experiment.growing:
            assert getattr(again, each.name) == getattr(experiment, each.name)


def another(value):
    """A value that differs."""
    if value is None or isinstance(value, (bool, int, float)):
        return 9 if value is None else not value if isinstance(value, bool) else value + 1
    if isinstance(value, str):
        return {"likeness": "deformation", "deformation": "likeness", "nn": "mrf"}.get(value, f"{value}.")
    return (*value, *value[:1]) or ("other",)


@pytest.mark.parametrize("kind", EXAMPLES)
def test_every_field_but_the_growing_ones_tells_one_result_from_another(kind):
    experiment = EXAMPLES[kind]
    for each in fields(experiment):
        changed = replace(experiment, **{each.name: another(getattr(experiment, each.name))})
        assert (changed.settings() == experiment.settings()) == (each.name in experiment.growing), each.name


def test_features_of_every_spelling_are_the_same(context):
    spelled = (("conv3", "sift20"), ("alexnet:conv3", "sift20.0"), (Feature("alexnet", "conv3"), Feature("sift", "20")))
    resolved = {Transfer("toy", CAT, features=each).resolved(context) for each in spelled}
    assert len(resolved) == 1


@pytest.mark.parametrize(
    ("experiment", "name"),
    [
        (Transfer("toy", CAT), "transfer toy cat.jsonl"),
        (Transfer("toy", CAT, features=("conv4", "sift20")), "transfer toy cat.jsonl"),  # the usual ones
        (Transfer("toy", CAT, features=("sift20",), limit=3), "transfer toy cat, features sift20, limit 3.jsonl"),
        (Transfer("toy", CAT, smoothness=0.1), "transfer toy cat, smoothness 0.1.jsonl"),
        (Classification("toy", CAT), "classification toy cat.jsonl"),
        (Classification("toy", CAT, features=("conv3",)), "classification toy cat.jsonl"),  # features grow
        (
            Classification("toy", CAT, protocol="photo", limit=20),
            "classification toy cat, limit 20, protocol photo.jsonl",
        ),
        (Responses("toy", CAT, keypoints=("Nose",), side=31), "responses toy cat Nose, side 31.jsonl"),
        (Pairs("toy", CAT), "pairs toy cat.jsonl"),
        (Pairs("toy", CAT, split="val", extent="photo"), "pairs toy cat.jsonl"),  # the usual ones
        (Pairs("toy", CAT, method="mrf"), "pairs toy cat, method mrf, extent box.jsonl"),
        (Confidence("toy", (CAT,)), "confidence toy cat.jsonl"),
        (Confidence("toy", (CAT,), learn_from=("toy cow",)), "confidence toy cat, learn_from toy cow.jsonl"),
        (Prediction("toy", CAT), "prediction toy cat.jsonl"),
        (Prediction("toy", CAT, costs=(0.1,)), "prediction toy cat.jsonl"),  # the usual one of drawn objects
        (Prediction("toy", CAT, refined=True), "prediction toy cat, refined True.jsonl"),
        (AgreementRadius("small", layers=("conv3",), limit=4), "radius, layers conv3, limit 4.jsonl"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_file_is_named_by_whatever_is_not_as_usual(context, experiment, name):
    assert experiment.resolved(context).file_name(context) == name


def test_long_names_are_cut_and_stay_different(context):
    names = {
        Responses("toy", CAT, keypoints=("Nose",), features=tuple(f"sift{n}" for n in range(10, stop)))
        .resolved(context)
        .file_name(context)
        for stop in (60, 61)
    }
    assert len(names) == 2
    assert all(len(name) <= 126 and "/" not in name for name in names)


def test_layers_are_all_there_are_unless_chosen(context):
    names = {
        Localisation("small", photos="/some/photos", layers=layers).resolved(context).file_name(context)
        for layers in ((), ("conv3", "conv5"))
    }
    assert len(names) == 1
    assert names.pop().startswith("localisation -some-photos ")


@pytest.mark.parametrize(
    ("photos", "others"), [("/a/b-c", "/a/b/c"), ("猫" * 80 + "a", "猫" * 80 + "b"), ("a, limit 3", "a")], ids=str
)
def test_what_is_no_name_of_a_file_has_one_of_its_own(context, photos, others):
    limit = 3 if others == "a" else None
    names = [
        each.resolved(context).file_name(context)
        for each in (Localisation("small", photos=photos), Localisation("small", photos=others, limit=limit))
    ]
    assert names[0] != names[1]
    assert all("/" not in name and len(os.fsencode(name)) <= 126 for name in names)


def test_folders_are_of_data_set_annotations_and_network(context):
    data = context.dataset("toy")
    other = Context(opened_datasets={"toy": replace(data, digest="f" * 64)}, opened_networks=context.opened_networks)
    experiment = Transfer("toy", CAT)
    assert experiment.folder(context) == f"toy {data.digest[:8]} alexnet"
    assert experiment.folder(other) == "toy ffffffff alexnet"
    assert AgreementRadius("small").folder(context) == f"index small {context.index('small').digest[:8]}"


def test_provenance_changes_with_photos_annotations_and_weights(context, alexnet):
    data, other = context.dataset("toy"), relabelled(alexnet, digest="other weights")
    cats = data.visible_instances(CAT, "train")
    changed = [replace(cat, photo=replace(cat.photo, key=(9, 9, 9))) for cat in cats]
    other_photo = replace(data, splits={**data.splits, (CAT, "train"): changed})
    contexts = {
        "photos": Context(opened_datasets={"toy": other_photo}, opened_networks={"alexnet": alexnet}),
        "data_digest": Context(
            opened_datasets={"toy": replace(data, digest="another")}, opened_networks={"alexnet": alexnet}
        ),
        "extractors": Context(opened_datasets={"toy": data}, opened_networks={"alexnet": other}),
    }
    for kind in ("transfer", "classification", "prediction"):
        experiment = EXAMPLES[kind].resolved(context)
        usual = experiment.provenance(context)
        for what, each in contexts.items():
            changed = experiment.provenance(each)
            assert {name for name in usual if usual[name] != changed[name]} == {what}, (kind, what)


@pytest.mark.parametrize(
    ("experiment", "sentence"),
    [
        (Transfer("toy", "dog"), "category of toy must be one of toy cat, toy cow; got 'dog'"),
        (Transfer("toy", CAT, features=("conv9",)), "layer of alexnet must be one of .*; got 'conv9'"),
        (Transfer("toy", CAT, features=("conv3", "conv3")), "every feature may stand once; conv3 stands twice"),
        (Transfer("toy", CAT, limit=0), "limit must be at least 1 object, or None for all; got 0"),
        (Transfer("toy", CAT, network="nonet"), "network must be one of alexnet, vgg16, .*; got 'nonet'"),
        (Classification("toy", CAT, protocol="huge"), "protocol must be one of box, .*; got 'huge'"),
        (Responses("toy", CAT, keypoints=("Wing",)), "keypoints of toy cat must be among .*; got Wing"),
        (Responses("toy", CAT, keypoints=("Nose",), side=20), "side must be odd, .*; got 20"),
        (Responses("toy", CAT, keypoints=("Nose",), protocol="three"), "protocol must be one of .*; got 'three'"),
        (AgreementRadius("small", layers=("conv1",)), "layers of small must be among conv3, conv5; got conv1"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_what_does_not_fit_is_refused_in_one_sentence(context, experiment, sentence):
    with pytest.raises(ValueError, match=sentence):
        experiment.resolved(context)


def test_features_of_another_network_are_refused(context, alexnet):
    both = replace(context, opened_networks={"alexnet": alexnet, "other": relabelled(alexnet, name="other")})
    with pytest.raises(
        ValueError, match="features must be layers of other, or SIFT; measure alexnet:conv4 with another"
    ):
        Transfer("toy", CAT, network="other", features=("alexnet:conv4",)).resolved(both)


def test_a_smaller_limit_takes_some_of_what_a_larger_one_takes():
    everything = toy.load(n_train=1, n_val=20).instances(CAT, "val")
    some = [subsample(everything, limit) for limit in (3, 10)]
    assert some[0] == some[1][:3]
    assert some[0] != everything[:3]
    assert len({one.name for one in some[1]}) == 10
    assert subsample(everything, None) == everything
    assert len(subsample(everything, 99)) == 20


def test_json_has_no_numbers_that_it_cannot_hold():
    plain = to_jsonable({"a": (float("nan"), float("inf"), -float("inf"), 1.5), 2: Feature("sift", "20"), "t": True})
    assert json.loads(json.dumps(plain, allow_nan=False)) == {
        "a": [None, "inf", "-inf", 1.5],
        "2": "sift20",
        "t": True,
    }
    assert from_jsonable([1, [2, 3]]) == (1, (2, 3))


def test_a_result_to_take_along_is_one_document(context, tmp_path):
    result = experiments.run(
        Transfer("toy", CAT, features=("sift20",), smoothness=0.1, iterations=1, limit=1), context=context
    )
    content = json.loads(result.to_json(), parse_constant=pytest.fail)
    assert set(content) == {"settings", "provenance", "notes", "summary", "records", "skipped"}
    assert content["settings"]["limit"] == 1
    assert list(content["records"]) == list(result.records)
    assert [row["row"] for row in content["summary"] if row["objects"].endswith("all")] == ["NN", "sift20"]
