"""Memory that a step has freed stays with the process, for the next step."""

import ctypes
import os
import platform
from functools import cache

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Names of the settings in glibc's ``malloc.h``."""
KEPT = 1 << 30
LARGEST = 32 << 20
"""The largest block that glibc takes from its heap at all; a larger one is mapped anew each time."""


@cache
def retain_heap() -> bool:
    """Let glibc keep up to 1 GiB of freed memory; return whether it does now.

    By itself it hands the end of its heap back to the kernel whenever a large block there is freed, so that a
    convolutional step has thousands of pages mapped and cleared for it again, which can be a third of its time
    (`docs/performance.md`). It is a setting of the whole process; where the user has made it already by
    ``MALLOC_TRIM_THRESHOLD_``, ``MALLOC_MMAP_THRESHOLD_`` or ``GLIBC_TUNABLES``, and without glibc, nothing is done.
    """
    chosen = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")
    if platform.libc_ver()[0] != "glibc" or any(name in os.environ for name in chosen):
        return False
    libc = ctypes.CDLL(None)
    return bool(libc.mallopt(TRIM_THRESHOLD, KEPT) and libc.mallopt(MMAP_THRESHOLD, LARGEST))
