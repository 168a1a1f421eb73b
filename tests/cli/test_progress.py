"""Progress on a terminal and elsewhere."""

import io

import pytest

from pyrogen.cli import progress
from pyrogen.cli.console import PlainConsole

ROW = {"t": 1, "loss": 2.5, "seconds": 3.0, "examples_per_second": 40.0}
LONG = {f"a_long_name_of_a_scalar_{i}": 0.25 for i in range(9)}
TITLE = "model 4 of 6: vae:latent=8"


def shown(steps, terminal, *rows):
    console = PlainConsole(file=io.StringIO(), force_terminal=terminal, width=100)
    with progress.progress_display(TITLE, steps, console) as watch:
        for row in rows:
            watch(row)
    return console.file.getvalue()


def test_lines_name_the_model_and_the_time_left_for_all():
    assert shown(5, False, ROW | {"seconds_left": 252.0}).splitlines() == [
        f"{TITLE}  step 1/5  all models: 4 min 12 s left  loss 2.5  40 examples/s"
    ]


def test_lines_without_a_known_number_of_steps_begin_with_the_title():
    lines = shown(0, False, ROW).splitlines()
    assert lines == [TITLE, f"{TITLE}  step 1  loss 2.5  40 examples/s"]
    assert shown(0, False).splitlines() == [TITLE]


@pytest.mark.parametrize("steps", [0, 5])
def test_long_logs_are_cut_on_a_terminal_and_not_the_title_and_the_time_left(steps):
    text = shown(steps, True, ROW | LONG | {"seconds_left": 252.0})
    last = next(line for line in reversed(text.replace("\r", "\n").splitlines()) if TITLE in line)
    assert "all models: 4 min 12 s left" in last
    assert "examples/s" not in last
