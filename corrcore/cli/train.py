"""`corrcore train detectors|classifiers|confidence`: what Prediction, Responses and Match show, learnt ahead."""

import argparse
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from corrcore.cli.evaluate import add_field_options, open_named
from corrcore.cli.shared import add_executor_options, check_file, cluster_of, for_each, print_table, progress_of
from corrcore.concurrency import Progress
from corrcore.experiments import ClassifierTraining, ConfidenceTraining, Context, DetectorTraining, ResultStore, run
from corrcore.experiments.context import default_store, open_results
from corrcore.experiments.executors import executor_on
from corrcore.features import Feature
from corrcore.settings import prepared_path
from corrcore.store import Cache
from corrcore.tasks import confidence
from corrcore.tasks.classification import KeypointClassifier
from corrcore.workers import keeping_workers


def add_parsers(rooms: Any) -> None:
    """Adds the commands."""
    commands = rooms.add_parser("train", help="learn what pages show, ahead").add_subparsers(required=True)
    command = commands.add_parser("detectors", help="keypoint detectors of categories, and their prior (Table 4)")
    add_field_options(command, DetectorTraining)
    command.add_argument(
        "--out", type=prepared_path, default=None, help="folder of results (default: the one the app's pages read)"
    )
    add_executor_options(command, threads=False)
    command.set_defaults(run=_detectors)
    command = commands.add_parser(
        "classifiers", help="keypoint classifiers of categories, for response maps (Figure 5)"
    )
    add_field_options(command, ClassifierTraining)
    add_executor_options(command, threads=False)
    command.set_defaults(run=_classifiers)
    command = commands.add_parser(
        "confidence",
        help="how probable it is that a match is right, by features and one way of matching",
        description=(ConfidenceTraining.__doc__ or "").split("\n\n")[0].strip(),
    )
    add_field_options(command, ConfidenceTraining)
    command.add_argument(
        "--out", type=prepared_path, default=None, metavar="FILE", help="a .json file (default: one's own)"
    )
    add_executor_options(command)
    command.set_defaults(run=_confidence)


def _detectors(options: argparse.Namespace) -> None:
    given = {each.name: getattr(options, each.name) for each in fields(DetectorTraining)}
    context = Context(store=options.out or default_store())
    given["network"] = open_named(given["network"], options.weights, context)
    categories = given.pop("category") or context.dataset(given["dataset"]).categories
    trainings = {category: DetectorTraining(category=category, **given) for category in categories}
    missing = {category: training for category, training in trainings.items() if training.known(context) is None}

    def tell(category: str, _: None = None) -> None:
        training = trainings[category]
        if (found := training.known(context)) is None:
            msg = f"what workers have learnt of {category} is not in {context.store}; all machines need this folder."
            raise FileNotFoundError(msg)
        print(f"{category}, in {training.folder(context)}")
        print_table(
            [
                {
                    "feature": feature.title,
                    "keypoints": str(len(each.detectors.trained)),
                    "cost": f"{each.about['cost']:g}",
                }
                for feature, each in found[0].items()
            ]
        )

    for category in [each for each in trainings if each not in missing]:
        tell(category)
    for_each(options, context, _train_detectors, missing, tell)


def _train_detectors(context: Context, training: DetectorTraining, progress: Progress | None) -> None:
    """Trains and keeps them, in the folder of results."""
    training.train(context, progress=progress)


def _classifiers(options: argparse.Namespace) -> None:
    given = {each.name: getattr(options, each.name) for each in fields(ClassifierTraining)}
    context = Context()
    given["network"] = open_named(given["network"], options.weights, context)
    categories = given.pop("category") or context.dataset(given["dataset"]).categories
    trainings = {category: ClassifierTraining(category=category, **given) for category in categories}
    with open_results() as results:
        begun = {category: training.begin(context, results) for category, training in trainings.items()}
        missing = {
            category: replace(trainings[category], features=left)
            for category, (trained_on, features) in begun.items()
            if (left := tuple(feature for feature in features if trained_on.kept(feature) is None))
        }

        def then(category: str, found: Mapping[Feature, KeypointClassifier]) -> None:
            trained_on, features = begun[category]
            trained_on.keep(found)
            print(f"{category}: {', '.join(feature.title for feature in features)}, by {len(trained_on.train)} objects")

        for category in [each for each in begun if each not in missing]:
            then(category, {})
        for_each(options, (context, results), _train_classifiers, missing, then)


def _train_classifiers(
    opened: tuple[Context, Cache], training: ClassifierTraining, progress: Progress | None
) -> Mapping[Feature, KeypointClassifier]:
    """Trains them; they are kept by whoever asked."""
    trained_on, features = training.begin(*opened)
    return trained_on.fit(features, progress=progress)


def _confidence(options: argparse.Namespace) -> None:
    given = {each.name: getattr(options, each.name) for each in fields(ConfidenceTraining)}
    check_file("--out", options.out, (".json",))
    path, context = options.out or confidence.own_file(), Context()
    if path.exists():
        confidence.load(path)  # raises, before there is anything to write, for a file of something else
    given["network"] = open_named(given["network"], options.weights, context)
    training = ConfidenceTraining(**given).resolved(context)
    executor = executor_on(cluster_of(options), n_threads=options.workers or 1)
    with keeping_workers():
        result = run(training, context=context, store=ResultStore(), executor=executor, progress=progress_of(options))
    found = training.calibrations(result, context.network(training.network))
    confidence.keep(list(found.values()), path)
    rows = []
    for feature, each in found.items():
        about = each.learnt_from
        counts = {"pairs": str(about.pairs), "photos": str(about.photos), "points": str(about.points)}
        rows.append({"feature": str(feature), **counts, "right, %": f"{100 * about.right:.1f}"})
    print_table(rows)
    print(f"kept in {path}")
