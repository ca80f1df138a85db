"""Who looks after the server."""

from corrcore.settings import Settings


def may_operate() -> bool:
    """Whether whoever looks at the page may see the server's state, and clear and cancel."""
    return not Settings.from_environment().read_only
