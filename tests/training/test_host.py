import resource
import subprocess
import sys

import pytest

from slicebench.training.host import keep_memory

# Allocates and frees 64 MB again and again; prints the page faults of all but
# the first rounds.
_ROUNDS = """
import ctypes, resource, sys
from slicebench.training.host import keep_memory
if sys.argv[1] == "keep":
    assert keep_memory()
library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
library.malloc.argtypes = [ctypes.c_size_t]
library.free.argtypes = [ctypes.c_void_p]
for number in range(12):
    if number == 2:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = library.malloc(64 << 20)
    ctypes.memset(block, 1, 64 << 20)
    library.free(block)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how):
    command = [sys.executable, "-c", _ROUNDS, how]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="advice to the GNU C library")
def test_memory_stays_with_the_process():
    pages = 10 * (64 << 20) // resource.getpagesize()
    assert faults("keep") < pages / 100
    # The same without advice; huge pages may lower the count.
    assert faults("leave") > 2 * faults("keep")


def test_the_advice_is_given_once():
    assert keep_memory() == keep_memory()
    assert keep_memory.cache_info().currsize == 1
