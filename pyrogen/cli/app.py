"""The command line: ``pyrogen models | data | train | resume | sample | evaluate | compare``.

Results go to standard output, progress and messages to standard error. A user's mistake is exit status 2 and
one message. Heavy modules are imported inside the commands, so that ``--help`` and completion answer at once.
"""

import io
import json
import signal
import sys
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from pyrogen.cli.tables import card_table, listing, score_table, show
from pyrogen.errors import ConfigError, UserError

if TYPE_CHECKING:
    from pyrogen.training.run import Run

app = typer.Typer(
    name="pyrogen",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="""Deep generative models on Pyro: write them, train them, and compare explicit with implicit densities.

    Start with `pyrogen compare`, which trains six models on embedded data and writes a report in a few
    minutes, or with `pyrogen train vae --data digits`.""",
)
err = Console(stderr=True)


def _model_names() -> list[str]:
    from pyrogen.recipes import RECIPES

    return sorted(RECIPES)


def _data_names() -> list[str]:
    from pyrogen.data.datasets import names

    return sorted(names())


Data = Annotated[
    str,
    typer.Option(
        "--data",
        help="Name of a data set (`pyrogen data`), a folder of images, an .npy or .npz file.",
        autocompletion=_data_names,
    ),
]
Root = Annotated[
    str | None,
    typer.Option("--data-root", envvar="PYROGEN_DATA", help="Where named data sets are kept, in torchvision's layout."),
]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A run folder, made by `pyrogen train`.")]
Seed = Annotated[int, typer.Option("--seed", help="The one seed from which every random stream is derived.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, and nothing else, on standard output.")]


@app.command()
def models() -> None:
    """List the models, each in one line."""
    from pyrogen.recipes import describe

    table = listing("model", "what it is")
    for name in _model_names():
        table.add_row(name, describe(name))
    show(table)


@app.command("data")
def data_command() -> None:
    """List the data sets: shape, sizes, the measure of their space, and where they come from."""
    from pyrogen.data.datasets import names

    table = listing("data", "shape", "train / valid / test", "space", "from")
    for name, entry in names().items():
        sizes = " / ".join(f"{n:,}" for n in entry.sizes)
        table.add_row(name, "x".join(map(str, entry.shape)), sizes, str(entry.space), entry.source)
    show(table)


@app.command()
def train(
    model: Annotated[
        str | None, typer.Argument(help="Name of a model (`pyrogen models`).", autocompletion=_model_names)
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            help="Name of a data set (`pyrogen data`), a folder of images, an .npy or .npz file; digits by default.",
            autocompletion=_data_names,
        ),
    ] = None,
    data_root: Root = None,
    out: Annotated[Path | None, typer.Option(help="The run folder; a free one under runs/ by default.")] = None,
    steps: Annotated[int | None, typer.Option(help="Number of optimiser steps.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Rows of each step.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="The one seed from which every random stream is derived; 0 by default.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda.")] = None,
    precision: Annotated[str | None, typer.Option(help="32, or bf16 for networks in mixed precision.")] = None,
    compile: Annotated[
        bool | None, typer.Option("--compile/--no-compile", help="Compile loss and gradients; by default in long runs.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any option of the recipe, e.g. latent=10; may be repeated."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="A TOML file like a run's config.toml; options given here go before it.")
    ] = None,
) -> None:
    """Train a model: pictures on the way, and a run folder that survives any crash."""
    from pyrogen.recipes.options import parse_pairs, read_config
    from pyrogen.training.run import Run, free_path
    from pyrogen.training.trainer import build, configure

    wanted = read_config(config, signature(configure).parameters) if config else {}
    options = wanted.pop("options", {}) | parse_pairs(set_ or [])
    options |= _given(steps=steps, batch_size=batch_size, lr=lr)
    wanted |= _given(
        model=model, data=data, data_root=data_root, seed=seed, device=device, precision=precision, compile=compile
    )
    if "model" not in wanted:
        raise ConfigError(f"name a model to train (known: {', '.join(_model_names())})")
    complete = configure(wanted.pop("model"), wanted.pop("data", "digits"), **wanted, options=options)
    setup = build(complete)
    default = Path("runs") / f"{complete['model']}-{Path(complete['data']).stem}"
    _train(Run.create(out or free_path(default), complete), setup)


@app.command()
def resume(folder: Folder) -> None:
    """Go on with a run (or a comparison) from its newest whole checkpoint."""
    from pyrogen.training.run import Run

    run = Run.open(folder)
    if "models" in run.config:
        _compare(run, as_json=False)
    else:
        _train(run)


@app.command()
def sample(
    folder: Folder,
    n: Annotated[int, typer.Option("--n", min=1, help="How many samples.")] = 64,
    label: Annotated[int | None, typer.Option(help="The class to draw from, for a conditional model.")] = None,
    seed: Seed = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            help="FILE.png for a picture (means of p(x|z) where the model has them), FILE.npy for draws from the model."
        ),
    ] = None,
) -> None:
    """Draw samples from a trained model."""
    import numpy as np
    import torch

    from pyrogen.files import write_whole
    from pyrogen.measure.evaluate import in_chunks
    from pyrogen.nn.eval_mode import eval_mode
    from pyrogen.protocols import Sampler
    from pyrogen.random import derive, scoped_seed
    from pyrogen.report.plots import samples_png
    from pyrogen.training.run import Run
    from pyrogen.training.trainer import pictures, trained_model

    out = out or folder / "samples.png"
    if out.suffix not in (".png", ".npy"):
        raise ConfigError(f"--out wants a .png or .npy file; got {out}")
    trained = trained_model(Run.open(folder))
    model, data = trained.model, trained.data
    if not isinstance(model, Sampler):
        raise ConfigError(f"{Run.open(folder).config['model']} does not sample: it reconstructs data")
    y = None
    if label is not None:
        _check_label(model, data.classes, label)
        y = torch.full((n,), label, device=data.test.device)
    if out.suffix == ".png":
        picture = samples_png(
            pictures(model, data, n, seed, y), data.space.to_image(data.test.tensors()[0][:2000]).cpu()
        )
        write_whole(out, picture)
    else:
        if y is None and data.test.side is not None:
            y = data.test.tensors(seed)[1][:n]
        with scoped_seed(derive(seed, "samples")), torch.no_grad(), eval_mode(model):
            x = in_chunks(model, n if y is None else len(y), y)
        buffer = io.BytesIO()
        np.save(buffer, x.cpu().numpy())
        write_whole(out, buffer.getvalue())
    err.print(f"wrote {out}", markup=False, highlight=False, soft_wrap=True)


