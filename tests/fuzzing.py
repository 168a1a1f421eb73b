"""Fuzzing of the readers of data and the command line: valid inputs, most of them then broken in one place.

An input is accepted, or refused by a ``UserError`` in one printable line; anything else is a failure, which is printed
with the seed that repeats it (``--only TARGET --first SEED --cases 1``). The command line is called in this process;
a training has one step without pictures, and measuring and comparing are left out.
"""

import argparse
import io
import os
import random
import resource
import shutil
import signal
import struct
import sys
import time
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import numpy as np
import torch
from PIL import Image

import pyrogen
from pyrogen.cli import main
from pyrogen.errors import UserError, printable

MEMORY = 8 << 30  # bytes of addresses
HANG = 60  # seconds after which a case is a failure, for a busy machine
RUNS = ("gaussian", "cvae", "gan", "autoencoder")
MODELS = (
    "vae",
    "gaussian",
    "cvae",
    "gan",
    "dcgan",
    "maf",
    "mixture",
    "ppca",
    "kde",
    "autoencoder",
    "wgan",
    "histogram",
)
NASTY = (
    "", " ", "0", "-1", "1", "1.5", "nan", "inf", "-inf", "1e12", "1e300", "1e-320", str(10**12), "9" * 5000, "true",
    "none", "auto", "1,2", "8,8,8", "=", "a=b", "[red]x[/red]", "\x1b[31mred\x1b[0m", "\x7f", "\x9b2J", "\u202egpj",
    "é", "\udcff", "名", "💥" * 300, "a" * 5000, "../..", "~nobody/x", "/dev/zero", "/dev/null", "fifo.npy", "fifo",
    ".", "missing.csv", "bad\x1b.npy", "--", "-", "--nope", "%s", "{0}", "$HOME", "x.npz", "run-gaussian", "x/y.png",
    "a.parquet",
)  # fmt: skip
TEXTS = ("nan", "-inf", "1e999", "9" * 400, "9" * 5000, '"', "\x00", "\x1b[2J", ";", "\t", "\n", ",", "\ufeff", "é", "")


def flat(rng: random.Random) -> np.ndarray:
    """Vectors or images of some dtype."""
    draws = np.random.default_rng(rng.getrandbits(32))
    shape = rng.choice(((20, 3), (12, 4, 4), (12, 1, 4, 5), (12, 4, 4, 3), (30,)))
    kind = rng.choice(("<f4", "<f8", ">f4", "|u1", "<u2", "<i8", "|b1", "<f2"))
    x = draws.normal(size=shape) if len(shape) < 3 else draws.random(shape)
    return x.astype(kind) if "f" in kind else (x * 200 + 20).clip(0, 255).round().astype(kind)


def npy(rng: random.Random, folder: Path) -> Path:
    """An array."""
    np.save(folder / "a.npy", flat(rng))
    return folder / "a.npy"


def npz(rng: random.Random, folder: Path) -> Path:
    """An array with or without labels, packed or not."""
    x = flat(rng)
    labels = {"y": np.arange(len(x)) % 3} if rng.random() < 0.5 else {}
    rng.choice((np.savez, np.savez_compressed))(folder / "a.npz", x=x, **labels)  # type: ignore[operator]
    return folder / "a.npz"


def table(rng: random.Random) -> dict[str, list[Any]]:
    """Columns of several kinds."""
    n = rng.choice((12, 40))
    made: dict[str, list[Any]] = {"a": [rng.gauss(0, 1) for _ in range(n)], "b": [i * i % 7 for i in range(n)]}
    if rng.random() < 0.5:
        made["kind"] = [rng.choice(("x", "y", "z")) for _ in range(n)]
    if rng.random() < 0.3:
        made["\x1b[31m"] = [i % 2 == 0 for i in range(n)]
    return made


