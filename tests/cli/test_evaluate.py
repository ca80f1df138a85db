"""`corrcore evaluate`: commands follow from dataclasses, numbers are the results', errors are one sentence."""

import argparse
from dataclasses import fields, replace

import pytest
from PIL import Image
from safetensors.torch import save_file

from corrcore import experiments, extractors, networks
from corrcore.cli import evaluate
from corrcore.cli.shared import ProgressBar, cluster_of
from corrcore.datasets import toy
from corrcore.experiments import AgreementRadius, Context, Localisation, Prediction, ResultStore, Transfer
from corrcore.features import Feature
from tests.conftest import smooth_noise
from tests.datasets.spair_tree import Tree
from tests.experiments.sizes import Sizes
from tests.networks import tiny


def parse(*words):
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", default=None)
    parser.add_argument("--progress", default="bar")
    evaluate.add_parsers(parser.add_subparsers(required=True))
    return parser.parse_args(["evaluate", *map(str, words)])


@pytest.fixture(scope="module")
def few(alexnet):
    """A few drawn animals of both categories, and the network, open already."""
    return Context(opened_datasets={"toy": toy.load(n_train=6, n_val=2)}, opened_networks={"alexnet": alexnet})


@pytest.fixture
def sizes():
    """The smallest experiment, registered in this one place."""
    experiments.register(Sizes)
    yield
    experiments.unregister("sizes")


@pytest.fixture
def tiny_network(tmp_path):
    """A tiny network, registered in this one place."""
    path = tmp_path / "tiny.safetensors"
    save_file(tiny.weights(), path)
    networks.register(tiny.spec(path))
    yield "tiny"
    networks.unregister("tiny")


def stored(folder):
    return {path.name: result for path, result in ResultStore(folder).scan().results.items()}


# --- Commands follow from dataclasses --------------------------------------------------------------------------------


def test_every_experiment_has_its_command_with_an_option_per_field(capsys):
    for kind in experiments.kinds():
        with pytest.raises(SystemExit) as stopped:
            parse(kind.kind, "--help")
        assert stopped.value.code == 0
        told = capsys.readouterr().out
        for each in fields(kind):
            spelled = {"dataset": "data", "category": "categories"}.get(each.name, each.name).replace("_", "-")
            assert f"--{spelled} " in told, (kind.kind, each.name)


def test_options_are_read_as_the_fields_types():
    options = parse(
        *("transfer", "--data", "toy", "--categories", "toy cat, toy cow", "--features", "conv4,sift20"),
        *("--position", "0.5", "--order", "likeness", "--iterations", "3", "--limit", "7"),
    )
    assert options.category == ("toy cat", "toy cow")
    assert (options.features, options.position, options.order) == (("conv4", "sift20"), 0.5, "likeness")
    assert (options.iterations, options.limit, options.smoothness) == (3, 7, None)
    assert parse("classification", "--data", "toy", "--costs", "0.1,1").costs == (0.1, 1.0)
    assert parse("prediction", "--data", "toy", "--refined").refined is True
    assert parse("radius", "--index", "it", "--seed", "0").seed == 0


@pytest.mark.parametrize("kind", [kind for kind in experiments.kinds() if "category" in {f.name for f in fields(kind)}])
def test_defaults_are_those_of_the_dataclass(kind):
    options = parse(kind.kind, "--data", "toy")
    experiment = kind(dataset="toy", category="toy cat")
    for each in fields(kind):
        if each.name not in {"dataset", "category"}:
            assert getattr(options, each.name) == getattr(experiment, each.name), each.name


def test_the_command_of_an_experiment_is_read_as_that_experiment(alexnet):
    features = (Feature("alexnet", "conv4"), Feature("sift", "20"))
    asked = [
        Transfer("toy", "toy cat", features=features, position=0.25, order="likeness", limit=7, smoothness=1e-3),
        Prediction("/data/--odd name", "cow", network="timm:vit_tiny_patch16_224", costs=(0.1, 1.0), refined=True),
        AgreementRadius("my index", layers=("conv3", "conv5"), limit=7, window=9),
        Localisation("samples", photos="/photos of mine", every=True),
    ]
    for experiment in asked:
        options = parse(*evaluate.command_of(experiment)[1:])
        given = {each.name: getattr(options, each.name) for each in fields(experiment)}
        if "category" in given:
            [given["category"]] = given["category"]
        if "features" in given:
            given["features"] = extractors.parse(given["features"], alexnet) if given["features"] else ()
        assert type(experiment)(**given) == experiment


