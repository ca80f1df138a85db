"""`corrcore train detectors|classifiers`: what the pages Prediction and Responses show, learnt ahead."""

import argparse
from dataclasses import fields
from typing import Any

from corrcore.cli.evaluate import add_field_options, open_named
from corrcore.cli.shared import print_table, progress_of
from corrcore.experiments import ClassifierTraining, Context, DetectorTraining
from corrcore.experiments.context import default_store, open_results
from corrcore.settings import prepared_path


def add_parsers(rooms: Any) -> None:
    """Adds the commands."""
    commands = rooms.add_parser("train", help="learn what pages show, ahead").add_subparsers(required=True)
    command = commands.add_parser("detectors", help="keypoint detectors of categories, and their prior (Table 4)")
    add_field_options(command, DetectorTraining)
    command.add_argument(
        "--out", type=prepared_path, default=None, help="folder of results (default: the one the app's pages read)"
    )
    command.set_defaults(run=_detectors)
    command = commands.add_parser(
        "classifiers", help="keypoint classifiers of categories, for response maps (Figure 5)"
    )
    add_field_options(command, ClassifierTraining)
    command.set_defaults(run=_classifiers)


def _detectors(options: argparse.Namespace) -> None:
    given = {each.name: getattr(options, each.name) for each in fields(DetectorTraining)}
    context = Context(store=options.out or default_store())
    given["network"] = open_named(given["network"], options.weights, context)
    for category in given.pop("category") or context.dataset(given["dataset"]).categories:
        training = DetectorTraining(category=category, **given)
        detectors, _ = training.train(context, progress=progress_of(options))
        print(f"{category}, in {training.folder(context)}")
        print_table(
            [
                {
                    "feature": feature.title,
                    "keypoints": str(len(each.detectors.trained)),
                    "cost": f"{each.about['cost']:g}",
                }
                for feature, each in detectors.items()
            ]
        )


def _classifiers(options: argparse.Namespace) -> None:
    given = {each.name: getattr(options, each.name) for each in fields(ClassifierTraining)}
    context = Context()
    given["network"] = open_named(given["network"], options.weights, context)
    with open_results() as results:
        for category in given.pop("category") or context.dataset(given["dataset"]).categories:
            trained_on, features = ClassifierTraining(category=category, **given).begin(context, results)
            trained_on.train_missing(features, progress=progress_of(options))
            print(f"{category}: {', '.join(feature.title for feature in features)}, by {len(trained_on.train)} objects")
