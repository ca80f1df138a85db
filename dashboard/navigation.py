"""The app's pages, each declared once: the menu, Home's cards, README's table and the browser tests go by them."""

from dataclasses import dataclass
from pathlib import Path

from dashboard import first_views

PICTURES = Path(__file__).with_name("pictures")


@dataclass(frozen=True)
class Picture:
    """A real result on Home: a file of `PICTURES`, and what it is."""

    file: str
    caption: str


@dataclass(frozen=True)
class Card:
    """What Home says of a page.

    Where a click in the first picture leads to the page, which looks at that pixel, `answers` is the one marked before.
    """

    heading: str
    text: str
    link: str
    pictures: tuple[Picture, ...] = ()
    answers: tuple[int, int] | None = None


@dataclass(frozen=True)
class PageSpec:
    """A page.

    `path` is its address and names its file in `app_pages`, unless it has a `script` elsewhere; `help` is one sentence
    or two for the menu. A page `for_operators` is in nobody else's menu, and tells others so.
    """

    path: str
    title: str
    icon: str
    help: str
    card: Card | None = None
    script: Path | None = None
    for_operators: bool = False
    visitors_card: Card | None = None  # in the card's place, for whoever may not do what that says

    @property
    def file(self) -> str:
        """The script that Streamlit runs."""
        return str(self.script or Path(__file__).with_name("app_pages") / f"{self.path}.py")


