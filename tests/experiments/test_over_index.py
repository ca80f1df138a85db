"""Experiments on a patch index against the tasks they repeat."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from corrcore import networks
from corrcore import patch_index as indexes
from corrcore.datasets import folder
from corrcore.experiments import AgreementRadius, Context, Localisation, ResultStore, run
from corrcore.metrics import Estimate
from corrcore.tasks import averaging, reconstruction
from tests.conftest import ArrayPhoto, smooth_noise
from tests.experiments.conftest import StopError, stop_at


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    path = tmp_path_factory.mktemp("photos")
    for n in range(3):
        Image.fromarray(smooth_noise(160, 140, seed=50 + n)).save(path / f"q{n}.png")
    return path


@pytest.fixture
def context(alexnet, small_index):
    return Context(opened_networks={"alexnet": alexnet}, opened_indexes={"small": small_index})


def localisation(photos, **options):
    return Localisation("small", photos=str(photos), **{"every": True, "layers": ("conv3",)} | options)


def test_localisation_sums_up_what_each_photo_gives(alexnet, small_index, photos, context):
    result = run(localisation(photos), context=context)
    scores, psnr = [], []
    for photo in folder.photos(photos).photos:
        image = photo.load()
        retrieval = reconstruction.retrieve(image, "conv3", extractor=alexnet, index=small_index, k=1)
        rng = np.random.default_rng([0, *photo.name.encode()])
        scores.append(retrieval.localise(image, small_index, rng=rng).score)
        rebuilt = reconstruction.rebuild(retrieval, small_index, k=1)
        psnr.append(reconstruction.fidelity(image, rebuilt, retrieval.cells.covered).psnr_db)
    found = result.summary["conv3"]
    assert found["score"].value == pytest.approx(np.nanmean(scores))
    assert found["psnr_db"].value == pytest.approx(np.mean(psnr))
    assert found["score"].low <= found["score"].value <= found["score"].high
    assert found["score"].samples == np.isfinite(scores).sum() >= 2
    assert found["psnr_db"].samples == 3
    rows = {row["measured"]: row for row in result.experiment.summary_rows(result.summary)}
    assert rows["score, 0.5 by chance"]["mean"].startswith(f"{np.nanmean(scores):.2f} [")
    assert rows["PSNR"]["mean"].startswith(f"{np.mean(psnr):.1f} dB [")


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (30.851, 22.642, 47.3, "31 px [23, 47]"),
        (30.851, 22.642, np.inf, "31 px [23 or more]"),
        (np.inf, 22.642, np.inf, "does not fall [23 or more]"),
        (np.inf, np.inf, np.inf, "does not fall"),
        (30.851, np.nan, np.nan, "31 px"),
        (np.nan, np.nan, np.nan, "none"),
    ],
)
def test_radii_are_told_in_words(value, low, high, text):
    found = {"conv3": {"agreement_radius_px": Estimate(value, low, high, np.empty(0), 9)}}
    [row] = AgreementRadius("it").summary_rows(found)
    assert row == {"layer": "conv3", "measured": "agreement radius", "median": text, "samples": "9"}


def test_a_stopped_localisation_measures_only_what_is_left(photos, context, store):
    with pytest.raises(StopError):
        run(localisation(photos), context=context, store=store, progress=stop_at("2 of"))
    told = []
    resumed = run(localisation(photos), context=context, store=store, progress=lambda _, text: told.append(text))
    assert told[1:] == ["3 of 3: q2.png"]
    assert resumed.to_json() == run(localisation(photos), context=context).to_json()


def test_photos_of_another_folder_have_a_file_of_their_own(photos, context, store, tmp_path):
    Image.fromarray(smooth_noise(160, 140, seed=60)).save(tmp_path / "q0.png")
    paths = {store.path(localisation(each).resolved(context), context) for each in (photos, tmp_path)}
    assert len(paths) == 2


def test_only_photos_that_the_index_holds_out_are_measured_unless_all_are_asked_for(alexnet, photos, tmp_path):
    kept, held_out = folder.hold_out(folder.photos(photos).photos, 1)
    index = indexes.build(
        kept, tmp_path / "it", extractor=alexnet, layers=("conv3",), held_out=[each.name for each in held_out]
    )
    context = Context(opened_networks={"alexnet": alexnet}, opened_indexes={"it": index})
    result = run(Localisation("it", photos=str(photos)), context=context)
    assert list(result.records) == [each.name for each in held_out]
    assert next(iter(result.records.values())).keys() == {"conv3"}
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    Image.fromarray(smooth_noise(160, 140, seed=70)).save(elsewhere / "other.png")
    with pytest.raises(ValueError, match="none of the photos that it holds out; add --every to measure them all"):
        run(Localisation("it", photos=str(elsewhere)), context=context)


def test_a_photo_that_cannot_be_read_is_told_of_and_left_out(photos, context, tmp_path):
    for path in photos.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes()[: 300 if path.name == "q1.png" else None])
    result = run(localisation(tmp_path), context=context)
    assert list(result.skipped) == ["q1.png"]
    assert result.summary["conv3"]["psnr_db"].samples == 2


def test_a_large_photo_is_not_rebuilt_from_its_indexed_self(alexnet, tmp_path):
    large = tmp_path / "large"
    large.mkdir()
    for n in range(2):
        Image.fromarray(smooth_noise(700, 560, seed=n)).save(large / f"{n}.png")
    index = indexes.build(folder.photos(large).photos, tmp_path / "it", extractor=alexnet, layers=("conv3",))
    context = Context(opened_networks={"alexnet": alexnet}, opened_indexes={"it": index})
    result = run(Localisation("it", photos=str(large), every=True, limit=1), context=context)
    assert result.records["0.png"]["conv3"]["psnr_db"] < 30


def test_the_agreement_radius_leaves_the_seeds_photo_out(small_index, context, store):
    result = run(AgreementRadius("small", layers=("conv3",), limit=4, k=10), context=context, store=store)
    radii = []
    for seed, record in result.records.items():
        rng = np.random.default_rng([0, int(seed)])
        chosen = rng.integers(0, small_index.n_patches("conv3"), size=1)
        assert record["conv3"]["id"] == chosen[0]
        image = small_index.photo(own := photo_of(small_index, chosen)[0])
        assert own in small_index.photos_like(image)
        averages = averaging.average(
            small_index.descriptors("conv3", chosen)[0], "conv3", index=small_index, ks=(10,), exclude=(own,)
        )
        assert own not in photo_of(small_index, averages.ids)
        profile = averaging.agreement(averages.ids, "conv3", index=small_index, rng=rng)
        assert record["conv3"]["agreement_at_rim"] == pytest.approx(profile.agreement[-1])
        radii.append(profile.agreement_radius_px)
    found = result.summary["conv3"]["agreement_radius_px"]
    known = np.array(radii)[~np.isnan(radii)]
    assert found.value == pytest.approx(np.median(known))
    assert found.samples == len(known)
    [read] = store.scan().results.values()
    np.testing.assert_equal(read.records, result.records)


def photo_of(index, ids):
    """The photos whose pictures these patches are from, by comparing pictures with photos."""
    pictures = index.locate("conv3", np.asarray(ids)).pictures
    return [int(index.photo_of[picture]) for picture in pictures]


@pytest.mark.parametrize(("limit", "counted"), [(1, 1), (3, 3)])
def test_a_limit_is_of_seeds(context, store, limit, counted):
    result = run(AgreementRadius("small", layers=("conv3",), limit=limit, k=5), context=context, store=store)
    assert (len(result.records), result.asked) == (counted, counted)
    [path] = store.scan().results
    assert f"limit {limit}" in path.name


def test_nothing_to_measure_is_said(context):
    with pytest.raises(ValueError, match="nothing to measure for radius; give at least one photo, object or seed"):
        run(AgreementRadius("small", limit=None), context=context)


def test_the_window_of_fields_without_a_size_is_asked_for(tmp_path, photos):
    """It tells results apart, and the numbers are those of an index with it."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3, stride=8, padding=1), nn.GroupNorm(1, 4))
    network = networks.from_module(module, layers=["1"], name="mixed", device="cpu")
    noise = [ArrayPhoto(f"noise {n}", smooth_noise(150, 140, n)) for n in range(3)]
    index = indexes.build(noise, tmp_path / "mixed", extractor=network)
    context = Context(opened_networks={"mixed": network}, opened_indexes={"mixed": index})
    found = {}
    for window in (7, 11):
        asked = Localisation("mixed", photos=str(photos), every=True, window=window)
        [record] = [run(asked, context=context).records["q0.png"]]
        image, own = folder.photos(photos).photos[0].load(), index.with_window(window)
        retrieval = reconstruction.retrieve(image, "1", extractor=network, index=own, k=1)
        expected = retrieval.localise(image, own, rng=np.random.default_rng([0, *b"q0.png"]))
        found[window] = record["1"]["matches"], record["1"]["score"]
        assert found[window] == (len(expected.offsets), expected.score)
    assert found[7][0] > found[11][0] > 0
    radii = [run(AgreementRadius("mixed", k=5, limit=2, window=window), context=context) for window in (7, 11)]
    assert radii[0].records["0"]["1"]["agreement_at_rim"] != radii[1].records["0"]["1"]["agreement_at_rim"]
    assert radii[0].experiment.file_name(context) != radii[1].experiment.file_name(context)
    with pytest.raises(ValueError, match="a window must be at least 6 strides wide; got 5"):
        AgreementRadius("mixed", window=5).resolved(context)


def test_a_window_that_no_layer_has_a_use_for_asks_for_nothing_new(context):
    usual, other = (AgreementRadius("small", window=window).resolved(context) for window in (11, 7))
    assert usual == other


def test_results_from_before_there_was_a_window_are_those_of_the_usual_one(context, tmp_path):
    store = ResultStore(tmp_path)
    asked = AgreementRadius("small", layers=("conv3",), limit=1, k=5)
    run(asked, context=context, store=store)
    path = store.path(asked.resolved(context), context)
    header, *rest = path.read_text().splitlines(keepends=True)
    content = json.loads(header)
    del content["settings"]["window"]
    path.write_text(json.dumps(content) + "\n" + "".join(rest))
    assert len(store.load(asked.resolved(context), context).records) == 1
