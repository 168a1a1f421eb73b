"""Progress on a terminal of any width, in a notebook, and in lines of text."""

import io
import re

import nbformat
import pytest
from nbclient import NotebookClient
from rich.console import Console

import pyrogen
from pyrogen.training.monitoring import display
from pyrogen.training.monitoring.display import Display

TITLE = "model 4 of 6: vae:latent=8:hidden=512,512"
ROW = {"t": 1, "loss": -1234.5678, "valid_loss": 3.0, "seconds": 3.0, "examples_per_second": 40.0}
GAME = {"t": 1, "critic_loss": 1.25, "generator_loss": 0.5, "std_ratio": 0.9, "critic_accuracy": 1.0, "gradient": 2.0}
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def shown(steps, terminal, *rows, width=100, title=TITLE):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=width)
    with Display(console)(title, steps) as watch:
        for row in rows:
            watch(row)
    return console.file.getvalue()


def last_line(text: str) -> str:
    return [line for line in ESCAPES.sub("", text).replace("\r", "\n").splitlines() if line.strip()][-1]


def test_lines_name_the_model_and_the_time_left_for_all() -> None:
    assert shown(5, False, ROW | {"seconds_left": 252.0}).splitlines() == [
        f"{TITLE}  step 1/5  4 min 12 s left for all  loss -1235  valid_loss 3  40 examples/s"
    ]
    assert "12 s left  loss" in shown(5, False, ROW)


def test_lines_without_a_known_number_of_steps_begin_with_the_title() -> None:
    lines = shown(0, False, ROW).splitlines()
    assert lines == [TITLE, f"{TITLE}  step 1  loss -1235  valid_loss 3  40 examples/s"]
    assert shown(0, False).splitlines() == [TITLE]


@pytest.mark.parametrize("width", [80, 110, 140])
@pytest.mark.parametrize(
    ("row", "loss"), [(ROW, "loss -1235"), (GAME | {"seconds": 3.0}, "loss 0.5")], ids=["loss", "game"]
)
def test_one_line_of_a_terminal_has_all_that_matters(width, row, loss) -> None:
    line = last_line(shown(123456, True, row | {"t": 100000, "seconds_left": 252.0}, width=width))
    assert len(line) <= width
    assert line.startswith("model 4 of 6: vae")
    assert "━" in line
    assert "100000/123456 4 min 12 s left for all " + loss in line
    assert "std_ratio" not in line
    assert "examples/s" not in line


@pytest.mark.parametrize("width", [80, 140])
def test_a_short_title_is_whole(width) -> None:
    assert last_line(shown(3000, True, ROW, width=width, title="vae on digits")).startswith("vae on digits ")
    assert "step 1" in last_line(shown(0, True, ROW, width=width))


def test_a_loop_shows_its_progress(monkeypatch, capsys) -> None:
    monkeypatch.setattr(display, "LINE_SECONDS", -1.0)
    monkeypatch.setattr(display, "UPDATE_SECONDS", -1.0)
    data = pyrogen.load("moons")
    step = pyrogen.SVI(pyrogen.explicit.Gaussian((2,)).model)
    plain = [float(logs["loss"]) for _, logs in pyrogen.fit(step, data.train, steps=3, batch_size=8)]
    assert capsys.readouterr().err == ""
    step = pyrogen.SVI(pyrogen.explicit.Gaussian((2,)).model)
    watched = [float(logs["loss"]) for _, logs in pyrogen.fit(step, data.train, steps=3, batch_size=8, progress=True)]
    lines = capsys.readouterr().err.splitlines()
    assert watched == plain
    assert [line.split("  ")[:2] for line in lines] == [["SVI", f"step {t}/3"] for t in (1, 2, 3)]
    assert lines[0].endswith(f"loss {plain[0]:.4g}")


def test_a_run_is_announced(tmp_path, capsys) -> None:
    pyrogen.train("gaussian", "moons", out=tmp_path / "run", steps=3, progress=True)
    first, *_, last = capsys.readouterr().err.splitlines()
    assert first == f"gaussian on moons: 3 steps → {tmp_path / 'run'}"
    assert last.startswith("gaussian on moons  step 3/3")


CELLS = [
    "from pyrogen.training.monitoring import display  # where ipywidgets is absent, tqdm warns at this import",
    """
display.UPDATE_SECONDS = -1.0
for title in ("vae <b>", "gan"):
    with display.Display()(title, 300) as watch:
        for t in range(1, 301):
            watch({"t": t, "loss": 2.0 * t, "seconds": 1.0 * t})
""",
]


def test_the_file_of_a_notebook_keeps_one_output_of_each_activity(tmp_path) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    outputs = notebook.cells[-1].outputs
    assert [output.output_type for output in outputs] == ["display_data"] * 2
    assert [output.data["text/plain"] for output in outputs] == [
        f"{title}  300/300  0 ms left  loss 600" for title in ("vae <b>", "gan")
    ]
    assert '<progress value="300" max="300"></progress> vae &lt;b&gt;' in outputs[0].data["text/html"]
