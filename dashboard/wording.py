"""Words on pages: time spans, text from outside. Knows no streamlit, and little else."""

import re


def escape_markdown(text: str) -> str:
    """Text from outside, such as a file's name, with nothing in it that Markdown or HTML would act on."""
    return re.sub(r"([\\`*_{}\[\]()<>#+!|$~:&])", r"\\\1", text)


def with_commands(text: str) -> str:
    r"""Text from outside in which commands, between backticks, stay code.

    >>> with_commands("no b#d here; run `get b#d`")
    'no b\\#d here; run `get b#d`'
    """
    parts = text.split("`")
    if len(parts) % 2 == 0:  # no commands: a name has one of these
        return escape_markdown(text)
    return "`".join(part if number % 2 else escape_markdown(part) for number, part in enumerate(parts))


def sentence(error: Exception | str) -> str:
    """What an error says, fit to show. It begins as a sentence does, unless with a name.

    >>> sentence("the weights are not here"), sentence("a.jpg is empty")
    ('The weights are not here', 'a.jpg is empty')
    """
    words = r"^(the|there|an|a(?= )|no|this|these)\b"
    return with_commands(re.sub(words, lambda word: word[0].capitalize(), str(error)))


def rough_duration(seconds: float) -> str:
    """An estimate of a time span, without digits that nobody knows.

    >>> [rough_duration(seconds) for seconds in (3, 47, 100, 413, 5000, 12_000)]
    ['10 s', '50 s', '2 min', '7 min', '1.5 h', '3.5 h']
    """
    if seconds < 90:
        return f"{max(round(seconds, -1), 10):.0f} s"
    if seconds < 4500:
        return f"{seconds / 60:.0f} min"
    hours = round(seconds / 1800) / 2
    return f"{hours:g} h"


def duration(seconds: float) -> str:
    """A time span as people say it.

    >>> [duration(seconds) for seconds in (0.2, 59.7, 61, 3600 + 125, 86_400 * 3 + 7200)]
    ['0 s', '1 min 0 s', '1 min 1 s', '1 h 2 min', '3 d 2 h']
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
