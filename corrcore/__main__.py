"""`python -m corrcore`: the command line."""

import sys

from corrcore.cli import main

if __name__ == "__main__":
    sys.exit(main())
