import errno
import fcntl
import os
import signal

import pytest

from corrcore.store import LockedError, exclusive
from tests.store.results import in_child, wait_for


def hold(path, begun):
    def work():
        with exclusive(path):
            os.write(begun, b".")
            signal.pause()

    return in_child(work)


def test_lock_is_held_against_other_processes_and_freed_by_death(tmp_path):
    path = tmp_path / "lock"
    beginning, begun = os.pipe()
    pid = hold(path, begun)
    os.read(beginning, 1)
    with pytest.raises(LockedError, match="is held by another process"), exclusive(path, timeout=0.05):
        pass
    os.kill(pid, signal.SIGKILL)
    wait_for(pid)
    with exclusive(path):
        pass
    os.close(beginning)
    os.close(begun)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_file_system_without_locks_is_used_with_a_warning_unless_locks_are_required(tmp_path, monkeypatch, number):
    def fail(descriptor, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", fail)
    entered = []
    warns = pytest.warns(RuntimeWarning, match="has no locks; do not write there from two processes")
    with warns, exclusive(tmp_path / "lock"):
        entered.append(1)
    assert entered == [1]
    refuses = pytest.raises(OSError, match="has no locks; choose a folder on a local disk")
    with refuses, exclusive(tmp_path / "lock", required=True):
        entered.append(2)
    assert entered == [1]


def test_file_in_place_of_the_folder_is_an_error_of_the_system(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=str(tmp_path)), exclusive(tmp_path / "file" / "lock"):
        pass
