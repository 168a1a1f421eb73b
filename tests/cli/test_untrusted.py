"""The command line under hostile requests: names that a terminal would obey, huge sizes, no network, and fuzzing."""

import ast
import json
import socket
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import caller
from fuzzing import READERS, fuzz
from hostile_files import picture
from recipe_cases import flags

from pyrogen.cli import app, console, tables
from pyrogen.data.columns import Column
from pyrogen.errors import ConfigError, printable
from pyrogen.recipes import RECIPES
from pyrogen.report import samples_png, write_report
from pyrogen.training import memory
from pyrogen.training.memory import MemoryLimit, check_training
from pyrogen.training.monitoring.display import Display

pytestmark = pytest.mark.usefixtures("quick_measures")

ROOT = Path(__file__).parents[2]
EVIL = "\x1b]0;title\x07\x1b[31m[red]x[/red]\x7f\x9b2J\u202egpj:bomb:<script>"
SAFE = r"\x1b]0;title\x07\x1b[31m[red]x[/red]\x7f\x9b2J\u202egpj:bomb:<script>"
SMALL = ("--steps", "2", "--batch-size", "8", "--no-compile")


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    """Call the command line in this process: ``(status, stdout, stderr)``."""
    return caller(monkeypatch, capsys, tmp_path)


REQUESTS = {
    "model": ("train", EVIL),
    "data": ("train", "vae", "--data", EVIL),
    "file": ("train", "vae", "--data", f"{EVIL}.npy"),
    "option": ("train", "vae", "--set", f"{EVIL}=1"),
    "value": ("train", "vae", "--set", f"network={EVIL}"),
    "flag": ("train", "vae", f"--{EVIL}"),
    "device": ("train", "vae", "--device", EVIL),
    "target": ("train", "vae", "--data", "t.csv", "--target", EVIL),
    "command": (EVIL,),
    "run": ("sample", EVIL),
    "features": ("compare", "gaussian", "--features", EVIL),
    "configuration": ("train", "--config", f"{EVIL}.toml"),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_name_in_a_request_is_shown_by_its_escapes(call, tmp_path, name):
    (tmp_path / "t.csv").write_text("a,b\n" + "".join(f"{i / 7},{i * i % 5}\n" for i in range(40)))
    status, out, err = call(*REQUESTS[name])
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert r"\x1b]0;title" in err
    assert ":bomb:" in err  # no emoji


def test_names_in_data_are_shown_by_their_escapes(call, tmp_path):
    """As names of files, columns and classes: in messages, tables, pictures and files of samples."""
    evil = EVIL.replace("/", "|")
    lines = [f"a,{evil},{evil} class"] + [f"{i / 7},{i * i % 11},{evil if i % 2 else 'b'}" for i in range(60)]
    (tmp_path / f"{evil}.csv").write_text("\n".join(lines))
    request = ("train", "cgan", "--data", f"{evil}.csv", "--target", f"{evil} class", *SMALL, *flags("cgan"))
    status, _, err = call(*request, "--out", f"run {evil}")
    assert status == 0, err
    shown = printable(evil)
    assert f"{shown}.csv: 2 steps → run {shown}" in err
    assert call("sample", f"run {evil}", "--label", evil, "--n", 4, "--out", "a.png")[0] == 0
    status, _, err = call("sample", f"run {evil}", "--label", "no\x1bne")
    assert (status, err.count("\n")) == (2, 1)
    assert call("sample", f"run {evil}", "--n", 4, "--out", "a.csv")[0] == 0
    assert evil in (tmp_path / "a.csv").read_text()  # files hold the names as they are
    status, out, _ = call("evaluate", f"run {evil}")
    assert status == 0
    assert r"\x1b]" in out
    assert json.loads(call("evaluate", f"run {evil}", "--json")[1])["data"].endswith(f"{evil}.csv")


def test_a_terminal_gets_no_codes_but_the_consoles_own(monkeypatch, capsys):
    monkeypatch.setenv("TERM", "xterm-256color")
    terminal = console.PlainConsole(stderr=True, force_terminal=True, width=120)
    monkeypatch.setattr(console, "err", terminal)
    console.message(f"pyrogen: {EVIL}\n{EVIL}", style="red")
    with Display(terminal)(f"vae on {EVIL}", 5) as watch:
        watch({"t": 3, "seconds": 1.0, f"loss{EVIL}": 0.1, "examples_per_second": 10.0})
    terminal.print(tables.score_table({EVIL: {"kind": "exact", "value": 1.0, "stderr": 0.1, "unit": "nats"}}, EVIL))
    err = capsys.readouterr().err
    assert "\x1b[" in err  # colours, and the movements of the bar
    for raw in ("\x1b]0", "\x07", "\x7f", "\x9b", "\u202e", "💣"):
        assert raw not in err
    assert f"pyrogen: {SAFE}\\n{SAFE}" in err


def test_everything_is_printed_by_the_one_console():
    """No other console of rich, and no ``print`` but of JSON, which is ASCII."""
    for path in (ROOT / "pyrogen").rglob("*.py"):
        tree = ast.parse(path.read_text())
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and "bench" not in path.parts]
        printed = [ast.unparse(node.args[0]) for node in calls if ast.unparse(node.func) == "print"]
        assert all(text.startswith("json.dumps(") for text in printed), path
        assert path.name == "console.py" or not [c for c in calls if ast.unparse(c.func).split(".")[-1] == "Console"]
        assert not [c for c in calls if ast.unparse(c.func) in ("typer.echo", "sys.stdout.write", "sys.stderr.write")]


