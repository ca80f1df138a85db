"""Small scripts that show a part."""

from streamlit.testing.v1 import AppTest


def run(script, *args: object) -> AppTest:
    """A script's run; it stands alone: names of its module are unknown in it."""
    at = AppTest.from_function(script, args=args, default_timeout=20).run()
    assert not at.exception
    return at
