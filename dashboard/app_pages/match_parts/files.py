"""What the Match page gives to take along: a table, arrays, a figure, and Python."""

from collections.abc import Mapping

import numpy as np

from corrcore import images
from corrcore.features import Feature
from corrcore.geometry import PixelBox
from dashboard import figures
from dashboard.app_pages.match_parts.controls import Choice
from dashboard.app_pages.match_parts.maps import BEST, Found, limits_of, map_picture, square
from dashboard.app_pages.match_parts.photos import SIDES, Photo, Side
from dashboard.parts import exports


def rows(choice: Choice, found: Mapping[Feature, Found]) -> list[dict[str, object]]:
    """A row per feature, in pixels of the photos; empty where there is no runner-up."""
    lines = []
    for feature, each in found.items():
        one = each.matches
        numbers = {
            "x": one.places[0, 0],
            "y": one.places[0, 1],
            "similarity": one.similarities[0],
            "runner_up_x": one.runners_up[0, 0],
            "runner_up_y": one.runners_up[0, 1],
            "margin": one.margins[0],
            "cycle_error_px": one.cycle_errors[0],
        }
        known = {name: round(float(value), 4) if np.isfinite(value) else "" for name, value in numbers.items()}
        lines.append({"feature": str(feature), **known, "mutual": bool(one.mutual[0]), "method": choice.options.method})
    return lines


def table_csv(
    source: Photo, target: Photo, point: tuple[int, int], choice: Choice, found: Mapping[Feature, Found]
) -> bytes:
    """The rows, with what they are of."""
    about = {"source": source.title, "target": target.title, "point_x": point[0], "point_y": point[1]}
    return exports.as_csv([about | row for row in rows(choice, found)])


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
    names = [str(feature) for feature in choice.features]
    options = f"MatchOptions(method={choice.options.method!r}, refine={choice.options.refine})"
    loaded = "\n".join(dict.fromkeys("\n".join(each.python for each in photos.values()).splitlines()))
    return f"""import numpy as np
from corrcore import extractors, networks
from corrcore.tasks.matching import MatchOptions, describe, match_points
{loaded}

network, options = networks.open({next(iter(choice.features.values())).name!r}), {options}
for feature in extractors.parse({names!r}, network):
    source, target = (describe(photo, [feature], network=network, options=options)[feature] for photo in ({source}, {target}))
    found = match_points(source, target, np.array([{[float(point[0]), float(point[1])]}]), options=options)
    print(feature, found.places[0], found.margins[0], found.mutual[0])
"""
