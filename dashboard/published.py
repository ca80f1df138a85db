"""Numbers printed in Long, Zhang and Darrell (2014), to stand beside ours, of cat, cow and horse: Tables 2 and 4, PCK at
alpha 0.1, and Table 3, accuracy of keypoint classification, in percent."""

_TRANSFER = {
    "conv4": {"cat": 19.6, "cow": 25.4, "horse": 25.9},
    "sift20": {"cat": 16.0, "cow": 25.0, "horse": 27.7},
    "NN": {"cat": 11.1, "cow": 16.8, "horse": 20.2},
}


_CLASSIFICATION = {
    "sift10": {"cat": 37, "cow": 37, "horse": 39},
    "sift20": {"cat": 40, "cow": 43, "horse": 42},
    "sift40": {"cat": 37, "cow": 40, "horse": 42},
    "sift80": {"cat": 30, "cow": 36, "horse": 36},
    "sift160": {"cat": 25, "cow": 30, "horse": 32},
    "conv1": {"cat": 22, "cow": 17, "horse": 14},
    "conv2": {"cat": 44, "cow": 40, "horse": 40},
    "conv3": {"cat": 52, "cow": 45, "horse": 48},
    "conv4": {"cat": 55, "cow": 48, "horse": 51},
    "conv5": {"cat": 53, "cow": 45, "horse": 49},
}

_PREDICTION = {
    "sift16": {"cat": 12.6, "cow": 7.6, "horse": 18.3},
    "sift16+prior": {"cat": 22.1, "cow": 23.5, "horse": 32.2},
    "conv5": {"cat": 31.5, "cow": 30.5, "horse": 35.8},
    "conv5+prior": {"cat": 34.2, "cow": 41.1, "horse": 46.8},
}

TRANSFER_ROWS = tuple(_TRANSFER)


def transfer(row: str, category: str) -> str:
    """Empty for other rows and categories than these."""
    number = _TRANSFER.get(row, {}).get(category)
    return "" if number is None else f"{number:.1f}"


def classification(row: str, category: str) -> int | None:
    """None for other rows and categories than these."""
    return _CLASSIFICATION.get(row, {}).get(category)


def prediction(row: str, category: str) -> float | None:
    """None for other rows and categories than these."""
    return _PREDICTION.get(row, {}).get(category)