@app.command()
def evaluate(
    folder: Folder,
    data: Annotated[
        str | None, typer.Option("--data", help="Another data set of the same measure.", autocompletion=_data_names)
    ] = None,
    data_root: Root = None,
    k: Annotated[int, typer.Option("--k", min=1, help="Importance samples for each datum.")] = 100,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Measure a trained model on test data, and write scores.json."""
    from pyrogen.files import write_whole
    from pyrogen.measure.evaluate_run import evaluate_run
    from pyrogen.training.run import Run

    run = Run.open(folder)
    if data_root is not None:
        run.config["data_root"] = data_root
    result = evaluate_run(run, data, k=k, seed=seed)
    write_whole(folder / "scores.json", json.dumps(result, indent=1).encode())
    if as_json:
        print(json.dumps(result))
    else:
        title = f"{result['model']} on {result['data']}, {result['n']:,} test data"
        show(score_table(result["scores"], title))


@app.command()
def compare(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL]...",
            help="Names of models; by default a fixed set of explicit and implicit ones.",
            autocompletion=_model_names,
        ),
    ] = None,
    data: Data = "digits",
    data_root: Root = None,
    out: Annotated[
        Path | None, typer.Option(help="The folder of the report; a free one under runs/ by default.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps of each model.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Rows of each step.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many times to train each model.")] = 1,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Train several models under one budget on one split, and write one scorecard: report.html and scores.json."""
    from pyrogen.comparison.compare import begin

    run = begin(
        models or None,
        data,
        out=out,
        data_root=data_root,
        seeds=seeds,
        seed=seed,
        device=device,
        **_given(steps=steps, batch_size=batch_size),
    )
    _compare(run, as_json)


def main() -> None:
    """The console script."""
    try:
        app()
    except UserError as error:
        err.print(f"pyrogen: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def _train(run: "Run", setup: Any = None) -> None:
    from pyrogen.cli.progress import showing
    from pyrogen.training.signals import Interrupted
    from pyrogen.training.trainer import train

    config = run.config
    title = f"{config['model']} on {config['data']}"
    err.print(f"{title} → {run.path}", markup=False, highlight=False, soft_wrap=True)
    try:
        with showing(title, config["options"]["steps"], err) as watch:
            train(run, watch, setup)
    except Interrupted as stop:
        _stopped(run, stop.signum)
    err.print(f"done: `pyrogen evaluate {run.path}`, `pyrogen sample {run.path}`", markup=False, soft_wrap=True)


def _compare(run: "Run", as_json: bool) -> None:
    from pyrogen.cli.progress import showing
    from pyrogen.comparison.compare import compare_in
    from pyrogen.training.signals import Interrupted

    try:
        card = compare_in(run, show=lambda title, steps: showing(title, steps, err))
    except Interrupted as stop:
        _stopped(run, stop.signum)
    if as_json:
        print(json.dumps({name: value for name, value in card.items() if name != "folder"}))
    else:
        show(card_table(card))
    err.print(f"report: {run.path / 'report.html'}", markup=False, highlight=False, soft_wrap=True)


def _stopped(run: "Run", signum: int) -> None:
    err.print(f"stopped; `pyrogen resume {run.path}` goes on", markup=False, highlight=False, soft_wrap=True)
    sys.exit(128 + signum)


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _check_label(model: Any, classes: tuple[str, ...], label: int) -> None:
    from pyrogen.nn.conditions import Label

    if not isinstance(getattr(model, "condition", None), Label):
        raise ConfigError("--label is for models conditioned on a class; this one is not")
    if not 0 <= label < len(classes):
        raise ConfigError(f"--label {label}: the data have classes 0 to {len(classes) - 1} ({', '.join(classes)})")