def test_what_no_option_can_say_has_no_command():
    with pytest.raises(ValueError, match=r"^--categories takes names without commas.*; got cat, sitting\.$"):
        evaluate.command_of(Transfer("toy", "cat, sitting"))
    with pytest.raises(ValueError, match=r"^--limit must be something; got None\.$"):
        evaluate.command_of(AgreementRadius("mine", limit=None))


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--order", "chance"), "invalid choice: 'chance'"),
        (("--limit", "0"), "must be a whole number from 1; got 0"),
        (("--limit", "three"), "must be a whole number from 1; got three"),
        (("--position", "nan"), "must be a number; got nan"),
        (("--position", "far"), "must be a number; got far"),
    ],
    ids=str,
)
def test_values_that_no_field_can_have_are_refused(capsys, words, complaint):
    with pytest.raises(SystemExit) as stopped:
        parse("transfer", "--data", "toy", *words)
    assert stopped.value.code == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.slow
def test_a_new_experiment_has_its_command_its_file_and_is_found(sizes, run, capsys, tmp_path):
    with pytest.raises(SystemExit) as stopped:
        run("evaluate", "sizes", "--help")
    assert stopped.value.code == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "The mean area of boxes." in told
    assert "More is not to be told of it" not in told  # the first paragraph is enough
    assert "--power POWER of the area (default: 1.0)" in told
    out = tmp_path / "out"
    assert run("evaluate", "sizes", "--data", "toy", "--limit", 2, "--power", 0.5, "--out", out) == 0
    told = capsys.readouterr().out
    found = stored(out)
    assert set(found) == {f"sizes {each}, power 0.5, limit 2.jsonl" for each in ("toy cat", "toy cow")}
    for category in ("toy cat", "toy cow"):
        result = found[f"sizes {category}, power 0.5, limit 2.jsonl"]
        assert f"{category}\n  area, px\n  {result.summary:.0f}\n  areas to the power of 0.5\n" in told


@pytest.mark.parametrize("kind", ["transfer", "classification", "responses", "prediction"])
def test_a_new_network_is_taken_by_every_experiment(tiny_network, kind, few, capsys, tmp_path):
    few = Context(opened_datasets=few.opened_datasets)
    words = [kind, "--data", "toy", "--categories", "toy cat", "--network", tiny_network, "--limit", 2]
    words += {
        "transfer": ["--smoothness", 0.1, "--iterations", 1],
        "classification": ["--protocol", "small", "--costs", 0.1],
        "responses": ["--keypoints", "Nose", "--protocol", "small", "--cost", 1, "--features", "second,sift20"],
        "prediction": ["--features", "sift80"],  # whose prior is the network's
    }[kind]
    evaluate.evaluate(parse(*words, "--out", tmp_path / "out"), context=few)
    [result] = stored(tmp_path / "out").values()
    assert set(result.provenance["extractors"]) >= {"tiny"}
    assert ("sift80" if kind == "prediction" else "second") in capsys.readouterr().out
    [folder] = {path.parent.name for path in ResultStore(tmp_path / "out").scan().results}
    assert folder.endswith(" tiny")


# --- What is printed -------------------------------------------------------------------------------------------------


