"""Makes the pictures on Home and README's screenshot anew: `python -m dashboard.pictures [FOLDER]`.

They are what the pages show with their defaults. The screenshot needs Playwright and Chromium, and is left as it is
without them. All of it takes some minutes.
"""

import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np

from corrcore import datasets, images, networks, patch_index
from corrcore.datasets import drawn
from corrcore.datasets.records import Instance
from corrcore.experiments import Context, DetectorTraining, Responses
from corrcore.features import SIFT, Extractor, Feature
from corrcore.tasks import alignment, averaging, classification, detection, reconstruction, responses
from corrcore.tasks.matching import MatchOptions
from dashboard import figures, first_views
from dashboard.app_pages.match_parts import controls, files, maps, photos
from dashboard.navigation import PICTURES

CATEGORY = "toy cat"
MARGIN = 1.0  # score at which the colours of responses are full, as on the page
BEYOND = 200  # grey level of what lies beyond a picture
SEED_SIDE = 163  # of the picture around the seed: conv5's receptive field


def save(folder: Path, name: str, picture: np.ndarray) -> None:
    """Keeps a picture in the format its name says."""
    lossless = name.endswith(".png")
    (folder / name).write_bytes(images.encode(picture, format="PNG" if lossless else "JPEG"))


def rebuild(folder: Path, network: Extractor) -> None:
    """The Reconstruction page's first photo."""
    index, image = patch_index.samples(network), drawn.unseen()[first_views.REBUILT].load()
    found = {
        layer: reconstruction.retrieve(image, layer, extractor=network, index=index, k=5) for layer in index.layers
    }
    boxes = [each.cells.covered for each in found.values()]
    covered = type(boxes[0])(
        max(box.left for box in boxes),
        max(box.top for box in boxes),
        min(box.right for box in boxes),
        min(box.bottom for box in boxes),
    )
    save(folder, "photo.jpg", figures.crop(image, covered))
    for layer, each in found.items():
        save(folder, f"rebuilt_{layer}.jpg", figures.crop(reconstruction.rebuild(each, index, k=1), covered))


def match(folder: Path, network: Extractor) -> None:
    """The Match page's first point, and where its features find it."""
    first, second = (drawn.unseen()[name] for name in first_views.MATCHED)
    source, target = (photos.Photo(each.load(), each.title, "", "", each.eye) for each in (first, second))
    if (point := source.start) is None:
        msg = f"{first.name} has no eye noted, which is what Home looks for."
        raise ValueError(msg)
    features = controls.usual_features({network.name: network})
    choice = controls.Choice(dict.fromkeys(features, network), MatchOptions(refine=True), 0.6)
    found, _ = maps.find(source, target, point, choice)
    save(folder, "point.jpg", source.shown)  # Home marks the point
    for feature, each in found.items():
        picture = maps.map_picture(target, each, maps.limits_of(found), choice.opacity)
        save(folder, f"match_{feature.key}.jpg", files.marked(target, picture, each.place))


