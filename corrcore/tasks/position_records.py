"""How much of a match is place, as rows for people and records for programs: what the command and the app tell."""

from collections.abc import Mapping
from typing import Any

from corrcore.features import Feature
from corrcore.tasks.position import N_COMPONENTS, Position


def position_row(layer: str, found: Position) -> dict[str, str]:
    """A layer's numbers with their units, under the layer's name."""
    moved = {
        copy: f"{100 * each.content:.0f} / {100 * each.place:.0f} %, {each.error_px:.0f} px" if each.n else ""
        for copy, each in found.moved.items()
    }
    there = len(found.in_subspace)
    return {
        "layer": layer,
        "positional share": f"{100 * found.share:.1f} %",
        **{f"{copy}: content / place, error": text for copy, text in moved.items()},
        "found again (by chance)": f"{100 * found.again:.0f} ({100 * found.again_by_chance:.1f}) %",
        "positional directions": f"{100 * found.in_subspace.sum():.0f} % in {there}"
        + (" or more" if there == N_COMPONENTS else ""),
    }


def position_record(feature: Feature, found: Position) -> Mapping[str, Any]:
    """A layer's numbers for programs; what no cell says is null."""
    return {
        "feature": str(feature),
        "size": list(found.size),
        "photos": found.n_photos,
        "positional_share": found.share,
        "moved": {
            copy: {
                "content": each.content if each.n else None,
                "place": each.place if each.n else None,
                "error_px": each.error_px if each.n else None,
                "cells": each.n,
            }
            for copy, each in found.moved.items()
        },
        "found_again": found.again,
        "found_again_by_chance": found.again_by_chance,
        "in_positional_directions": found.in_subspace.tolist(),
    }
