"""The checker that compares arguments with annotations, shapes included, while tests run."""

from typing import Any, Self

from beartype import BeartypeConf, beartype

_check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float, as for any type checker


def check(checked: Any) -> Any:
    """Methods that return `Self` are left as they are: by themselves they do not tell of which class. So are functions
    within functions, which would be compiled anew at each call.
    """
    if Self in getattr(checked, "__annotations__", {}).values() or "<locals>" in checked.__qualname__:
        return checked
    return _check(checked)
