"""`python -m corrcore`, and the `corrcore` command: the command line."""

import os
import signal
import sys


def main() -> int:
    """Runs one command. An interruption ends it with a sentence, while modules are being imported too."""
    waits = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if waits:
        signal.signal(signal.SIGINT, _leave)
    from corrcore import cli

    def ready() -> None:
        if waits:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    return cli.main(ready=ready)


def _leave(*_: object) -> None:
    """Ends at once: nothing is open yet, and an exception would be swallowed or shown by what is being imported."""
    os.write(2, b"\nstopped; nothing had begun.\n")
    os._exit(130)


if __name__ == "__main__":
    sys.exit(main())
