"""Numbers with their nouns and units, as people say them."""


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


def size_text(n_bytes: float) -> str:
    """A size in units of a thousand, to two digits at least where there are any.

    >>> size_text(0), size_text(1234), size_text(113_671_343), size_text(3.9e9), size_text(999_600)
    ('0 bytes', '1.2 kB', '114 MB', '3.9 GB', '1 MB')
    """
    units = ("bytes", "kB", "MB", "GB", "TB")
    power = next((n for n in range(4) if n_bytes < 999.5 * 1000**n), 4)
    value = n_bytes / 1000**power
    number = f"{value:.0f}" if value >= 9.95 else f"{value:.1f}".removesuffix(".0")
    return f"{number} {units[power]}"
