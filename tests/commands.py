"""Calling the command line in the process of a test."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pyrogen.cli import console, main
from pyrogen.errors import printable

Call = Callable[..., tuple[int, str, str]]
"""``call(*arguments) -> (status, stdout, stderr)``."""


def caller(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path) -> Call:
    """The command ``pyrogen`` as a function of its arguments, in ``folder``.

    Nothing that a terminal obeys is printed, and no traceback.
    """
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(console, "err", console.PlainConsole(stderr=True, width=400))

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["pyrogen", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        out, err = capsys.readouterr()
        assert all(line == printable(line) for line in (out + err).split("\n"))
        assert "Traceback" not in err
        return int(stop.value.code or 0), out, err

    return call
