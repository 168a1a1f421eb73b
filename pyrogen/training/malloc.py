"""Settings of glibc's allocator: freed memory stays in the heap of the process."""

import ctypes
import os
import platform
from functools import cache

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Names of the settings in glibc's ``malloc.h``."""
KEPT = 1 << 30
LARGEST = 32 << 20
"""The largest block that glibc allocates from the heap; a larger one is mapped at each allocation."""


@cache
def retain_heap() -> bool:
    """Let glibc keep up to 1 GiB of freed memory; return whether it does now.

    By default it returns the end of its heap to the kernel whenever a large block there is freed, so that thousands of
    pages are mapped and cleared again for each convolutional step, which can be a third of its time
    (`docs/performance.md`). The setting is that of the whole process. Where ``MALLOC_TRIM_THRESHOLD_``,
    ``MALLOC_MMAP_THRESHOLD_`` or ``GLIBC_TUNABLES`` is set, and without glibc, it does nothing.
    """
    chosen = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")
    if platform.libc_ver()[0] != "glibc" or any(name in os.environ for name in chosen):
        return False
    libc = ctypes.CDLL(None)
    return bool(libc.mallopt(TRIM_THRESHOLD, KEPT) and libc.mallopt(MMAP_THRESHOLD, LARGEST))