def test_warnings_are_shown_by_their_escapes(monkeypatch, capsys):
    with console.user_warnings():
        warnings.simplefilter("always")
        warnings.warn(f"Glyph 27 ({EVIL}) missing", UserWarning, stacklevel=1)
    err = capsys.readouterr().err
    assert "test_untrusted.py" in err
    assert SAFE in err.replace("\n", "")


def test_a_long_message_is_cut(capsys):
    console.message("x" * 10**6)
    assert len(capsys.readouterr().err) < 5000


def test_the_page_and_the_pictures_show_names_by_their_escapes(tmp_path):
    card = {
        "data": EVIL, "space": EVIL, "split": {"train": 10}, "budget": {"steps": 1}, "anchors": {},
        "models": {EVIL: {"family": "explicit", "scores": {}, "error": EVIL}},
    }  # fmt: skip
    rows = torch.randn(20, 2)
    columns = [Column(EVIL, "real"), Column("$x$\x1b", "real")]
    write_report(tmp_path / "report.html", card, {EVIL: rows}, rows, {EVIL: []}, {"data": EVIL}, columns)
    page = (tmp_path / "report.html").read_text()
    assert all(line == printable(line) for line in page.split("\n"))
    assert SAFE.replace("<script>", "&lt;script&gt;") in page
    assert "<script>" not in page.split("</footer>")[0].split("<body>")[1]
    assert samples_png(rows, rows, columns=columns).startswith(b"\x89PNG")


SIZES = {
    "rate": (("--lr", "inf"), "lr must be a finite number; got inf"),
    "steps": (("--steps", "1e12"), "Invalid value for '--steps'"),
    "many steps": (("--steps", str(10**12)), "steps must be less than or equal to 1000000000"),
    "latent": (("--set", f"latent={10**12}"), "latent must be less than or equal to 1000000"),
    "widths": (("--set", "hidden=1000000", "--set", "latent=1000000"), "7,450.6 GiB of memory, of which"),
    "layers": (("--set", "hidden=" + "8," * 2000), "hidden must have at most 1000 items"),
    "batch": (("--batch-size", str(10**12)), "batch_size must be less than or equal to 1000000000"),
    "rows": (("--batch-size", str(10**9)), "expected at least 1000000000 training rows"),
    "weight": (("--set", "beta=1e300"), "beta must be less than or equal to 1000000000"),
    "digits": (("--set", "latent=" + "9" * 5000), "latent must"),
    "size": (("--size", str(10**12)), "size must be less than or equal to 8192"),
    "seed": (("--seed", str(10**30)), "seed must be less than"),
}


@pytest.mark.parametrize("name", SIZES)
def test_a_size_is_refused_by_its_limit_or_the_memory(call, tmp_path, name):
    options, message = SIZES[name]
    status, out, err = call("train", "vae", *options)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert not (tmp_path / "runs").exists()


def test_so_are_those_of_the_other_commands(call, tmp_path):
    assert call("train", "gaussian", "--out", "run", *SMALL)[0] == 0
    for request, message in (
        (("sample", "run", "--n", 10**12), "--n"),
        (("sample", "run", "--n", 10**9, "--out", "a.npy"), "1,000,000,000 samples: needs 715.3 GiB of memory"),
        (("evaluate", "run", "--k", 10**12), "--k"),
        (("compare", "--seeds", 10**12), "seeds must be less than or equal to 1000"),
        (("compare", "--examples", 10**15), "examples must be less than or equal to 1000000000000"),
        (("compare", "vae", "--examples", 10**12), "steps must be less than or equal to 1000000000"),
        (("compare", "--seconds", 1e12), "seconds must be less than or equal to 1000000000"),
        (("compare", "vae:latent=1000000000000"), "latent must be less than or equal to 1000000"),
        (("train", "made", "--set", "hidden=1000000,1000000"), "GiB of memory"),
        (("train", "realnvp", "--set", f"layers={10**6}"), "layers must be less than or equal to 1000"),
    ):
        status, out, err = call(*request)
        assert (status, out, err.count("\n")) == (2, "", 1), request
        assert message in err