def test_the_table_printed_is_that_of_the_result_and_the_same_command_measures_nothing(few, capsys, tmp_path):
    out = tmp_path / "out"
    words = ("transfer", "--data", "toy", "--categories", "toy cat", "--features", "sift20", "--smoothness", 0.1)
    options = parse(*words, "--iterations", 1, "--limit", 1, "--out", out)
    evaluate.evaluate(options, context=few)
    first = capsys.readouterr()
    assert first.out.startswith(f"results in {out}\n")
    [(name, result)] = stored(out).items()
    assert name == "transfer toy cat, features sift20, limit 1, iterations 1, smoothness 0.1.jsonl"
    for row in result.experiment.summary_rows(result.summary):
        [line] = (line for line in first.out.splitlines() if line.split()[:3] == [*row["objects"].split(), row["row"]])
        assert row["PCK at 0.05, %"] in line
    assert "sift20: smoothness 0.1" in first.out
    assert "mean over categories" not in first.out
    evaluate.evaluate(options, context=few)
    again = capsys.readouterr()
    assert again.out == first.out
    assert "nothing new" in again.err
    assert "describing" not in again.err


def test_several_categories_have_a_mean(few, capsys, tmp_path):
    words = ("classification", "--data", "toy", "--features", "sift20", "--protocol", "small", "--costs", 0.1)
    evaluate.evaluate(parse(*words, "--folds", 3, "--out", tmp_path / "out"), context=few)
    told = capsys.readouterr().out
    found = stored(tmp_path / "out")
    values = [each.summary.table.accuracy(each.summary.table.rows[0]).value for each in found.values()]
    assert len(values) == 2
    mean = told.split("mean over categories\n")[1].split()
    assert mean[-3:] == ["sift20", f"{sum(values) / 2:.1f}", "2"]


def test_responses_of_several_categories_have_no_mean_and_chance_beside_them(few, capsys, tmp_path):
    words = ("responses", "--data", "toy", "--keypoints", "Nose", "--features", "sift20,conv3", "--cost", 1)
    evaluate.evaluate(parse(*words, "--protocol", "small", "--out", tmp_path / "out"), context=few)
    told = capsys.readouterr().out
    assert "within 4 px, % (chance)" in told
    assert "[-, -]" in told  # too few for an interval
    assert "mean over categories" not in told


def test_objects_that_could_not_be_measured_are_counted(few, capsys, tmp_path, sizes):
    class Gone:
        name, stamp = "gone.png", "gone"

        def load(self):
            msg = "it is gone"
            raise OSError(msg)

    data = few.opened_datasets["toy"]
    first, second = data.instances("toy cat", "val")
    splits = {**data.splits, ("toy cat", "val"): [replace(first, photo=Gone()), second]}
    context = Context(opened_datasets={"toy": replace(data, splits=splits)})
    options = parse("sizes", "--data", "toy", "--categories", "toy cat", "--out", tmp_path / "out")
    evaluate.evaluate(options, context=context)
    assert "toy cat, 1 of 2 measured\n" in capsys.readouterr().out


def test_a_first_word_of_progress_is_shown_at_once(capsys):
    bar = ProgressBar()
    bar(0.0, "opening")
    bar(0.5, "too soon")
    bar(1.0, "done")
    assert capsys.readouterr().err == "  0.0%  opening\n100.0%  done\n"


# --- As a terminal runs it -------------------------------------------------------------------------------------------


def test_a_prediction_of_a_few_drawn_animals_works(few, capsys, tmp_path):
    out = tmp_path / "out"
    words = ("--data", "toy", "--categories", "toy cat", "--features", "sift80", "--limit", 1, "--out", out)
    evaluate.evaluate(parse("prediction", *words), context=few)
    told = capsys.readouterr().out
    [result] = stored(out).values()
    assert (len(result.records), result.asked) == (1, 1)
    assert "1 all     sift80+5 priors" in told
    assert "sift80: cost 0.1, trained in" in told


