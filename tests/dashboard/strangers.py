"""What a stranger's browser may send, and a witness of what a process opens because of it."""

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

from streamlit.proto.Common_pb2 import FileURLs
from streamlit.proto.WidgetStates_pb2 import WidgetState, WidgetStates

from dashboard import links

CANARY = "corrcore_canary"
HUGE = 2**62
OF_CACHES = ("streamlit.", "numpy", "_codecs", "builtins", "collections")  # what Streamlit's caches in memory hold


def forged_values(folder: Path) -> tuple[str, ...]:
    """Texts that would do harm where they were opened, imported or fetched; the canaries lie in `folder`."""
    return (
        f"{folder}/{CANARY}.pth",
        f"../../../../../../../..{folder}/{CANARY}",
        f"{CANARY}:build",
        f"{CANARY}.inner:build",
        "os:getcwd",
        f"timm:hf-hub:stranger/{CANARY}",
        f"timm:local-dir:{folder}/{CANARY}",
        f"hf-hub:stranger/{CANARY}",
        f"torchvision:../{CANARY}",
        f"samples-../../{CANARY}",
        f"file://{folder}/{CANARY}.pth",
        f"http://127.0.0.1:9/{CANARY}",
        "alexnet@0",
        "alexnet@-7",
        "alexnet@999999999999999999",
        "@",
        "..",
        "\0",
        "%00%2e%2e%2f",
        "<img src=x onerror=alert(1)>",
        "[x](javascript:alert(1)) $x$ :material/home:",
        "{0.__class__}",
        "x" * 5000,
        "nan",
        "inf",
        "-1",
        "1e999",
        "9" * 400,
        "１２",
        "upload:" + "0" * 32,
        f"indexed:../{CANARY}",
        "sample:../../x",
        "1,2,3",
        "99999,99999",
        "",
    )


def plant(folder: Path) -> None:
    """Files that tell when they are opened or run: a module, a pickle, and an index of that name."""
    (folder / f"{CANARY}.py").write_text(f"raise SystemExit({CANARY!r})\n")
    (folder / f"{CANARY}.pth").write_bytes(b"cos\nsystem\n(S'touch /tmp/corrcore_canary_ran'\ntR.")
    (folder / CANARY).mkdir()
    (folder / CANARY / "manifest.json").write_text("{}")


class Witness:
    """Notes what the process opens, imports, connects to and unpickles, while it looks."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.looking = False
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple) -> None:
        if not self.looking:
            return
        if event in ("open", "import", "os.listdir", "os.scandir", "exec") and CANARY in str(arguments):
            self.seen.append(f"{event} {arguments}")
        elif event == "pickle.find_class":
            if not arguments[0].startswith(OF_CACHES):
                self.seen.append(f"{event} {arguments}")
        elif event in ("socket.connect", "socket.getaddrinfo", "os.system", "subprocess.Popen"):
            if event == "socket.connect" and getattr(arguments[0], "family", None) == socket.AF_UNIX:
                return
            self.seen.append(f"{event} {arguments}"[:300])

    @contextmanager
    def nothing_opened(self) -> Iterator[None]:
        self.seen.clear()
        self.looking = True
        try:
            yield
        finally:
            self.looking = False
        assert not self.seen, self.seen


def forged_queries(value: str) -> dict[str, dict[str, str]]:
    """A query a page that puts a value into everything that its links know, by the page's path."""
    return {
        route.path: {field.name: value for field in fields(route)} | {f"{prefix}x": value for prefix in route.prefixes}
        for route in links.ROUTES
        if route.path
    }


def forged_states(name: str, texts: tuple[str, ...]) -> list[WidgetState]:
    """States of all kinds for one widget, whatever it is; Streamlit refuses those of another kind than the widget's."""
    found = []
    for number in (float("nan"), float("inf"), -1.0, 1e300, 0.5):
        found += [WidgetState(id=name, double_value=number), _with_array(name, "double_array_value", [number, number])]
    for number in (-1, 0, HUGE, -HUGE):
        found += [WidgetState(id=name, int_value=number), _with_array(name, "int_array_value", [number, number])]
    for text in texts:
        found += [
            WidgetState(id=name, string_value=text),
            WidgetState(id=name, json_value=text),
            WidgetState(id=name, json_trigger_value=text),
            _with_array(name, "string_array_value", [text, text]),
        ]
    for json_text in ("null", "[]", "{}", '[{"event":"click","value":[{"x":1e99,"y":[],"id":null}]}]', "[" * 5000):
        found += [WidgetState(id=name, json_value=json_text), WidgetState(id=name, json_trigger_value=json_text)]
    upload = WidgetState(id=name)
    info = upload.file_uploader_state_value.uploaded_file_info.add()
    info.file_id, info.name, info.size = "of-somebody-else", "../../x", HUGE
    info.file_urls.CopyFrom(FileURLs(file_id="of-somebody-else", upload_url="http://127.0.0.1:9/", delete_url="/"))
    found += [
        WidgetState(id=name, bool_value=True),
        WidgetState(id=name, trigger_value=True),
        WidgetState(id=name, bytes_value=b"\x80\x04\x95"),
        WidgetState(id=name, arrow_value={}),
        upload,
    ]
    return found


def _with_array(name: str, field: str, values: list) -> WidgetState:
    state = WidgetState(id=name)
    getattr(state, field).data.extend(values)
    return state


def of_its_kind(state: WidgetState, text: str, number: float) -> WidgetState:
    """A widget's state with a text or a number in place of what it has."""
    kind = state.WhichOneof("value")
    forged = WidgetState(id=state.id)
    if kind in ("string_value", "json_value"):
        setattr(forged, kind, text)
    elif kind == "double_value":
        forged.double_value = number
    elif kind == "int_value":
        forged.int_value = int(number)
    elif kind in ("double_array_value", "int_array_value", "string_array_value"):
        array = getattr(forged, kind)
        of = {
            "double_array_value": [number],
            "int_array_value": [int(number)],
            "string_array_value": [text] * bool(text),
        }
        array.SetInParent()
        array.data.extend(of[kind])
    elif kind == "file_uploader_state_value":
        info = forged.file_uploader_state_value.uploaded_file_info.add()
        info.file_id, info.name, info.size = "of-somebody-else", text, HUGE
        info.file_urls.CopyFrom(FileURLs(file_id="of-somebody-else", upload_url="http://127.0.0.1:9/", delete_url="/"))
    else:
        forged.CopyFrom(state)
    return forged


def widget_ids(states: WidgetStates) -> list[str]:
    return [each.id for each in states.widgets]
