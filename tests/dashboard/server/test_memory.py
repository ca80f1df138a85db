"""glibc's arenas, counted in processes of their own."""

import platform
import subprocess
import sys

import pytest

from dashboard.server import memory

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="arenas are glibc's")

CODE = """
import ctypes, sys, threading, time
from dashboard.server import memory
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.fopen.restype = ctypes.c_void_p, ctypes.c_void_p
libc.malloc_info.argtypes, libc.fclose.argtypes = (ctypes.c_int, ctypes.c_void_p), (ctypes.c_void_p,)
libc.free.argtypes = (ctypes.c_void_p,)
"""
THREADS = """
met = threading.Barrier(12)
def work():
    for _ in range(200):
        met.wait()
        libc.free(libc.malloc(5000))
threads = [threading.Thread(target=work) for _ in range(12)]
[each.start() for each in threads]; [each.join() for each in threads]
file = libc.fopen(sys.argv[1].encode(), b"w"); libc.malloc_info(0, file); libc.fclose(file)
"""
FREE = """
import psutil
memory.keep_giving_back(every_s=0.2)
pieces = [libc.malloc(50_000) for _ in range(4_000)]
[ctypes.memset(piece, 1, 50_000) for piece in pieces]
last = libc.malloc(50_000)
[libc.free(piece) for piece in pieces]  # the last lies above them, so they would stay
time.sleep(1)
print(psutil.Process().memory_info().rss)
"""


def arenas(tmp_path, first: str) -> int:
    told = tmp_path / "arenas.xml"
    subprocess.run([sys.executable, "-c", CODE + first + THREADS, str(told)], check=True)
    return told.read_text().count("<heap nr=")


def test_threads_share_few_arenas(tmp_path):
    assert arenas(tmp_path, "memory.bound_allocator()") <= memory.ARENAS
    assert arenas(tmp_path, "") > memory.ARENAS


def test_what_is_free_is_given_back():
    told = subprocess.run([sys.executable, "-c", CODE + FREE], check=True, capture_output=True, text=True).stdout
    assert int(told) < 150e6


APART = """
import gc, weakref
class Thing: pass
kept = Thing()
memory.set_apart()
print(len(gc.get_objects()) < 1000 < gc.get_freeze_count())
new = Thing(); new.itself = new; watched = weakref.ref(new); del new
gc.collect()
print(watched() is None, kept is not None)
"""


def test_what_is_set_apart_stays_and_new_garbage_is_found():
    told = subprocess.run([sys.executable, "-c", CODE + APART], check=True, capture_output=True, text=True).stdout
    assert told.split() == ["True"] * 3


LARGE = """
import psutil
memory.bound_allocator()
libc.free(libc.malloc(30_000_000))  # after which pieces up to this size would be an arena's
pieces = [libc.malloc(memory.LARGE) for _ in range(40)]
[ctypes.memset(piece, 1, memory.LARGE) for piece in pieces]
last = libc.malloc(50_000)
[libc.free(piece) for piece in pieces]
print(psutil.Process().memory_info().rss)
"""


def test_what_is_large_goes_back_at_once():
    told = subprocess.run([sys.executable, "-c", CODE + LARGE], check=True, capture_output=True, text=True).stdout
    assert int(told) < 150e6
