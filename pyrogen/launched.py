"""What ``torchrun`` tells a process that it has started; without torch, which takes long to import."""

import os


def processes() -> int:
    """How many processes carry out this command."""
    return int(os.environ.get("WORLD_SIZE", 1))


def process() -> int:
    """The number of this process among them, from 0."""
    return int(os.environ.get("RANK", 0)) if processes() > 1 else 0
