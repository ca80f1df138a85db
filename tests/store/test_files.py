import errno
import os
import signal
import time

import pytest

from corrcore.store import DiskFullError, explain, write_atomically
from tests.store.results import in_child, wait_for


def test_text_and_bytes_are_written_in_place_of_what_was_there(tmp_path):
    path = tmp_path / ("long name" * 28)[:250]
    write_atomically(path, b"\0\xff")
    assert path.read_bytes() == b"\0\xff"
    write_atomically(path, "Würfel\n")
    assert path.read_bytes() == "Würfel\n".encode()
    assert list(tmp_path.iterdir()) == [path]


def test_readers_see_whole_files_while_a_writer_is_killed(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, bytes(100_000))

    def write():
        for step in range(10**6):
            write_atomically(path, bytes([step % 256]) * 100_000)

    pid = in_child(write)
    deadline = time.monotonic() + 0.3
    seen = set()
    while time.monotonic() < deadline:
        data = path.read_bytes()
        assert data == data[:1] * 100_000
        seen.add(data[0])
    os.kill(pid, signal.SIGKILL)
    assert wait_for(pid) == -signal.SIGKILL
    data = path.read_bytes()
    assert data == data[:1] * 100_000
    assert len(seen) > 3


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full is Linux's")
def test_full_disk_is_named_by_its_own_words():
    with pytest.raises(OSError, match="No space left") as caught, open("/dev/full", "wb", buffering=0) as stream:
        stream.write(b"x")
    assert explain(caught.value) == "the disk is full; free some space or choose another place."


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("missing/file", "it does not exist; check the path."),
        ("file/inside", "a part of this path is a file, not a folder; choose another place."),
        (".", "it is a folder, not a file; choose another name."),
        ("x" * 300, "its name is too long; choose a shorter one."),
    ],
)
def test_errors_of_the_system_become_sentences_with_the_path(tmp_path, path, sentence):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="Errno") as caught:
        (tmp_path / path).open("w")
    assert explain(caught.value) == f"{tmp_path / path}: {sentence}"


def test_error_of_an_unknown_kind_keeps_the_systems_words_and_one_with_a_text_its_text():
    assert explain(OSError(errno.EIO, "Input/output error", "/x")) == "/x: Input/output error."
    assert explain(DiskFullError("/x cannot be written.")) == "/x cannot be written."
