"""Atomic checkpoints, of which every byte is guarded and none is executed.

A checkpoint is a folder ``checkpoint-<t>`` of four files: ``weights.safetensors``, ``state.json`` with the state of
optimisers, schedules and counters, ``state.safetensors`` with its tensors, and ``manifest.json`` with the SHA-256 of
the others and of itself. It is written under a temporary name, flushed to disk and renamed; only then are older ones
removed. A crash at any moment leaves either the previous newest checkpoint or the new one.

The manifest numbers the checkpoints of a folder in the order in which they were written, whatever their ``t``:
the newest is the one written last. If the name exists, the number is appended: ``checkpoint-<t>-<number>``.
"""

from pyrogen.training.checkpoint.checkpoints import KEEP, is_whole, newest, restore, save
from pyrogen.training.checkpoint.folders import clear, found

__all__ = ["KEEP", "clear", "found", "is_whole", "newest", "restore", "save"]
