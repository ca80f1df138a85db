"""Draws the pictures anew: `python -m corrcore.datasets.drawn [FOLDER]`, by default where they come along."""

import sys
from pathlib import Path

from corrcore.datasets.drawn import FOLDER
from corrcore.datasets.drawn.draw import write

write(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
