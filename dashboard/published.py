"""Numbers printed in Long, Zhang and Darrell (2014), to stand beside ours: Table 2, PCK at alpha 0.1 in percent, of
cat, cow and horse."""

_TRANSFER = {
    "conv4": {"cat": 19.6, "cow": 25.4, "horse": 25.9},
    "sift20": {"cat": 16.0, "cow": 25.0, "horse": 27.7},
    "NN": {"cat": 11.1, "cow": 16.8, "horse": 20.2},
}


TRANSFER_ROWS = tuple(_TRANSFER)


def transfer(row: str, category: str) -> str:
    """Empty for other rows and categories than these."""
    number = _TRANSFER.get(row, {}).get(category)
    return "" if number is None else f"{number:.1f}"
