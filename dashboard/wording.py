"""Words on pages: time spans, text from outside. Knows no streamlit, and little else."""

import re


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
