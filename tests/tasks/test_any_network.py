"""Networks of every kind, with random weights, through every task on drawn animals: nothing is known of their names."""

import numpy as np
import pytest
import torch

from corrcore import extractors, images, networks, patch_index
from corrcore.datasets import drawn, toy
from corrcore.features import Extractor, Feature
from corrcore.networks import ModuleNetwork, ModuleSpec
from corrcore.tasks import alignment, averaging, classification, detection, reconstruction, responses
from corrcore.tasks.alignment import CropSpec, NeighbourPool
from corrcore.tasks.classification import CropProtocol
from corrcore.tasks.reconstruction import Retrieval

pytest.importorskip("timm", reason="networks of timm need timm")

OTHERS = [
    "torchvision:efficientnet_b0",  # sees the whole image by squeeze and excitation
    "timm:vit_tiny_patch16_224",  # takes one size alone, as it is
]
# What is larger than AlexNet and ViT-S, which are of the same kinds, goes through the tests of fields alone.
LARGER = {"vgg16", "timm:vit_base_patch14_dinov2.lvd142m", "timm:vit_base_patch16_clip_224.openai"}
NAMES = [name for name in (*networks.names(), *networks.aliases().values(), *OTHERS) if name not in LARGER]
CAT = "toy cat"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=NAMES)
def network(request) -> Extractor:
    spec = networks.spec(request.param)
    assert isinstance(spec, ModuleSpec)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = spec.build().train()
        for norm in module.modules():
            if isinstance(norm, torch.nn.BatchNorm2d):
                norm.momentum = 1.0  # of trained networks, values neither vanish nor explode
        with torch.no_grad():
            module(torch.rand(2, 3, 224, 224) - 0.5)
        return ModuleNetwork(spec, dict(module.state_dict()), device="cpu")


@pytest.fixture(scope="module")
def data():
    return toy.load(n_train=5, n_val=1)


def test_a_photo_is_rebuilt_from_an_index_of_it_and_cells_average(network, tmp_path):
    photos = list(drawn.to_search().values())[:2]
    index = patch_index.build(photos, tmp_path / "few", extractor=network, longer_side=240)
    image, layer = images.resize(photos[0].load(), longer_side=240), network.roles.transfer
    grid = network.extract(image, [layer])[layer]
    nearest = index.search(layer, grid.flat(), 1)
    found = Retrieval(layer, grid.cells, np.asarray(nearest.ids), np.asarray(nearest.similarities))
    part = grid.cells.covered
    rebuilt = reconstruction.rebuild(found, index, k=1)[part.top : part.bottom, part.left : part.right]
    own = image[part.top : part.bottom, part.left : part.right]
    assert (rebuilt == own).mean() > 0.9  # patches are found where they lie, but for those that look alike
    study = averaging.study(grid.flat()[len(grid.cells) // 2], layer, index=index, ks=(5,), profile_k=5)
    assert np.isfinite(study.agreement.agreement[:2]).all()


def test_objects_are_aligned_and_their_keypoints_carried(network, data):
    feature = Feature(network.name, network.roles.transfer)
    train = data.visible_instances(CAT, "train")
    crop = CropSpec(n_cells=6)

    def describe(one):
        return alignment.describe_object(one, [feature], network=network, crop=crop)

    pool = NeighbourPool.of(train, describe)
    [instance] = data.visible_instances(CAT, "val")
    found = alignment.transfer_to_object(instance, describe(instance), pool, {feature: 0.1})
    assert np.isfinite(found.transfers[feature].keypoints[instance.visible]).all()


def test_keypoints_are_told_apart_and_their_responses_mapped(network, data):
    feature = Feature(network.name, network.roles.classification[-1])
    names, protocol = data.keypoint_names[CAT], CropProtocol(longer_side_px=160)
    train = data.visible_instances(CAT, "train")[:3]
    classifiers = classification.train_classifiers(
        train, [feature], names, network=network, protocol=protocol, cost=1.0
    )
    image, _ = classification.view(train[0], protocol)
    size = image.shape[1], image.shape[0]
    valid = extractors.valid_region(feature, size, network=network)
    region = replace_box(valid, side=3)
    found = responses.response_map(image, classifiers[feature], network=network, region=region)
    chain = hasattr(network, "_steps") and network._steps(feature.layer)
    assert (found.step, found.method) == (1, "one pass" if chain else "shifted images")
    middle = np.array([[region.left + 1, region.top + 1]], float)
    exact = extractors.sample_at(image, middle, [feature], network=network, exact=True)[feature]
    scaled = classification.scaled(exact.float().numpy(), protocol)
    np.testing.assert_allclose(found.scores[1, 1], classifiers[feature].linear.scores(scaled)[0], atol=1e-4)


def replace_box(valid, *, side):
    """A small square in the middle."""
    left, top = (valid.left + valid.right) // 2, (valid.top + valid.bottom) // 2
    return type(valid)(left, top, left + side, top + side)


def test_keypoints_are_predicted_in_a_box(network, data):
    feature = Feature(network.name, network.roles.detection)
    names = data.keypoint_names[CAT]
    train = data.visible_instances(CAT, "train")
    training = detection.describe_training_set(train, names, [feature], network=network)
    spec = detection.DetectorSpec.of(feature, network=network)
    detectors = detection.HardNegativeMiner(training, spec).fit(cost=0.1, most_rounds=1)
    fusion = detection.PriorFusion(1, detection.SIGMA_PX, 0.05)
    trained = {feature: detection.TrainedDetectors(detectors, {1: fusion}, {})}
    [instance] = data.visible_instances(CAT, "val")
    photo = instance.photo.load()
    found = detection.predict_object(photo, instance.box, trained, training.prior, network=network)
    assert np.isfinite(found.keypoints(feature)[list(detectors.trained)]).all()
    assert detectors.trained
