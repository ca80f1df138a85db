"""What AppTest lacks: clicks on a picture."""

import json
from collections.abc import Callable

import pytest
from streamlit.proto.WidgetStates_pb2 import WidgetState
from streamlit.testing.v1 import AppTest


@pytest.fixture
def click() -> Callable[..., AppTest]:
    """``click(at, key, x, y)`` clicks a pixel of the `image_click` with a key, and runs the script as `AppTest.run`."""
    numbers = iter(range(1, 1000))

    def click(at: AppTest, key: str, x: int, y: int) -> AppTest:
        return send(at, key, [{"x": x, "y": y, "id": next(numbers)}])

    return click


def send(at: AppTest, key: str, payload: object) -> AppTest:
    """What a browser sends for a click, right or wrong; a browser's JavaScript is all that AppTest leaves out."""
    [element] = [element for element in at.get("bidi_component") if element.proto.id.endswith(f"-{key}")]
    trigger = WidgetState(id=f"$$STREAMLIT_INTERNAL_KEY_{element.proto.id}__events")
    trigger.json_trigger_value = json.dumps([{"event": "click", "value": payload}])
    states = at._tree.get_widget_states()
    states.widgets.append(trigger)
    return at._run(states)
