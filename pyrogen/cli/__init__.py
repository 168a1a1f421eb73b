"""The command line, ``pyrogen``: one file for each group of commands.

Results go to standard output, progress and messages to standard error. A user's error gives exit status 2 and one
message. Slow imports are inside the commands, so that ``--help`` and completion are fast.
"""

from pyrogen.cli.entry import app, main

__all__ = ["app", "main"]
