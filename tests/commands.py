"""Calling the command line in the process of a test."""

import sys
from collections.abc import Callable

import pytest

from pyrogen.cli import main

Call = Callable[..., tuple[int, str, str]]
"""``call(*arguments) -> (status, stdout, stderr)``."""


def caller(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """The command ``pyrogen`` as a function of its arguments."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["pyrogen", *map(str, arguments)])
        try:
            main()
            status = 0
        except SystemExit as stop:
            status = int(stop.code or 0)
        out, err = capsys.readouterr()
        print(err)  # shown if the test fails
        return status, out, err

    return call
