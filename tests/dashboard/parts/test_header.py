"""The page's frame."""

from .scripts import run


def test_header_says_what_is_shown_and_what_to_look_for():
    def script() -> None:
        from dashboard.parts.header import header

        header("A photo rebuilt from other photos.", "Look at the eyes.")

    at = run(script)
    assert at.title[0].value == "A photo rebuilt from other photos."
    assert at.markdown[0].value == "Look at the eyes."


def test_how_computed_is_folded_and_lists_the_parameters_in_force():
    def script() -> None:
        from dashboard.parts.header import how_computed

        how_computed("By cosine similarity.", {"layer": "conv4", "neighbours": 5})

    [expander] = run(script).expander
    assert expander.label == "How this is computed"
    assert not expander.proto.expanded
    assert expander.markdown[0].value == "By cosine similarity."
    assert expander.table[0].value.to_numpy().tolist() == [["layer", "conv4"], ["neighbours", "5"]]