def test_every_number_among_the_options_has_an_upper_limit():
    def numbers(schema):
        for part in schema.get("anyOf", [schema]):
            if part.get("type") == "array":
                assert part["maxItems"] <= 1000
                yield from numbers(part["items"])
            elif part.get("type") in ("integer", "number"):
                yield part

    for entry in RECIPES.values():
        for name, schema in entry.schema.model_json_schema()["properties"].items():
            for number in numbers(schema):
                most = number.get("maximum", number.get("exclusiveMaximum"))
                assert most is not None, f"{entry.name}: {name}"
                assert most <= 1e9


def test_memory_is_compared_before_a_tensor_is_allocated(monkeypatch):
    monkeypatch.setattr(memory, "memory_excess", lambda nbytes: "is too much" if nbytes > 2**30 else "")
    column = torch.empty(30_000)
    for make in (
        lambda: torch.nn.Linear(30_000, 30_000),
        lambda: torch.eye(30_000),
        lambda: column.new_zeros(30_000, 30_000),
        lambda: column[:, None] >= column[None, :].repeat(2, 1).view(1, -1),
        lambda: column[:, None] @ column[None],
        lambda: torch.randn(2**30, dtype=torch.float64),
    ):
        with pytest.raises(ConfigError, match="a model of these sizes is too much"), MemoryLimit():
            make()
    with MemoryLimit():
        torch.manual_seed(0)
        first = torch.nn.Linear(3000, 300).weight
    torch.manual_seed(0)
    assert torch.equal(first, torch.nn.Linear(3000, 300).weight)
    check_training(torch.nn.Linear(1000, 1000))
    with pytest.raises(ConfigError, match="too much"):
        check_training(torch.nn.Linear(10_000, 10_000))  # 0.4 GB, but 1.6 with gradients and moments


class TestNetwork:
    REQUESTS = (
        ("models",),
        ("models", "vae"),
        ("data",),
        ("train", "vae", "--out", "run", "--data", "x.npy", *SMALL, *flags("vae")),
        ("train", "cvae", "--data", "pictures", "--out", "other", *SMALL, *flags("cvae")),
        ("resume", "run"),
        ("sample", "run", "--n", 4),
        ("evaluate", "run", "--k", 2),
        ("compare", "gaussian", "--data", "x.npy", "--out", "c", "--json", *SMALL[:4]),
        ("encode", "run", "--out", "codes.npz"),
        ("decode", "run", "--codes", "codes.npz", "--out", "decoded.npz"),
        ("reconstruct", "run", "--out", "again.npz"),
        ("compress", "run", "--out", "x.bin"),
        ("decompress", "x.bin", "--model", "run", "--out", "levels.npy"),
        ("interpolate", "run", "--out", "paths.npz", "--n", 2),
        ("outliers", "run", "--out", "strange.csv", "--k", 2),
        ("restore", "run", "--mask", "left", "--out", "left.png", "--n", 1, "--draws", 1),
        ("train", "vae", "--data", "pictures", "--out", "third", *SMALL, *flags("vae")),
        ("alter", "third", "--towards", "1", "--out", "altered.png"),
        ("cluster", "third", "--out", "clusters.csv"),
        ("weights", "third", "--out", "weights.csv"),
        ("explore", "third"),
        ("export", "run", "--out", "encoder.pt2", "--part", "encoder"),
        ("export", "run", "--out", "weights/"),
        ("experiment",),
        ("experiment", "lines", "--seeds", 2, "--out", "e", *(f"--set={o}" for o in ("steps=2,4", "models=maf,gan"))),
        ("--help",),
    )

    def test_no_command_opens_a_socket(self, call, tmp_path, monkeypatch):
        def refuse(*arguments, **more):
            raise AssertionError(f"a socket: {arguments} {more}")

        for name in ("socket", "create_connection", "getaddrinfo", "socketpair"):
            monkeypatch.setattr(socket, name, refuse)
        np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 255, (60, 8, 8), np.uint8))
        for i in range(30):
            picture(tmp_path / "pictures" / str(i % 2) / f"{i}.png")
        for request in self.REQUESTS:
            status, _, err = call(*request)
            assert status == 0, f"{request}: {err}"

    def test_every_command_is_among_them(self):
        commands = {command.name for command in app.registered_commands}
        assert commands - {"watch"} == {request[0] for request in self.REQUESTS} - {"--help"}  # it serves a page


class TestFuzz:
    """``docs/scripts/fuzz.py`` for minutes; here a few seeds of each target."""

    @pytest.mark.parametrize("target", READERS)
    def test_readers(self, target, capsys):
        pytest.importorskip("pyarrow")
        found = fuzz(target, cases=25)
        assert found["failures"] == 0, capsys.readouterr().out
        assert min(found["accepted"], found["refused"]) > 2

    def test_command_line(self, capsys):
        found = fuzz("command", cases=40)
        assert found["failures"] == 0, capsys.readouterr().out
        assert min(found["accepted"], found["refused"]) > 5
