"""Linear SVMs of all classes at once beside liblinear, through scikit-learn, in one run.

Samples are drawn: non-negative, of unit length, classes that overlap. Objectives are computed anew, in double
precision, from both solutions' weights. Options: samples, features, classes.
"""

from collections.abc import Iterator

import numpy as np
from sklearn.svm import LinearSVC

from corrcore.engines import svm
from tests.benchmarks.measure import Bar, Row, Run, Work

BARS = {1.0: 4.0, 10.0: 3.5}
PASSES = 20  # through the samples, that any solver of these problems takes at least: for the floor


def drawn(n: int, d: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, n)
    centres = 0.08 * rng.normal(size=(classes, d)).astype(np.float32)
    features = np.maximum(0.6 * rng.normal(size=(n, d)).astype(np.float32) + centres[labels], 0)
    return features / np.linalg.norm(features, axis=1, keepdims=True), labels


def objectives(
    features: np.ndarray, labels: np.ndarray, weights: np.ndarray, bias: np.ndarray, cost: float
) -> np.ndarray:
    values = []
    for number, (w, b) in enumerate(zip(weights.astype(float), bias.astype(float), strict=True)):
        slack = np.maximum(0, 1 - np.where(labels == number, 1, -1) * (features @ w + b))
        values.append((w @ w + b * b) / 2 + cost * (slack**2).sum())
    return np.array(values)


def rows(run: Run) -> Iterator[Row]:
    n, d = run.option("samples", 6_000 if run.quick else 16_000), run.option("features", 1152 if run.quick else 2304)
    classes = run.option("classes", 12)
    features, labels = drawn(n, d, classes)
    svm.fit(features[:500], labels[:500], device=run.device)  # threads are there
    work = Work(4 * n * d * PASSES, 2 * n * d * classes * PASSES)
    for cost, bar in BARS.items():
        calls = {
            "ours": lambda cost=cost: svm.fit(features, labels, cost=cost, device=run.device),
            "liblinear": lambda cost=cost: LinearSVC(C=cost, tol=1e-4, max_iter=20_000).fit(features, labels),
        }
        times, got = run.timed(calls, 3, at_most=20 if run.quick else 90, warm=False)
        own, peer = got["ours"], got["liblinear"]
        excess = (
            objectives(features, labels, own.weights, own.bias, cost)
            / objectives(features, labels, peer.coef_, peer.intercept_, cost)
        ).max() - 1
        agree = (own.predict(features) == peer.predict(features)).mean()
        yield Row(
            f"SVM {n} x {d}, {classes} classes, C = {cost:g}",
            times["ours"], "liblinear", times["liblinear"], Bar.ratio(bar), work,
            right=bool(excess < 2e-4),
            note=f"objective at most {excess:+.1e} of liblinear's, certain to "
            f"{(own.gap / own.objective).max():.0e}; same predictions {100 * agree:.2f} %",
        )  # fmt: skip