def average(folder: Path, network: Extractor) -> None:
    """The Receptive fields page's first seed, and the averages of its five nearest neighbours."""
    index, animal = patch_index.samples(network), drawn.unseen()[first_views.AVERAGED]
    image = animal.load()
    x, y = animal.eye or (image.shape[1] // 2, image.shape[0] // 2)
    corner = np.array([[x - SEED_SIDE // 2, y - SEED_SIDE // 2]])
    [seed], [inside] = images.extract_patches(image, corner, height=SEED_SIDE, width=SEED_SIDE)
    save(folder, "seed.jpg", np.where(inside[..., None], seed, np.uint8(BEYOND)))
    for layer, grid in network.extract(image, index.layers).items():
        seed = grid.descriptors[grid.cells.nearest(x, y)]
        [each] = averaging.average(seed, layer, index=index, ks=(5,)).averages
        save(folder, f"average_{layer}.png", averaging.expand_contrast(each.mean, each.count))


def align(folder: Path, network: Extractor, context: Context) -> None:
    """An animal's nearest neighbour, warped onto it."""
    data, features = context.dataset(datasets.TOY), (Feature(network.name, network.roles.transfer), Feature(SIFT, "20"))
    target = data.visible_instances(CATEGORY, "val")[0]

    def describe(instance: Instance) -> alignment.DescribedCrop:
        return alignment.describe_object(instance, features, network=network)

    pool = alignment.NeighbourPool.of(data.visible_instances(CATEGORY, "train"), describe)
    found = alignment.transfer_to_object(target, describe(target), pool, dict.fromkeys(features, 0.1))
    neighbour, *_ = found.transfers[features[0]].neighbours
    same = next(one for one in found.transfers[features[1]].neighbours if one.instance is neighbour.instance)
    save(folder, "target.jpg", found.target.image)
    save(folder, "source.jpg", neighbour.crop.image)
    save(folder, "warped.jpg", alignment.warp(neighbour.crop, found.target, neighbour.alignment)[0])
    save(folder, "warped_sift20.jpg", alignment.warp(same.crop, found.target, same.alignment)[0])


def respond(folder: Path, network: Extractor, context: Context) -> None:
    """Where the first keypoint's classifiers score high."""
    features = (Feature(network.name, "conv3"), Feature(network.name, "conv5"), Feature(SIFT, "20"))
    experiment = Responses(
        datasets.TOY, CATEGORY, network.name, features, keypoints=(first_views.KEYPOINT,), protocol="small"
    ).resolved(context)
    state = experiment.prepare(context)
    image, _ = classification.view(
        context.dataset(datasets.TOY).visible_instances(CATEGORY, "val")[0], experiment.crop_protocol
    )
    save(folder, "object.jpg", image)
    scores: dict[Feature, np.ndarray] = {}
    for feature, classifier in state.classifiers.items():
        found = responses.response_map(image, classifier, network=network)
        whole = np.full(image.shape[:2], np.nan)
        rows, columns = slice(found.region.top, found.region.bottom), slice(found.region.left, found.region.right)
        whole[rows, columns] = found.scores[..., classifier.names.index(first_views.KEYPOINT)]
        scores[feature] = whole
    for feature, each in scores.items():
        save(folder, f"response_{feature.key}.jpg", figures.score_overlay(image, each, limit=MARGIN))


def predict(folder: Path, network: Extractor, context: Context) -> None:
    """Keypoints in a box, by detectors and a prior, beside the truth."""
    data = context.dataset(datasets.TOY)
    target = data.visible_instances(CATEGORY, "val")[0]
    trained, prior = DetectorTraining(datasets.TOY, CATEGORY, network.name).train(context)
    found = detection.predict_object(target.photo.load(), target.box, trained, prior, network=network)
    half = images.resize(found.image, longer_side=230)
    scale = 230 / detection.SIDE_PX
    truth = (found.transform.to_crop(target.keypoints) + 0.5) * scale - 0.5
    save(folder, "annotated.jpg", figures.draw_keypoints(half, truth))
    for feature, each in trained.items():
        points = (found.stretched_keypoints(feature, each.fusions[first_views.PRIORS]) + 0.5) * scale - 0.5
        radii = (0.1 * 230, 0.1 * 230)
        save(
            folder,
            f"predicted_{feature.key}.jpg",
            figures.draw_keypoints(half, points, truth=truth, radii_px=radii),
        )
    feature = Feature(network.name, network.roles.detection)
    number = list(data.keypoint_names[CATEGORY]).index(first_views.KEYPOINT)
    fusion = trained[feature].fusions[first_views.PRIORS]
    centres, places = found.cells[feature].centres(), found.places[: fusion.neighbours]
    prior_map = detection.log_prior(centres, places, sigma_px=fusion.sigma_px)
    product = np.exp(detection.combined(found.scores[feature], prior_map, eta=fusion.eta)[..., number])
    levels = figures.of_cells(product, found.cells[feature], (460, 460))
    large = images.resize(found.image, longer_side=460)
    save(folder, "product.jpg", figures.level_overlay(large, levels / np.nanmax(levels)))


def screenshot(file: Path) -> None:
    """The Reconstruction page as a browser shows it."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        sys.stderr.write("Playwright is not installed; README's screenshot stays as it is.\n")
        return
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    home = str(Path(__file__).parents[1] / "Home.py")
    options = [f"--server.port={port}", "--server.address=127.0.0.1", "--server.headless=true"]
    server = subprocess.Popen([sys.executable, "-m", "streamlit", "run", home, *options])  # noqa: S603 - ours
    try:
        wait_for(f"http://127.0.0.1:{port}/_stcore/health")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1280, "height": 1490}, color_scheme="light")
            page.goto(f"http://127.0.0.1:{port}/reconstruction")
            page.get_by_text("How this is computed").wait_for(timeout=120_000)
            page.wait_for_timeout(3000)
            page.screenshot(path=str(file), type="jpeg", quality=85)
            browser.close()
    finally:
        server.terminate()
        server.wait(20)


def wait_for(url: str) -> None:
    """Returns once a server answers."""
    for _ in range(600):
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - our own server
                return
        except OSError:
            time.sleep(0.1)


def main(folder: Path) -> None:
    """Makes all pictures in a folder, and the screenshot beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    network = networks.open()
    context = Context(opened_networks={network.name: network})
    match(folder, network)
    rebuild(folder, network)
    average(folder, network)
    align(folder, network, context)
    respond(folder, network, context)
    predict(folder, network, context)
    screenshot(folder.parent / "screenshot.jpg")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURES)
