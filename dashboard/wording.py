"""Words on pages: names as people read them, numbers with their nouns, text from outside. Knows no streamlit."""

import re

from corrcore import experiments
from corrcore.features import Feature


def feature_title(feature: str) -> str:
    """A feature of the network that is understood.

    >>> feature_title("conv4"), feature_title("sift20")
    ('conv4', 'SIFT, radius 20 px')
    """
    return Feature.parse(feature, network="").title


def keypoint_title(name: str) -> str:
    """A keypoint as annotators call it, without what a file needs.

    >>> keypoint_title("L_F_Paw")
    'L F Paw'
    """
    return name.replace("_", " ")


def row_title(row: str) -> str:
    """A row of a table.

    >>> [row_title(row) for row in ("conv4", "sift20", "conv5+prior", "NN")]
    ['conv4', 'SIFT, radius 20 px', 'conv5 + prior', 'NN, not aligned']
    """
    feature, added = feature_of(row)
    if not feature:
        return "NN, not aligned" if row == experiments.UNALIGNED else row
    return f"{feature_title(feature)} + {added[1:]}" if added else feature_title(feature)


def feature_of(row: str) -> tuple[str, str]:
    """A row's feature, empty where it has none, and what is added to it.

    >>> [feature_of(row) for row in ("conv5", "conv5+5 priors", "5 priors", "NN")]
    [('conv5', ''), ('conv5', '+5 priors'), ('', '5 priors'), ('', 'NN')]
    """
    if row == experiments.UNALIGNED or (row.endswith(("prior", "priors")) and "+" not in row):
        return "", row
    feature, plus, rest = row.partition("+")
    return feature, plus + rest


def escape_markdown(text: str) -> str:
    """Text from outside, such as a file's name, with nothing in it that Markdown or HTML would act on."""
    return re.sub(r"([\\`*_{}\[\]()<>#+!|$~:&])", r"\\\1", text)


def duration(seconds: float) -> str:
    """A time span as people say it.

    >>> [duration(seconds) for seconds in (0.2, 59.7, 61, 3600 + 125)]
    ['0 s', '1 min 0 s', '1 min 1 s', '1 h 2 min']
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def counted(n: int, noun: str) -> str:
    """A number with its noun.

    >>> counted(1, "photo"), counted(1204, "photo"), counted(2, "patch"), counted(2, "category")
    ('1 photo', '1,204 photos', '2 patches', '2 categories')
    """
    if n == 1:
        return f"1 {noun}"
    if noun.endswith("y"):
        return f"{n:,} {noun[:-1]}ies"
    return f"{n:,} {noun}{'es' if noun.endswith(('ch', 's', 'x')) else 's'}"
