"""Names as people read them: of features, keypoints, and a table's rows. Knows no streamlit."""

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
