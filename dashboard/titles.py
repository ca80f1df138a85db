"""Names of keypoints as people read them. Those of features and of tables' rows are `Feature.title` and `Row.title`."""


def keypoint_title(name: str) -> str:
    """A keypoint as annotators call it, without what a file needs.

    >>> keypoint_title("L_F_Paw")
    'L F Paw'
    """
    return name.replace("_", " ")