PAGES = (
    PageSpec(
        "home",
        "Home",
        ":material/home:",
        "What this app shows, with a real result of every page.",
    ),
    PageSpec(
        "match",
        "Match",
        ":material/ads_click:",
        "Click a point of a photo: where does each network think it is in another one?",
        Card(
            "Click a point: where does each network think it is?",
            "The eye of one cat, looked for in the picture of another: by AlexNet's layers, which were only ever "
            "trained to name images, and by SIFT, which was made for matching. Brighter is more similar; the square is "
            "the most similar place.",
            "Click a point of your own",
            (
                Picture("point.jpg", "a point: click another"),
                Picture("match_conv4.jpg", "looked for by conv4"),
                Picture("match_conv5.jpg", "by conv5"),
                Picture("match_sift20.jpg", "by SIFT, radius 20 px"),
            ),
            answers=first_views.POINT,
        ),
    ),
    PageSpec(
        "reconstruction",
        "Reconstruction",
        ":material/grid_view:",
        "A photo rebuilt from other photos' patches, layer by layer. Click a patch to see its neighbours.",
        Card(
            "Rebuild a photo from other photos' patches",
            "Every patch is replaced by the one that its nearest neighbour in feature space has, here among 60 drawn "
            "animals: eyes "
            "are rebuilt from other eyes, in place, although every descriptor sees a hundred pixels and more.",
            "Start here: rebuild a photo",
            (
                Picture("photo.jpg", "input"),
                Picture("rebuilt_conv3.jpg", "conv3"),
                Picture("rebuilt_conv4.jpg", "conv4"),
                Picture("rebuilt_conv5.jpg", "conv5"),
            ),
        ),
    ),
    PageSpec(
        "receptive_fields",
        "Receptive fields",
        ":material/center_focus_strong:",
        "What one descriptor responds to: the average of its nearest neighbours' receptive fields.",
        Card(
            "See what one descriptor responds to",
            "The average of its nearest neighbours' receptive fields, here of five: a head in the middle, surroundings "
            "that blur. Similar descriptors mean the same thing at the centre of what they see.",
            "Average receptive fields",
            (
                Picture("seed.jpg", "the seed's receptive field, 163 px"),
                Picture("average_conv3.png", "average by conv3, 99 px"),
                Picture("average_conv4.png", "average by conv4, 131 px"),
                Picture("average_conv5.png", "average by conv5, 163 px"),
            ),
        ),
    ),
    PageSpec(
        "alignment",
        "Alignment",
        ":material/compare_arrows:",
        "Two objects of a kind brought into line, and keypoints that travel with them.",
        Card(
            "Bend one animal into another's shape",
            "Matched by conv4's descriptors, held together by a smooth displacement, keypoints travel along. These "
            "animals are "
            "drawn, so that everybody may have them; data sets of photos are offered where there are any.",
            "Align animals, or two photos of yours",
            (
                Picture("target.jpg", "the target"),
                Picture("source.jpg", "its neighbour"),
                Picture("warped.jpg", "the neighbour, warped by conv4"),
                Picture("warped_sift20.jpg", "warped by SIFT, radius 20 px"),
            ),
        ),
    ),
    PageSpec(
        "classification",
        "Classification",
        ":material/label:",
        "Which layer tells keypoints apart, by the descriptor there alone.",
        Card(
            "Find the layer that tells keypoints apart",
            "Given only the descriptor at a keypoint, a linear classifier says which keypoint it is: layers learnt "
            "from nothing "
            "but the names of images, against SIFT at every size.",
            "Which layer tells keypoints apart?",
        ),
    ),
    PageSpec(
        "responses",
        "Responses",
        ":material/my_location:",
        "What a keypoint's classifier says of every pixel, and where it is highest.",
        Card(
            "Ask a classifier about every pixel",
            "A linear classifier has learnt to tell an animal's keypoints apart from one descriptor each. Asked about "
            "every pixel of another animal, the layers' score highest at its front paws, SIFT's in the sky.",
            "Read its score at any pixel",
            (
                Picture("object.jpg", "where is the left front paw?"),
                Picture("response_conv3.jpg", "by conv3"),
                Picture("response_conv5.jpg", "by conv5"),
                Picture("response_sift20.jpg", "by SIFT, radius 20 px"),
            ),
        ),
    ),
    PageSpec(
        "prediction",
        "Prediction",
        ":material/person_pin_circle:",
        "Where in its box an object has its keypoints: detectors, a prior, and their product.",
        Card(
            "Find keypoints in a box",
            "A detector of every keypoint scores every place in an object's box, and the most similar object seen "
            "before says "
            "where to expect it. Filled dots are right, rings are wrong, with a line to the truth.",
            "Predict keypoints",
            (
                Picture("annotated.jpg", "the truth"),
                Picture("predicted_sift16.jpg", "by SIFT and a prior"),
                Picture("predicted_conv5.jpg", "by conv5 and a prior"),
                Picture("product.jpg", "left front paw: conv5's detector times the prior"),
            ),
        ),
    ),
    PageSpec(
        "results",
        "Results",
        ":material/leaderboard:",
        "The paper's tables, computed on this machine, beside the published numbers.",
        Card(
            "Hold the numbers against the published ones",
            "The paper's tables, from what was computed on this machine: intervals, differences, and whether one row "
            "is better "
            "than another by more than chance.",
            "Compare the tables",
        ),
    ),
    PageSpec(
        "data",
        "Data",
        ":material/database:",
        "What is on this machine: indexes, data sets and results. Build an index of your own photos.",
        Card(
            "Search your own photos",
            "The first pictures here are made of drawn animals. Point the app at a folder of some thousand photos "
            "and it makes an index of a million patches.",
            "Build an index",
        ),
        visitors_card=Card(
            "See what is searched",
            "Indexes of photos, data sets with keypoints, and what was computed with them on this server.",
            "Look at what there is",
        ),
    ),
    PageSpec(
        "status",
        "Status",
        ":material/monitor_heart:",
        "How the server is doing: work, memory, disk and errors. For whoever looks after it.",
        Card(
            "Look after the server",
            "What runs and waits, what is in memory and on disk, and what went wrong last. Visitors of a server that "
            "is shared do not see this page.",
            "See how the server is doing",
        ),
        for_operators=True,
    ),
)
_pages: dict[str, PageSpec] = {spec.path: spec for spec in PAGES}


def register(spec: PageSpec) -> None:
    """Adds a page to the menu and to Home. Raises ValueError for a path that is taken."""
    if spec.path in _pages:
        msg = f"a page's path must be new; {spec.path!r} is registered already."
        raise ValueError(msg)
    _pages[spec.path] = spec


def unregister(path: str) -> None:
    """Removes a page that was registered."""
    del _pages[path]


def pages(*, for_operators: bool = True) -> tuple[PageSpec, ...]:
    """All pages, Home first; or those that are not for operators alone."""
    return tuple(spec for spec in _pages.values() if for_operators or not spec.for_operators)