def csv(rng: random.Random, folder: Path) -> Path:
    """A table as text."""
    mark, columns = rng.choice((",", ";", "\t")), table(rng)
    rows = [mark.join(columns), *(mark.join(map(str, row)) for row in zip(*columns.values(), strict=True))]
    if rng.random() < 0.6:  # one cell
        line = rng.randrange(len(rows))
        cells = rows[line].split(mark)
        cells[rng.randrange(len(cells))] = rng.choice(TEXTS)
        rows[line] = mark.join(cells)
    (folder / "t.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder / "t.csv"


def parquet(rng: random.Random, folder: Path) -> Path:
    """A table as Parquet."""
    import pyarrow
    import pyarrow.parquet

    packing = rng.choice(("none", "snappy", "zstd", "gzip"))
    pyarrow.parquet.write_table(pyarrow.table(table(rng)), folder / "t.parquet", compression=packing)
    return folder / "t.parquet"


def arrow(rng: random.Random, folder: Path) -> Path:
    """A table in Arrow's format."""
    import pyarrow
    import pyarrow.feather

    columns = pyarrow.table(table(rng))
    if "kind" in columns.column_names and rng.random() < 0.5:
        at = columns.column_names.index("kind")
        columns = columns.set_column(at, "kind", columns.column(at).dictionary_encode())
    packing = rng.choice(("uncompressed", "lz4", "zstd"))
    pyarrow.feather.write_feather(columns, str(folder / "t.feather"), compression=packing)
    return folder / "t.feather"


def pictures(rng: random.Random, folder: Path) -> Path:
    """A folder of images of one size, with or without classes or labels, one of which may be broken by ``damage``."""
    suffix, mode = rng.choice(("png", "jpg", "bmp", "gif", "webp", "tif")), rng.choice(("L", "RGB", "P", "1"))
    if suffix in ("jpg", "webp"):
        mode = "RGB"
    classes = rng.choice(((".",), ("cat", "dog"), ("2", "11\x1b[31m")))
    for i in range(12):
        place = folder / "images" / classes[i % len(classes)]
        place.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((6, 5), 60).convert(mode).save(place / f"{i}.{suffix}")
    if classes == (".",) and rng.random() < 0.5:
        lines = ["file,label", *(f"{i}.{suffix},{i % 3}" for i in range(12))]
        lines[rng.randrange(13)] += rng.choice(("", "", *TEXTS))
        (folder / "images" / "labels.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder / "images"


def archive(rng: random.Random, folder: Path) -> Path:
    """The same as a zip file."""
    source = pictures(rng, folder)
    with zipfile.ZipFile(folder / "a.zip", "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as packed:
        for file in sorted(source.rglob("*.*")):
            packed.write(file, str(file.relative_to(source)))
    return folder / "a.zip"


def tensors(rng: random.Random, folder: Path) -> Path:
    """A tensor, or two."""
    x = torch.from_numpy(np.random.default_rng(rng.getrandbits(32)).random((12, 3)))
    torch.save(rng.choice((x, (x, torch.arange(12) % 2), {"x": x})), folder / "a.pt")
    return folder / "a.pt"


READERS = {
    "npy": npy, "npz": npz, "csv": csv, "parquet": parquet, "arrow": arrow, "images": pictures, "zip": archive,
    "pt": tensors,
}  # fmt: skip


def damage(rng: random.Random, content: bytes) -> bytes:
    """One change of a file's bytes: flips, a cut, a hole, an insertion, a repetition, or a greatest number."""
    if not content:
        return b"\x00"
    spoilt, at = bytearray(content), rng.randrange(len(content))
    if rng.random() < 0.5:
        at = min(at, rng.randrange(200))  # in the header
    kind = rng.randrange(7)
    if kind == 0:
        spoilt[at] ^= 1 << rng.randrange(8)
    elif kind == 1:
        del spoilt[at:]
    elif kind == 2:
        del spoilt[at : at + rng.randrange(1, 40)]
    elif kind == 3:
        spoilt[at:at] = rng.randbytes(rng.randrange(1, 20))
    elif kind == 4:
        spoilt[at:at] = spoilt[at : at + rng.randrange(1, 60)] * rng.choice((1, 50))
    elif kind == 5:
        greatest = struct.pack(rng.choice(("<q", ">q", "<i", "<h")), -1 if rng.random() < 0.5 else 0x7FFF)
        spoilt[at : at + len(greatest)] = greatest
    else:
        spoilt[at : at + 1] = rng.choice((b"((((" * 500, b"-" * 3000, str(10**12).encode(), b"\x1b[31m", b"\xff"))
    return bytes(spoilt)


def read(rng: random.Random, folder: Path, make: Callable[[random.Random, Path], Path]) -> bool:
    """Read one input, broken in four of five cases; return whether it was accepted."""
    source = make(rng, folder)
    if rng.random() < 0.8:
        files = [source] if source.is_file() else sorted(file for file in source.rglob("*") if file.is_file())
        file = rng.choice(files)
        file.write_bytes(damage(rng, file.read_bytes()))
    try:
        pyrogen.load(source)
    except UserError as error:
        message = str(error)
    else:
        return True
    assert "\n" not in message, message
    return False


def requests(rng: random.Random) -> list[str]:
    """The arguments of a valid command."""
    run = f"run-{rng.choice(RUNS)}"
    seed, k = str(rng.randrange(1000)), str(rng.randrange(1, 5))
    config = ["train", "--config", f"{run}/config.toml", "--seed", seed]
    sizes = ["--steps", k, "--batch-size", rng.choice(("8", "16")), "--lr", rng.choice(("0.1", "1e-3")), "--seed", seed]
    train = ["train", rng.choice(MODELS), "--data", rng.choice(("digits", "x.npz", "t.csv")), *sizes, "--no-compile"]
    vae = ["train", "vae", "--set", f"latent={k}", "--set", f"hidden={k},{k}", "--set", "network=mlp", *sizes]
    sample = ["sample", run, "--n", k, "--out", rng.choice(("a.png", "a.npy", "f/")), "--seed", seed]
    scores = ["evaluate", run, "--k", k, "--seed", seed, *rng.choice(((), ("--json",)))]
    some = rng.sample(("gaussian", "gan", "vae", f"vae:latent={k}:hidden={k},{k}"), 2)
    budget = rng.choice((["--steps", k], ["--examples", k], ["--seconds", f"0.{k}"]))
    compare = ["compare", *some, *budget, *sizes[2:4], "--seeds", k, "--json"]
    return rng.choice((train, train, vae, config, sample, scores, compare, ["models"], ["models", "vae"], ["data"]))


def misused(rng: random.Random, request: list[str]) -> list[str]:
    """A request with one argument replaced, left out, repeated or added."""
    changed, at = list(request), rng.randrange(len(request))
    kind = rng.randrange(5)
    if kind <= 1:
        changed[at] = rng.choice(NASTY)
    elif kind == 2:
        del changed[at]
    elif kind == 3:
        name = rng.choice(
            ("--set", "--data", "--out", "--size", "--target", "--label", "--device", "--features", "--n")
        )
        changed += [name, rng.choice(("latent=", "hidden=", "condition=", "")) + rng.choice(NASTY)]
    else:
        changed[at] = changed[at][: len(changed[at]) // 2] + rng.choice(NASTY) + changed[at][len(changed[at]) // 2 :]
    return changed


def status_of_main() -> Any:
    """Call the command line with ``sys.argv`` and return its exit status."""
    try:
        main()
    except SystemExit as stop:
        return stop.code or 0
    return 0


def command(rng: random.Random, folder: Path) -> bool:
    """Call the command line with a request, broken in two of three cases; return whether it was accepted."""
    request = requests(rng)
    if rng.random() < 0.66:
        request = misused(rng, request)
    if request[:1] == ["train"] and "--config" in request and rng.random() < 0.5:
        written = Path("run-gaussian", "config.toml").read_bytes()
        Path("config.toml").write_bytes(damage(rng, written))
        request = [part.replace("run-gaussian/", "") for part in request]
    out, err = io.StringIO(), io.StringIO()
    request = [part.replace("\0", "") for part in request]  # no argument of a process has one
    with mock.patch.object(sys, "argv", ["pyrogen", *request]), redirect_stdout(out), redirect_stderr(err):
        status = status_of_main()
    for name in ("runs", "f", "a.png", "a.npy"):
        place = Path(name)
        shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
    text = out.getvalue() + err.getvalue()
    assert all(line == printable(line) for line in text.split("\n")), f"raw text on the terminal: {request!r}"
    assert status in (0, 2), f"status {status}: {request!r}"
    lines = [line for line in err.getvalue().splitlines() if "warning:" not in line]
    assert status == 0 or len(lines) <= 1, f"{len(lines)} lines: {request!r}\n{err.getvalue()}"
    return status == 0


@contextmanager
def light(folder: Path) -> Iterator[None]:
    """The working directory of commands, with small runs and data; training, measuring and comparing are made light."""
    from pyrogen.data.step_arguments import select_arguments
    from pyrogen.training import trainer

    before = os.getcwd()
    os.chdir(folder)
    draws = np.random.default_rng(0)
    np.savez("x.npz", x=draws.random((40, 8, 8)), y=np.arange(40) % 3)
    Path("t.csv").write_text("a,b\n" + "".join(f"{a:.5f},{b:.5f}\n" for a, b in draws.normal(size=(60, 2))))
    os.mkfifo("fifo.npy")
    os.mkfifo("fifo")
    Path("bad\x1b.npy").write_bytes(b"\x93NUMPY")
    with redirect_stderr(io.StringIO()):
        for name in RUNS:
            sys.argv = ["pyrogen", "train", name, "--data", "x.npz", "--steps", "2", "--batch-size", "8"]
            sys.argv += ["--out", f"run-{name}"]
            with mock.patch.object(trainer, "_draw"), mock.patch.object(trainer, "curves_png"):
                assert not status_of_main()

    def one_step(run: Any, watch: Any = None, setup: Any = None, **more: Any) -> Any:
        setup = setup or trainer.build(run.config)
        rows = setup.data.train.read(slice(0, min(8, len(setup.data.train))), torch.Generator(setup.data.train.device))
        setup.step(*select_arguments(setup.step, rows))

    card: dict[str, Any] = {"data": "x", "space": "y", "anchors": {}, "models": {"gan": {"scores": {}}}}
    with (
        mock.patch.object(trainer, "train", one_step),
        mock.patch.object(import_module("pyrogen.measure.evaluate"), "evaluate", return_value={}),
        mock.patch.object(import_module("pyrogen.comparison.compare"), "run_comparison", return_value=card),
    ):
        try:
            yield
        finally:
            os.chdir(before)


class Hang(BaseException):
    """A case that takes too long, which no reader may take for an error of the file."""


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Raise ``Hang`` inside after some seconds."""

    def stop(*_: Any) -> None:
        raise Hang(f"more than {seconds} s")

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def fuzz(target: str, minutes: float = 1.0, first: int = 0, cases: int | None = None) -> Counter[str]:
    """Count what becomes of inputs until the time is over, or of so many; failures are printed."""
    found: Counter[str] = Counter()
    end, seed = time.monotonic() + 60 * minutes, first
    with TemporaryDirectory() as home, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scope = light(Path(home)) if target == "command" else TemporaryDirectory()
        with scope:
            pyrogen.load("digits")  # imports, which are no part of a case
            if target in READERS:
                with suppress(UserError):
                    pyrogen.load(READERS[target](random.Random(0), Path(home)))
            while time.monotonic() < end if cases is None else seed < first + cases:
                rng, began = random.Random(f"{target} {seed}"), time.monotonic()
                try:
                    with TemporaryDirectory() as folder, limited(HANG):
                        make = READERS.get(target)
                        good = read(rng, Path(folder), make) if make else command(rng, Path(folder))
                    found["accepted" if good else "refused"] += 1
                except (Exception, Hang):
                    found["failures"] += 1
                    print(f"--only {target} --first {seed} --cases 1\n{traceback.format_exc()}", flush=True)
                found["slowest, ms"] = max(found["slowest, ms"], round(1000 * (time.monotonic() - began)))
                seed += 1
    return found


def run() -> None:
    """Fuzz every target, or one, and print a table."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))  # what a target allocates in vain is an error
    options = argparse.ArgumentParser(description="Fuzz the readers and the command line.")
    options.add_argument("--minutes", type=float, default=1.0, help="for each target")
    options.add_argument("--only", choices=(*READERS, "command"))
    options.add_argument("--first", type=int, default=0, help="the first seed")
    options.add_argument("--cases", type=int, help="so many cases, whatever the time")
    given = options.parse_args()
    failures = 0
    print("| Target | Accepted | Refused | Failures | Slowest, ms |\n|---|---|---|---|---|")
    for target in (*READERS, "command") if given.only is None else (given.only,):
        found = fuzz(target, given.minutes, given.first, given.cases)
        failures += found["failures"]
        cells = (found[key] for key in ("accepted", "refused", "failures", "slowest, ms"))
        print(f"| {target} | {' | '.join(f'{n:,}' for n in cells)} |", flush=True)
    sys.exit(failures > 0)


if __name__ == "__main__":
    run()
