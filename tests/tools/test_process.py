"""Memory that goes back when it is freed."""

import os
import platform
import subprocess
import sys

import pytest

from tools.process import RETURNING
from tools.recipe.compose import RECIPES

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="this C library is not glibc"
)

#: Blocks of 4 MiB, freed below one that is not: what of them stays resident, in MiB.
KEPT = """
import ctypes, sys
from tools.process import return_memory
if "return" in sys.argv: return_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
libc.free(libc.malloc(20 << 20))  # after this glibc itself keeps all that is smaller
blocks = [libc.malloc(4 << 20) for _ in range(20)]
for block in blocks: libc.memset(block, 1, 4 << 20)
libc.malloc(64 << 10)
resident = lambda: int(open("/proc/self/statm").read().split()[1]) * 4096 >> 20
before = resident()
for block in blocks: libc.free(block)
print(80 - (before - resident()))
"""


def kept(*words: str, **variables: str) -> int:
    env = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", KEPT, *words],
        cwd=RECIPES.parent,
        env={**env, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


def test_freed_blocks_go_back() -> None:
    assert kept() > 60  # else glibc has learnt it, and ours can go
    assert kept("return") < 10
    assert kept(**RETURNING) < 10


def test_a_user_s_own_setting_stays() -> None:
    assert kept("return", MALLOC_MMAP_THRESHOLD_=str(32 << 20)) > 60
