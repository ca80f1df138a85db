"""Names as people read them. Those of features and of tables' rows are `Feature.title` and `Row.title`."""

from corrcore import networks
from dashboard.wording import escape_markdown


def keypoint_title(name: str) -> str:
    """A keypoint as annotators call it, without what a file needs.

    >>> keypoint_title("L_F_Paw")
    'L F Paw'
    """
    return name.replace("_", " ")


def network_title(name: str) -> str:
    """A network as it is called in print, fit for Markdown."""
    return escape_markdown(networks.title(name))
