"""The row at a page's end."""

import pytest
from streamlit.testing.v1 import AppTest

from .scripts import run


@pytest.mark.parametrize(
    ("url", "link"),
    [
        ("http://127.0.0.1:8501/fields", "http://127.0.0.1:8501/fields?k=7&tags=a&tags=b+c"),
        ("https://example.org", "https://example.org/?k=7&tags=a&tags=b+c"),
    ],
)
def test_export_row_links_to_the_view_with_every_bound_widget(url, link):
    def script() -> None:
        import streamlit as st

        from dashboard.parts.exports import export_row

        st.slider("Neighbours", 1, 20, 5, key="k", bind="query-params")
        st.multiselect("Tags", ["a", "b c"], key="tags", bind="query-params")
        export_row(downloads={}, python="import corrcore")

    at = AppTest.from_function(script, default_timeout=20)
    at.context = {"url": url}
    at.query_params["k"] = "7"
    at.query_params["tags"] = ["a", "b c"]
    at.run()
    assert not at.exception
    assert [code.value for code in at.code] == [link, "import corrcore"]


def test_export_row_offers_files_without_making_them():
    def script(made: list) -> None:
        from dashboard.parts.exports import export_row

        def make() -> bytes:
            made.append("a file")
            return b""

        export_row(downloads={"cat.png": make, "cat.npz": make}, python="")

    made: list[str] = []
    at = run(script, made)
    assert [button.label for button in at.download_button] == ["PNG", "NPZ"]
    assert made == []
