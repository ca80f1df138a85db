"""Confidence: known probabilities found again, files read back, and what is refused."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from corrcore.datasets import toy
from corrcore.features import Feature
from corrcore.tasks import confidence, matching
from corrcore.tasks.confidence import Calibration, LearntFrom
from corrcore.tasks.matching import MatchOptions
from tests.conftest import smooth_noise

CONV4, SIFT20 = Feature("alexnet", "conv4"), Feature("sift", "20")
NN, MRF = MatchOptions(refine=True), MatchOptions("mrf")
LEARNT_FROM = LearntFrom("made up", "0", "train", ("cat", "cow"), 3, 4, 5, 0.5)


def made_up(n: int, seed: int = 0) -> np.ndarray:
    """Evidence of matches, column by column."""
    rng = np.random.default_rng(seed)
    similarity, cycle = rng.uniform(0.2, 0.95, n), rng.exponential(0.1, n)
    margin, marginal = rng.uniform(0, 0.3, n), rng.normal(0.5, 1, n)
    return np.stack([similarity, margin, cycle, rng.uniform(size=n) < 0.4, marginal], axis=-1)


def probability(found: np.ndarray, options: MatchOptions) -> np.ndarray:
    """Of being right, as the tests have it: a logistic function of bent evidence, written out."""
    similarity, margin, cycle, mutual, marginal = found.T
    score = 0.7 * np.arctanh(similarity) + 2.5 * np.sqrt(margin) - 0.4 * np.log(0.01 + cycle) + 0.8 * mutual - 3
    if options.method == "mrf":
        score = score + 0.9 * np.sign(marginal) * np.sqrt(np.abs(marginal))
    return 1 / (1 + np.exp(-score))


@pytest.fixture(scope="module")
def animals():
    """A few drawn ones."""
    return toy.load(n_train=1, n_val=1)


@pytest.fixture(scope="module")
def learnt(alexnet):
    def learn(options: MatchOptions = NN, feature: Feature = CONV4, n: int = 2000, seed: int = 0) -> Calibration:
        found = made_up(n, seed)
        right = np.random.default_rng(seed + 1).uniform(size=n) < probability(found, options)
        return confidence.fit(found, right, feature, network=alexnet, options=options, learnt_from=LEARNT_FROM)

    return learn


@pytest.mark.parametrize("options", [NN, MRF], ids=["nn", "mrf"])
def test_known_probabilities_are_found_again(learnt, options):
    found = made_up(5000, seed=7)
    calibration = learnt(options, n=60_000)
    assert np.abs(calibration.of_evidence(found) - probability(found, options)).max() < 0.03
    assert list(calibration.weights) == list(confidence.EVIDENCE[: 5 if options.method == "mrf" else 4])


@pytest.mark.parametrize("options", [NN, MRF], ids=["nn", "mrf"])
def test_what_speaks_for_a_match_never_speaks_against_it(alexnet, options):
    """Also where it did in what was learnt from: such a kind does not count, and the others are learnt without it."""
    found = made_up(8000)
    similarity, margin, cycle, mutual, _ = found.T
    score = 3 * np.sqrt(margin) - 2 * np.arctanh(similarity) - mutual + 0.3 * np.log(0.01 + cycle)
    right = np.random.default_rng(1).uniform(size=8000) < 1 / (1 + np.exp(-score))
    learnt = confidence.fit(found, right, CONV4, network=alexnet, options=options, learnt_from=LEARNT_FROM)
    assert (learnt.weights["similarity"], learnt.weights["cycle error"], learnt.weights["mutual"]) == (0, 0, 0)
    assert learnt.weights["margin"] > 1
    assert learnt.of_evidence(found).mean() == pytest.approx(right.mean(), abs=1e-3)  # as of any maximum likelihood


def test_a_free_optimum_is_that_of_scikit_learn(alexnet):
    """Where no weight is held at 0."""
    found = made_up(3000)
    right = np.random.default_rng(1).uniform(size=3000) < probability(found, NN)
    learnt = confidence.fit(found, right, CONV4, network=alexnet, options=NN, learnt_from=LEARNT_FROM)
    similarity, margin, cycle, mutual, _ = found.T
    columns = np.stack([np.arctanh(similarity), np.sqrt(margin), -np.log(0.01 + cycle), mutual], axis=-1)
    truth = make_pipeline(StandardScaler(), LogisticRegression(tol=1e-8)).fit(columns, right)
    np.testing.assert_allclose(learnt.of_evidence(found), truth.predict_proba(columns)[:, 1], atol=1e-4)


def test_what_is_missing_of_the_evidence_leaves_no_confidence(learnt):
    found = made_up(4)
    found[1, 1] = found[2, 4] = np.nan  # a margin; and what nn has none of
    assert np.isnan(learnt(NN).of_evidence(found)).tolist() == [False, True, False, False]
    assert np.isnan(learnt(MRF).of_evidence(found)).tolist() == [False, True, True, False]


def test_points_without_whole_evidence_are_not_learnt_from(alexnet, learnt):
    found = made_up(2000)
    right = np.random.default_rng(1).uniform(size=2000) < probability(found, NN)
    more = np.concatenate([found, np.full((50, 5), np.nan)])
    calibration = confidence.fit(
        more, np.append(right, np.ones(50, bool)), CONV4, network=alexnet, options=NN, learnt_from=LEARNT_FROM
    )
    assert calibration.weights == pytest.approx(learnt(NN).weights)


@pytest.mark.parametrize("right", [0, 1])
def test_nothing_is_learnt_from_right_matches_alone_or_wrong_ones(alexnet, right):
    with pytest.raises(ValueError, match=rf"from right and wrong matches; got {20 * right} right of 20"):
        confidence.fit(
            made_up(20), np.full(20, bool(right)), CONV4, network=alexnet, options=NN, learnt_from=LEARNT_FROM
        )


# --- Of matches ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [NN, MRF], ids=["nn", "mrf"])
def test_confidence_of_matches_is_that_of_their_evidence(alexnet, learnt, options):
    scene = smooth_noise(520, 460, seed=3)
    photos = scene[96:352, 96:416], scene[84:340, 130:450]
    source, target = (matching.describe(photo, [CONV4], network=alexnet, options=options)[CONV4] for photo in photos)
    points = np.array([[120.0, 100.0], [200.5, 90.0], [150.0, 140.25]])
    matches = matching.match_points(source, target, points, options=options)
    assert source.longer_side == pytest.approx(320)
    found = learnt(options).confidence(matches, options=options, longer_side=source.longer_side)
    rows = [
        [
            matches.similarities[n],
            matches.similarities[n] - matches.runner_up_similarities[n],
            np.hypot(*(matches.returned[n] - points[n])) / 320,
            matches.mutual[n],
            matches.min_marginal_margins[n],
        ]
        for n in range(3)
    ]
    np.testing.assert_allclose(found, learnt(options).of_evidence(np.array(rows, float)), atol=1e-6)
    assert ((found > 0) & (found < 1)).all()
    other = MatchOptions("nn", refine=options.method == "mrf")
    with pytest.raises(ValueError, match=r"confidence of alexnet:conv4 is of matches by method .*; got method nn, .*"):
        learnt(options).confidence(matches, options=other, longer_side=320.0)
    with pytest.raises(ValueError, match=r"learnt by versions \[0\] of the code"):
        replace(learnt(options), versions=(0,)).confidence(matches, options=options, longer_side=320.0)


# --- Which there are -------------------------------------------------------------------------------------------------


def test_json_gives_back_what_was_written(learnt, tmp_path):
    calibrations = [learnt(NN), learnt(MRF), learnt(NN, SIFT20)]
    confidence.keep(calibrations, tmp_path / "new" / "own.json")
    assert list(confidence.load(tmp_path / "new" / "own.json")) == calibrations
    assert Calibration.from_plain(json.loads(json.dumps(calibrations[1].to_plain()))) == calibrations[1]


def test_what_is_learnt_again_takes_the_place_of_what_was_there(learnt, tmp_path):
    path = tmp_path / "own.json"
    confidence.keep([learnt(NN), learnt(MRF)], path)
    again = learnt(replace(NN, longer_side=448, smoothness=1.0), seed=5)  # all that counts is the same
    confidence.keep([again], path)
    assert list(confidence.load(path)) == [learnt(MRF), again]


def test_what_threads_keep_at_once_is_all_there(learnt, tmp_path):
    path = tmp_path / "new" / "own.json"
    each = [replace(learnt(NN), stride_px=stride) for stride in range(1, 25)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda one: confidence.keep([one], path), each))
    assert sorted(one.stride_px for one in confidence.load(path)) == list(range(1, 25))


def test_what_was_learnt_without_the_place_is_of_the_code_that_says_what_that_is(alexnet, learnt):
    placeless = replace(NN, without_position=8)
    assert learnt(placeless).is_for(CONV4, network=alexnet, options=placeless)
    assert not learnt(placeless).is_for(CONV4, network=alexnet, options=NN)
    assert not replace(learnt(placeless), versions=learnt(NN).versions).is_for(
        CONV4, network=alexnet, options=placeless
    )


def test_only_what_was_learnt_of_the_same_is_known(alexnet, learnt, tmp_path):
    path = tmp_path / "own.json"
    confidence.keep([learnt(NN), replace(learnt(NN, SIFT20), versions=(0,))], path)

    def known(feature=CONV4, options=NN):
        return confidence.known(feature, network=alexnet, options=options, file=path)

    assert known() == learnt(NN)
    assert known(options=replace(NN, longer_side=448, position=1.0)) == learnt(NN)
    assert known(options=replace(NN, longer_side=300)) is None
    assert known(options=replace(MRF, iterations=3)) is None
    assert known(Feature("alexnet", "conv1")) is None
    for other in (replace(learnt(NN), digest="another"), replace(learnt(NN), stride_px=8)):
        assert not other.is_for(CONV4, network=alexnet, options=NN)


def test_a_damaged_file_is_named_and_passed_over(alexnet, tmp_path):
    path = tmp_path / "own.json"
    path.write_text('{"calibrations": [{"feature": "conv4"}]}')
    with pytest.raises(ValueError, match=r"own\.json holds no calibrations: .* Delete it"):
        confidence.load(path)
    with pytest.warns(RuntimeWarning, match=r"own\.json holds no calibrations"):
        assert confidence.known(Feature("alexnet", "conv1"), network=alexnet, options=NN, file=path) is None


@pytest.mark.parametrize("key", ["conv3", "conv4", "conv5", "sift20"])
@pytest.mark.parametrize("options", [NN, MatchOptions(), MRF], ids=["refined", "nn", "mrf"])
def test_confidences_of_the_usual_features_come_along(alexnet, key, options, tmp_path):
    """For places as the Match page and `corrcore match` ask for them; of alignments for the usual two."""
    feature = Feature.parse(key, network="alexnet")
    found = confidence.known(feature, network=alexnet, options=options, file=tmp_path / "none.json")
    assert (found is not None) == (options.method == "nn" or key in ("conv4", "sift20"))
    if found is not None:
        assert (found.learnt_from.split, found.learnt_from.categories) == ("train", ("cat", "cow", "horse"))


def more_of(kind: str, found: np.ndarray) -> np.ndarray:
    """Evidence that speaks more for matches, in one kind."""
    more, column = found.copy(), confidence.EVIDENCE.index(kind)
    more[:, column] = {
        "cycle error": found[:, column] / 2,
        "mutual": 1.0,
    }.get(kind, found[:, column] + 0.04)
    return more


@pytest.mark.parametrize("kind", confidence.EVIDENCE)
def test_confidences_that_come_along_never_fall_as_evidence_rises(kind):
    found = made_up(500, seed=2)
    calibrations = confidence.load(confidence.SHIPPED)
    assert len(calibrations) == 10
    for each in calibrations:
        assert (each.of_evidence(more_of(kind, found)) >= each.of_evidence(found)).all()


@pytest.mark.parametrize("key", ["conv3", "conv4", "conv5", "sift20"])
@pytest.mark.parametrize("options", [NN, MatchOptions(), MRF], ids=["refined", "nn", "mrf"])
def test_a_photo_in_itself_is_surer_than_another_animal(alexnet, animals, key, options, tmp_path):
    feature = Feature.parse(key, network="alexnet")
    if (known := confidence.known(feature, network=alexnet, options=options, file=tmp_path / "none.json")) is None:
        assert (options.method, key) in {("mrf", "conv3"), ("mrf", "conv5")}
        return
    photos = [animals.instances(kind, "val")[0].photo.load() for kind in ("toy cat", "toy cow")]
    own, other = (matching.describe(photo, [feature], network=alexnet, options=options)[feature] for photo in photos)
    height, width = photos[0].shape[:2]
    x, y = np.meshgrid(np.linspace(0.3, 0.7, 4) * width, np.linspace(0.3, 0.7, 4) * height)
    points = np.stack([x.ravel(), y.ravel()], axis=-1)
    itself, another = (
        known.confidence(
            matching.match_points(own, target, points, options=options), options=options, longer_side=own.longer_side
        )
        for target in (own, other)
    )
    assert itself.mean() > 1.2 * another.mean()
    assert (itself >= another).mean() > 0.8


def test_right_is_within_a_tenth_of_the_longer_side_as_spair_measures_it():
    """From the first pixel's centre to the last one's: 100 px of a box 101 px wide."""
    errors = np.array([9.9, 10.0, 10.05, np.nan])
    assert confidence.right_within(errors, (-0.5, 9.5, 100.5, 49.5)).tolist() == [True, True, False, False]
    assert confidence.side_px((3.5, 9.5, 4.5, 60.5)) == 50
    assert confidence.side_px((3.5, 9.5, 4.5, 10.5)) == 1


def test_ones_own_come_before_those_that_come_along(alexnet, learnt, tmp_path):
    confidence.keep([learnt(NN)], tmp_path / "own.json")
    assert confidence.known(CONV4, network=alexnet, options=NN, file=tmp_path / "own.json") == learnt(NN)
