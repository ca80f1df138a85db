import hashlib
import subprocess
from pathlib import Path

import numpy as np
import pytest

from corrcore.store import file_digest, key, text_digest


def test_key_is_the_digest_it_always_was():
    """Were it to change, or differ between processes, every result kept before would be lost."""
    pixels = hashlib.sha256(bytes(range(6))).hexdigest()
    text = (
        '{"image": {"array": ["dtype(\'uint8\')", [2, 3], "'
        + pixels
        + '"]}, "k": 5, "options": {"mapping": {"scale": 0.5}}}'
    )
    made = key(options={"scale": 0.5}, k=5, image=np.arange(6, dtype=np.uint8).reshape(2, 3))
    assert made == hashlib.sha256(text.encode()).hexdigest()


def test_key_does_not_depend_on_order():
    assert key(a=1, b={"x": 1, "y": 2}) == key(b={"y": 2, "x": 1}, a=1)
    assert key(a=(1, (2, 3))) == key(a=[1, [2, 3]])
    assert key(a=np.arange(12).reshape(3, 4).T) == key(a=np.arange(12).reshape(3, 4).T.copy())


def test_key_tells_different_parts_apart():
    zeros = np.zeros(4, np.float32)
    parts = [None, False, 0, 0.0, "0", "", "None", b"", b"0", [], [0], [[0]], {}, {"0": 0}, {"0": None}, float("nan")]
    parts += [zeros, zeros.reshape(2, 2), zeros.astype(np.int32), zeros.astype(np.float64), zeros[:3], zeros + 1]
    parts += [zeros.tobytes(), np.float32(0), np.int64(0), np.array("0"), np.array(0, "M8[s]"), np.array(0, "M8[D]")]
    parts += [
        hashlib.sha256(b"0").hexdigest(),
        {"array": [0]},
        {"array": 0},
        {"bytes": "0"},
        {"mapping": {"0": 0}},
        [{"0": 0}],
        ["array", 0],
    ]
    assert len({key(part=part) for part in parts} | {key(other=0), key()}) == len(parts) + 2


@pytest.mark.parametrize(
    ("part", "named"),
    [
        (object(), "part must be"),
        ({1, 2}, "set"),
        (Path("a"), "Path"),
        (1j, "complex"),
        ([0, {"x": {2}}], r"part\[1\]\['x'\]"),
        ({1: 2}, "dict"),
        (np.array([object()]), "ndarray"),
        (lambda: 0, "function"),
    ],
)
def test_key_refuses_what_it_cannot_digest(part, named):
    with pytest.raises(TypeError, match=named):
        key(part=part)


def test_digests_are_those_of_sha256sum(tmp_path):
    path = tmp_path / "file"
    path.write_text("Würfel\n" * 100_000)
    told = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout.split()[0]
    assert file_digest(path) == text_digest(path.read_text()) == told
