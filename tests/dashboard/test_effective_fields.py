"""The Receptive fields page's section on effective fields."""

import csv
import io

import numpy as np
import pytest
from PIL import Image

from corrcore import networks, patch_index
from corrcore.geometry import ReceptiveField
from corrcore.tasks.effective_field import EffectiveField
from dashboard import figures
from dashboard.services import caches
from tests.conftest import ArrayPhoto, smooth_noise

from .conftest import parameters, settled

LAYERS = ["conv3", "conv4", "conv5"]


def table(at):
    return at.dataframe[0].value


def test_layers_are_measured_by_themselves_and_pictured(open_page, offered):
    at = open_page("receptive_fields", radius_section="Effective")
    settled(at.run())
    assert list(table(at)["layer"]) == LAYERS
    assert list(table(at)["theoretical field"]) == ["99 px", "131 px", "163 px"]
    radii = [float(text.removesuffix(" px")) for text in table(at)["effective radius"]]
    even = [float(text.removesuffix(" px")) for text in table(at)["if the window were even"]]
    assert radii == sorted(radii)
    assert all(10 < one < 0.8 * other for one, other in zip(radii, even, strict=True))
    assert len(at.get("image")) == 9 + 3
    assert sum(text.value.startswith("half within ") for text in at.caption) == 3
    rows = list(csv.DictReader(io.StringIO(offered["effective-fields.csv"]().decode())))
    arrays = np.load(io.BytesIO(offered["effective-fields.npz"]()))
    for layer, row, radius in zip(LAYERS, rows, radii, strict=True):
        assert row["layer"] == layer
        assert round(float(row["effective_radius_px"])) == radius
        assert arrays[f"{layer}_map"].sum() == pytest.approx(1)
        assert arrays[f"{layer}_map"].shape == (int(row["theoretical_px"]),) * 2
    assert Image.open(io.BytesIO(offered["effective-fields.png"]())).size[0] > 3 * 99
    space = {}
    exec(offered["python"], space)
    np.testing.assert_allclose(space["found"].map, arrays["conv3_map"], rtol=1e-4, atol=1e-9)


@pytest.fixture
def five(cache_folder):
    """The name of an index of five small photos."""
    photos = [ArrayPhoto(f"{number}.png", smooth_noise(140, 130, number)) for number in range(5)]
    network = networks.open("alexnet", device="cpu")
    patch_index.build(photos, patch_index.path_of("five"), extractor=network, layers=("conv3",))
    yield "five"
    caches.delete_index("five")


def test_more_photos_wait_for_a_button_and_a_command_and_the_section_can_be_left(open_page, five, monkeypatch):
    monkeypatch.setenv("CORRCORE_JOB_PROCESSES", "1")
    at = open_page("receptive_fields", index=five, radius_section="Effective", n_photos="16")
    [measure] = [button for button in at.button if button.label == "Measure over 5 photos"]
    settled(measure.click().run())
    assert parameters(at)["photos"].startswith("5 of five")
    at.segmented_control(key="radius_section").set_value("Agreement")
    settled(at.run())
    assert "at the rim" in table(at).columns


def test_a_map_is_framed_and_ringed_where_the_window_and_the_radius_are():
    across = np.arange(61) - 30
    along = np.exp(-(across**2) / (2 * 6.0**2))
    values = along[:, None] * along
    field = EffectiveField("it", values / values.sum(), ReceptiveField(41, 8, 20.0), 0.0, 1, 1, {})
    picture = figures.field_picture(field, limit=figures.field_limit([field]), scale=3)
    assert picture.shape == (183, 183, 3)
    row = picture[91].astype(int)
    white = np.flatnonzero((row == 255).all(axis=1))
    middle = 91
    assert {middle - 61, middle + 61} <= set(white.tolist())  # half of 41 pixels of 3
    ring = white[(white > middle) & (white < middle + 50)]
    assert ring.mean() == pytest.approx(middle + 3 * field.radius_px, abs=2)
    levels = picture[30 * 3 + 1, middle], picture[2, 2]
    assert levels[0].sum() > levels[1].sum()
    whole = EffectiveField("it", values / values.sum(), ReceptiveField(None, 8, 3.5), 0.0, 1, 1, {})
    assert not (figures.field_picture(whole, limit=1.0)[91, :40] == 255).all(axis=1).any()


def test_positional_shares_are_measured_by_themselves_when_their_section_is_opened(open_page, offered):
    at = open_page("receptive_fields", radius_section="Position")
    settled(at.run())
    assert list(table(at)["layer"]) == LAYERS
    shares = [float(text.removesuffix(" %")) for text in table(at)["positional share"]]
    assert all(0 <= share < 10 for share in shares)
    captions = [text.value for text in at.caption if text.value.startswith("positional share ")]
    assert captions == [f"positional share {share:.1f} %" for share in shares]
    arrays = np.load(io.BytesIO(offered["position.npz"]()))
    for layer, share in zip(LAYERS, shares, strict=True):
        assert 100 * arrays[f"{layer}_positional_share"].mean() == pytest.approx(share, abs=0.06)
    space = {}
    exec(offered["python"], space)
    assert 100 * space["found"]["conv5"].share == pytest.approx(shares[2], abs=0.06)
