"""What workers of a cluster do in tests: in a module that imports little, as they begin with that."""

import os
import signal
import time


def make(progress):
    progress(0.5, "making")
    time.sleep(1.5)
    return os.getpid()


def be(progress):
    return os.getpid()


def square(pid, item):
    time.sleep(0.05)
    assert pid == os.getpid()
    return pid, item * item


def square_with_threads(pid, item):
    return int(os.environ["OMP_NUM_THREADS"]), item * item


def fail_at_three(pid, item):
    if item == 3:
        msg = "three is too many."
        raise ValueError(msg)
    return item


def end(pid, item):
    os.kill(pid, signal.SIGKILL)


def go_on(pid, path):
    path.with_suffix(".part").write_text(str(pid))
    path.with_suffix(".part").rename(path)
    time.sleep(600)
