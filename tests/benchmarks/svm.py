"""Linear SVMs of all classes at once beside liblinear, through scikit-learn, in one run.

    python tests/benchmarks/svm.py [--samples 16000] [--features 2304] [--classes 12]

Samples are drawn: non-negative, of unit length, classes that overlap. Ours is the median of three fits;
objectives are computed anew, in double precision, from both solutions' weights.
"""

import argparse
import time
from statistics import median

import numpy as np
from sklearn.svm import LinearSVC

from corrcore.engines import svm

ROUNDS = 3


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=16_000)
    parser.add_argument("--features", type=int, default=2304)
    parser.add_argument("--classes", type=int, default=12)
    options = parser.parse_args()
    features, labels = drawn(options.samples, options.features, options.classes)
    svm.fit(features[:500], labels[:500])  # threads are there
    print(f"{options.samples} x {options.features}, {options.classes} classes")
    for cost in (1.0, 10.0):
        own = []
        for _ in range(ROUNDS):
            begun = time.perf_counter()
            found = svm.fit(features, labels, cost=cost)
            own.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        peer = LinearSVC(C=cost, tol=1e-4, max_iter=20_000).fit(features, labels)
        theirs = time.perf_counter() - begun
        ratio = objectives(features, labels, found.weights, found.bias, cost) / objectives(
            features, labels, peer.coef_, peer.intercept_, cost
        )
        agree = (found.predict(features) == peer.predict(features)).mean()
        print(
            f"cost {cost:g}: {median(own):.1f} s ({min(own):.1f} to {max(own):.1f}), liblinear {theirs:.1f} s, "
            f"{theirs / median(own):.1f}x; objective at most {ratio.max() - 1:+.1e} "
            f"of liblinear's, certain to {(found.gap / found.objective).max():.0e}; same predictions "
            f"{100 * agree:.2f} %"
        )


if __name__ == "__main__":
    main()
