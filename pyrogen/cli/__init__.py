"""The command line, ``pyrogen``."""

from pyrogen.cli.app import app, main

__all__ = ["app", "main"]
