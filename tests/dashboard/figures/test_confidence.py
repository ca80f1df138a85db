"""Charts of a confidence: what is drawn is what was measured."""

import numpy as np

from corrcore import metrics
from corrcore.features import Feature
from dashboard import figures
from dashboard.figures import RowStyle

STYLES = {"conv4": RowStyle("#112233", "dash"), "sift20": RowStyle("#445566")}
LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5")


def test_points_are_bins_with_their_intervals():
    rng = np.random.default_rng(0)
    confidences = rng.uniform(size=300)
    right = rng.uniform(size=300) < confidences
    bins = metrics.reliability(confidences, right, metrics.bootstrap_counts(300, 100, rng), np.arange(300))
    dotted, line = figures.reliability_diagram({"conv4": bins}, styles=STYLES).data
    assert (list(dotted.x), list(dotted.y), dotted.line.dash) == ([0, 100], [0, 100], "dot")
    assert (line.name, line.line.color, line.line.dash) == ("conv4", "#112233", "dash")
    np.testing.assert_allclose(line.x, bins.confidences)
    np.testing.assert_allclose(line.y, [each.value for each in bins.right])
    np.testing.assert_allclose(line.y + line.error_y.array, [each.high for each in bins.right])
    np.testing.assert_allclose(line.y - line.error_y.arrayminus, [each.low for each in bins.right])


def test_axes_end_where_all_confidences_do():
    rng = np.random.default_rng(0)
    confidences = rng.uniform(0, 0.2, 3000)
    right = rng.uniform(size=3000) < confidences
    bins = metrics.reliability(confidences, right, metrics.bootstrap_counts(3000, 100, rng), np.arange(3000))
    figure = figures.reliability_diagram({"conv4": bins}, styles=STYLES)
    assert list(figure.data[0].x) == [0, 30]  # 23 % of the last bin are right at most
    assert figure.layout.xaxis.range == figure.layout.yaxis.range


def test_long_curves_are_thinned_and_keep_their_ends():
    x, y = np.linspace(0, 100, 5000), np.linspace(30, 60, 5000)
    [line] = figures.risk_curves({"sift20": (x, y)}, styles=STYLES).data
    assert len(line.x) == 200
    assert (line.x[0], line.y[0], line.x[-1], line.y[-1]) == (0, 30, 100, 60)
    np.testing.assert_allclose(line.y, 30 + 0.3 * np.array(line.x))
    _, short = figures.roc_curves({"sift20": (x[:7], y[:7])}, styles=STYLES).data
    np.testing.assert_array_equal(short.x, x[:7])


def test_where_there_is_no_curve_nothing_is_drawn():
    nothing = np.empty(0), np.empty(0)
    assert len(figures.roc_curves({"conv4": nothing}, styles=STYLES).data[1].x) == 0


def test_layers_of_like_colours_have_other_dashes():
    features = [*(Feature("alexnet", layer) for layer in LAYERS[2:]), Feature("sift", "20"), Feature("sift", "40")]
    styles = figures.feature_lines(features, LAYERS)
    assert [each.dash for each in styles.values()] == ["solid", "dash", "dot", "solid", "dash"]
    assert styles["conv4"].colour == figures.feature_colour(features[1], LAYERS)