def test_an_index_is_measured(run, capsys, tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for number in range(4):
        Image.fromarray(smooth_noise(130, 120, number)).save(photos / f"{number}.png")
    assert run("index", "build", photos, "--name", "mine", "--layers", "conv3", "--hold-out", 2) == 0
    assert run("evaluate", "localisation", "--photos", photos, "--index", "mine", "--out", out) == 0
    assert run("evaluate", "radius", "--index", "mine", "--limit", 2, "--k", 5, "--out", out) == 0
    found = stored(out)
    assert {name.split()[0].strip(","): result.asked for name, result in found.items()} == {
        "localisation": 2,
        "radius": 2,
    }
    assert "PSNR" in capsys.readouterr().out


def test_a_folder_of_results_may_be_relative_or_named_from_home(sizes, few, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for given, folder in (("relative", tmp_path / "relative"), ("~/from home", tmp_path / "home" / "from home")):
        evaluate.evaluate(parse("sizes", "--data", "toy", "--limit", 1, "--out", given), context=few)
        assert f"results in {folder}\n" in capsys.readouterr().out
        assert len(stored(folder)) == 2


CAT = ("--data", "toy", "--categories", "toy cat")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("radius", "--index", "it"), "there is no patch index"),
        (("transfer", "--data", "/nowhere"), "/nowhere"),
        (("transfer", *CAT, "--network", "nonet"), "network must be one of alexnet, vgg16, "),
        (("responses", *CAT, "--keypoints", "Nose", "--side", "30"), "side must be odd"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_one_sentence_and_exit_code_2(run, tmp_path, capsys, words, sentence):
    assert run("evaluate", *words, "--out", tmp_path / "out") == 2
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert len([line for line in captured.err.splitlines() if line.startswith("corrcore: ")]) == 1
    assert "Traceback" not in captured.err
    assert not list((tmp_path / "out").glob("*/*.jsonl"))


def test_a_folder_of_results_that_is_a_file_is_one_sentence(run, tmp_path, capsys):
    (tmp_path / "it").write_text("mine")
    assert run("evaluate", "transfer", "--data", "toy", "--out", tmp_path / "it") == 2
    assert "it is a file, so give another place" in capsys.readouterr().err
    assert (tmp_path / "it").read_text() == "mine"


def test_a_kind_that_is_taken_is_refused():
    with pytest.raises(ValueError, match="an experiment's kind must be new; 'transfer' is registered already"):
        experiments.register(Transfer)


def test_pairs_of_a_folder_in_spairs_layout_are_measured_by_category(run, capsys, tmp_path):
    tree = Tree(tmp_path / "SPair-71k", own=True)
    words = ("evaluate", "pairs", "--data", tree.root, "--features", "conv3,conv4", "--out", tmp_path / "out")
    assert run(*words) == 0
    told = capsys.readouterr().out
    assert [line for line in told.splitlines() if not line.startswith((" ", "results"))] == [
        "cat",
        "cow",
        "mean over categories",
    ]
    assert "PCK at 0.05 per image, %" in told
    assert run(*words, "--categories", "cow", "--split", "val", "--method", "mrf") == 0
    assert {name for name in stored(tmp_path / "out") if "mrf" in name} == {
        "pairs cow, features conv3 conv4, method mrf, extent box, split val.jsonl"
    }
    assert run(*words, "--split", "train") == 2
    assert "split of cat in spair71k must be one of test; got 'train'" in capsys.readouterr().err


SIZES = ("evaluate", "sizes", "--data=toy", "--categories=toy cat")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((*SIZES, "--address=head:6379"), "--address goes with --executor ray."),
        ((*SIZES, "--gpus=1"), "--gpus goes with --executor ray."),
        ((*SIZES, "--executor=ray", "--address=head"), "the address of a Ray cluster is HOST:PORT"),
        (("train", "detectors", "--data=toy", "--categories=toy cat", "--workers=2"), "--workers goes with --executor"),
    ],
)
def test_where_a_command_runs_is_checked_before_it_begins(run, sizes, capsys, monkeypatch, tmp_path, words, sentence):
    monkeypatch.setenv("CORRCORE_CACHE", str(tmp_path))
    assert run(*words) == 2
    assert sentence in capsys.readouterr().err


def test_a_command_runs_on_the_cluster_that_the_environment_names(run, sizes, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("CORRCORE_EXECUTOR", "ray")
    monkeypatch.setenv("CORRCORE_RAY_ADDRESS", "127.0.0.1:1")
    words = ("evaluate", "sizes", "--data=toy", "--categories=toy cat", "--limit=2", f"--out={tmp_path}")
    assert run(*words) == 2
    assert "no Ray cluster answers at 127.0.0.1:1" in capsys.readouterr().err
    given = argparse.Namespace(executor="threads", address=None, workers=2, gpus=None)
    assert cluster_of(given) is None  # as it says so
