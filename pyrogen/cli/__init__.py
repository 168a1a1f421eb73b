"""The command line, ``pyrogen``: one file for each group of commands.

Results go to standard output, progress and messages to standard error. A user's mistake gives exit status 2 and one
message. Heavy modules are imported inside the commands, so that ``--help`` and completion answer at once.
"""

from pyrogen.cli.entry import app, main

__all__ = ["app", "main"]
