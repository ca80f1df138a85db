"""The app with few animals drawn, so that what pages compute of them takes seconds."""

import functools
import runpy
from pathlib import Path

from corrcore.datasets import toy

if not isinstance(toy.load, functools.partial):
    toy.load = functools.partial(toy.load, n_train=10, n_val=2)
runpy.run_path(str(Path(__file__).parents[2] / "dashboard" / "Home.py"))
