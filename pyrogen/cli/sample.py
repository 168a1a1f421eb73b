"""``pyrogen sample``: draw samples from a trained model."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pyrogen.cli.arguments import Folder, Seed
from pyrogen.cli.console import message
from pyrogen.errors import ConfigError
from pyrogen.files import write_whole

if TYPE_CHECKING:
    from torch import Tensor

    from pyrogen.training.trainer import Trained


def sample(
    folder: Folder,
    n: Annotated[int, typer.Option("--n", min=1, help="Number of samples.")] = 64,
    label: Annotated[int | None, typer.Option(help="Class to sample, for a conditional model.")] = None,
    seed: Seed = 0,
    out: Annotated[
        Path | None,
        typer.Option(help="FILE.png: picture (means of p(x|z) if the model provides them); FILE.npy: samples."),
    ] = None,
) -> None:
    """Draw samples from a trained model."""
    import torch

    from pyrogen.protocols import Sampler
    from pyrogen.report.pictures import pictures
    from pyrogen.report.plots import samples_png
    from pyrogen.training.run import Run
    from pyrogen.training.trainer import trained_model

    out = out or folder / "samples.png"
    if out.suffix not in (".png", ".npy"):
        raise ConfigError(f"--out must be a .png or .npy file; got {out}")
    trained = trained_model(Run.open(folder))
    data = trained.data
    if not isinstance(trained.model, Sampler):
        raise ConfigError(f"{trained.run.config.model} cannot sample: it only reconstructs data")
    y = None
    if label is not None:
        _check_label(trained.model, data.classes, label)
        y = torch.full((n,), label, device=data.test.device)
    if out.suffix == ".png":
        reference = data.space.to_user(data.test.tensors()[0][:2000]).cpu()
        write_whole(out, samples_png(pictures(trained.model, data, n, seed, y), reference))
    else:
        write_whole(out, _array(trained, n, seed, y))
    message(f"wrote {out}")


def _array(trained: "Trained", n: int, seed: int, y: "Tensor | None") -> bytes:
    """``n`` samples as the content of an ``.npy`` file; side information defaults to that of test data."""
    import numpy as np
    import torch

    from pyrogen.measure.evaluate import in_chunks
    from pyrogen.nn.eval_mode import eval_mode
    from pyrogen.random import derive, scoped_seed

    if y is None and trained.data.test.side_fn is not None:
        y = trained.data.test.tensors(seed)[1][:n]
    with scoped_seed(derive(seed, "samples")), torch.no_grad(), eval_mode(trained.model):
        x = in_chunks(trained.model, n if y is None else len(y), y)
    buffer = io.BytesIO()
    np.save(buffer, x.cpu().numpy())
    return buffer.getvalue()


def _check_label(model: Any, classes: tuple[str, ...], label: int) -> None:
    from pyrogen.nn.conditions import Label

    if not isinstance(getattr(model, "condition", None), Label):
        raise ConfigError("--label needs a class-conditional model; this model is unconditional")
    if not 0 <= label < len(classes):
        raise ConfigError(f"--label {label}: the data have classes 0 to {len(classes) - 1} ({', '.join(classes)})")
