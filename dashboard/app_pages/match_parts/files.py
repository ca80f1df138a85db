"""What the Match page gives to take along: a table, arrays, a figure, and Python."""

from collections.abc import Mapping, Sequence

import numpy as np

from corrcore import images
from corrcore.features import Feature
from corrcore.geometry import PixelBox
from corrcore.tasks import match_records
from dashboard import figures
from dashboard.app_pages.match_parts.controls import Choice
from dashboard.app_pages.match_parts.fields import Fields
from dashboard.app_pages.match_parts.maps import BEST, Found, limits_of, map_picture, square
from dashboard.app_pages.match_parts.own_points import OwnPoints
from dashboard.app_pages.match_parts.photo import SIDES, Photo, Side
from dashboard.parts import exports


def table_csv(source: Photo, target: Photo, choice: Choice, found: Mapping[Feature, Found]) -> bytes:
    """A row per feature, as `corrcore match` writes it, in pixels of the photos."""
    matches = {feature: each.matches for feature, each in found.items()}
    records = match_records.records_of(["1"], matches, choice.options.method, source=source.title, target=target.title)
    return match_records.to_csv(records).encode()


def arrays_npz(source: Photo, target: Photo, point: tuple[int, int], found: Mapping[Feature, Found]) -> bytes:
    """The similarity of every pixel of the target as it is shown, by feature, NaN where there is none; points and places
    in pixels of the photos, whose size is there, too.
    """
    matches = [each.matches for each in found.values()]
    return exports.as_npz(
        {
            "similarity": np.stack([each.similarity for each in found.values()]),
            "features": [str(feature) for feature in found],
            "source": source.title,
            "target": target.title,
            "target_size_wh": np.array(target.image.shape[1::-1]),
            "shown_size_wh": np.array(target.shown.shape[1::-1]),
            "point_xy": np.array(point, float),
            "places_xy": np.concatenate([one.places for one in matches]),
            "similarities": np.concatenate([one.similarities for one in matches]),
            "runners_up_xy": np.concatenate([one.runners_up for one in matches]),
            "margins": np.concatenate([one.margins for one in matches]),
            "cycle_errors_px": np.concatenate([one.cycle_errors for one in matches]),
            "mutual": np.concatenate([one.mutual for one in matches]),
            "confidences": np.concatenate([one.confidences for one in matches]),
        }
    )


def figure_png(
    source: Photo, target: Photo, point: tuple[int, int], choice: Choice, found: Mapping[Feature, Found]
) -> bytes:
    """The point in its photo, and the maps beside it."""
    low, high = limits_of(found)
    columns = [figures.Column(source.title, [marked(source, source.shown, point)])]
    for feature, each in found.items():
        picture = map_picture(target, each, (low, high), choice.opacity)
        columns.append(figures.Column(choice.title(feature), [marked(target, picture, each.place)]))
    return images.encode(figures.image_grid(columns, [f"cosine, {low:.2f} to {high:.2f}"]), format="PNG")


def marked(photo: Photo, picture: np.ndarray, place: tuple[float, float]) -> np.ndarray:
    """A picture of a photo with a square around a place."""
    left, top, right, bottom = (int(edge) for edge in square(photo, place, BEST).box)
    return figures.draw_boxes(picture, [(PixelBox(left, top, right, bottom), BEST)])


def python_lines(photos: Mapping[Side, Photo], of: Side, point: tuple[int, int], choice: Choice) -> str:
    """The call that the page made."""
    source, target = of, SIDES[1 - SIDES.index(of)]
    asked = f"[{(float(point[0]), float(point[1]))}], {_asked(choice, list(choice.features))}"
    return f"""from corrcore import show
{_loaded(photos)}

view = show.matches({source}, {target}, {asked})
for feature, found in view.matches.items():
    print(feature, found.places[0], found.margins[0], found.mutual[0], found.confidences[0])
"""


def python_of_points(photos: Mapping[Side, Photo], choice: Choice, shown: OwnPoints) -> str:
    """The call behind points of one's own."""
    points = {
        name: (round(x, 3), round(y, 3))
        for name, (x, y) in zip(shown.points.names, shown.points.places.tolist(), strict=True)
    }
    return f"""from corrcore import show
{_loaded(photos)}

view = show.matches(first, second, {points}, {_asked(choice, [shown.feature])})
[found] = view.matches.values()
for name, (x, y), similarity in zip(view.names, found.places, found.similarities):
    print(name, x, y, similarity)
"""


def python_of_pairs(photos: Mapping[Side, Photo], choice: Choice, shown: Fields) -> str:
    """The calls behind all points at once."""
    return f"""from corrcore import extractors, networks
from corrcore.tasks.all_points import mutual_matches, principal_colours
from corrcore.tasks.matching import MatchOptions, describe
{_loaded(photos)}

network, options = networks.open({choice.features[shown.feature].name!r}), {_options(choice)}
[feature] = extractors.parse([{str(shown.feature)!r}], network)
both = [describe(photo, [feature], network=network, options=options)[feature] for photo in (first, second)]
print(len(mutual_matches(*both).points), "pairs")
colours = principal_colours(*both, foreground={shown.foreground})
"""


def _options(choice: Choice) -> str:
    return f"MatchOptions({', '.join(f'{name}={value!r}' for name, value in _in_force(choice).items())})"


def _in_force(choice: Choice) -> dict[str, object]:
    options = choice.options
    taken_out = {"without_position": options.without_position} if options.without_position else {}
    return {"method": options.method, "refine": options.refine, **taken_out}


def _asked(choice: Choice, features: Sequence[Feature]) -> str:
    """What is asked for besides photos and points, as arguments of `show.matches`."""
    asked = {"features": [str(each) for each in features], "network": choice.features[features[0]].name}
    return ", ".join(f"{name}={value!r}" for name, value in {**asked, **_in_force(choice)}.items())


def _loaded(photos: Mapping[Side, Photo]) -> str:
    return "\n".join(dict.fromkeys("\n".join(each.python for each in photos.values()).splitlines()))
