"""A decoder, an encoder or a log-likelihood as a graph of torch.export or ONNX, which runs without pyrogen."""

import io
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyro
import torch
from torch import Tensor, nn

from pyrogen.data.dataset import Dataset
from pyrogen.errors import ConfigError, unknown
from pyrogen.files import write_whole
from pyrogen.nn.eval_mode import eval_mode
from pyrogen.protocols import Density
from pyrogen.pyro_tools.programs import drop_extra_args
from pyrogen.random import scoped_seed
from pyrogen.use.codes import needs_y

PARTS = ("decoder", "encoder", "log_prob")
"""What can be exported of a model that has it."""
SUFFIXES = (".pt2", ".onnx")
TOLERANCE = 1e-5
"""The largest difference of a graph's outputs from those of the model, relative to the largest of them if above 1."""
TRACED, CHECKED = 3, 5
"""The numbers of rows on which a graph is traced and then compared; any other number works as well."""


class _Part(nn.Module):
    """A function of a model as a network, which holds the weights of the model."""

    def __init__(self, model: nn.Module, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.model, self.function = model, function

    def forward(self, *inputs: Tensor) -> Tensor:
        """The function, by position."""
        return self.function(*inputs)


def parts(model: Any) -> dict[str, Callable[..., Tensor]]:
    """The functions of a model that can be exported, by their names in ``PARTS``.

    The decoder is ``decode(z) -> E[x | z]``, or the generator of an implicit model; the encoder is ``encode(x) -> z``;
    ``log_prob(x)`` is in nats. All are in model coordinates, and of a conditional model take y as a second input.
    """
    found = {
        "decoder": getattr(model, "decode", None) or getattr(model, "generator", None),
        "encoder": getattr(model, "encode", None),
        "log_prob": model.log_prob if isinstance(model, Density) else None,
    }
    return {name: drop_extra_args(function) for name, function in found.items() if callable(function)}


def export(model: Any, data: Dataset, path: str | Path, part: str = "decoder") -> Path:
    """Write a part of a model as a file that runs without pyrogen, and check that its outputs are those of the model.

    Args:
        model: the trained model.
        data: its data set, with or without rows: the shapes of its inputs.
        path: ``FILE.pt2``, which ``torch.export.load(path).module()`` reads, or ``FILE.onnx``. The number of rows is
            free in both.
        part: one of ``PARTS``.

    Raises:
        ConfigError: for another suffix, a part that the model lacks, a function that cannot be traced to one graph, or
            a missing package.
        RunError: if the file cannot be written.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"expected a file {' or '.join(SUFFIXES)}; got {path.name!r}")
    if part not in PARTS:
        raise unknown("part", part, PARTS)
    has = parts(model)
    if part not in has:
        raise ConfigError(f"a {type(model).__name__} has no {part}; it has: {', '.join(has) or 'no part to export'}")
    with eval_mode(model), torch.no_grad(), pyro.validation_enabled(False), _quiet():
        inputs, others = (_inputs(model, data, part, n) for n in (TRACED, CHECKED))
        traced = _trace(_Part(model, has[part]), inputs, f"the {part} of a {type(model).__name__}")
        expected = has[part](*others)
        written, found = (_pt2 if path.suffix == ".pt2" else _onnx)(traced, others)
    for outputs in found:
        error = float((outputs - expected).abs().max() / expected.abs().max().clamp_min(1))
        if not error <= TOLERANCE:
            raise ConfigError(f"the {part} as {path.suffix} differs from the model's by {error:.2g}: it is not written")
    return write_whole(path, written)


def _inputs(model: Any, data: Dataset, part: str, n: int) -> tuple[Tensor, ...]:
    """Inputs of a part: rows of noise, or draws of z, and side information where the model needs it."""
    device = next((weight.device for weight in model.state_dict().values()), torch.device("cpu"))
    with scoped_seed(n):
        x = torch.rand(n, *data.shape, device=device)
        x = x.round() if data.space.support == "binary" else x
        y = _side(model, data, x) if needs_y(model) else ()
        if part != "decoder":
            return (x, *y)
        if not hasattr(model, "decode"):
            return (model.prior(n), *y)
        z = drop_extra_args(model.encode)(x, *y)
        return (torch.randn_like(z) if z.is_floating_point() else z, *y)


def _side(model: Any, data: Dataset, x: Tensor) -> tuple[Tensor, ...]:
    """Side information of as many rows: labels, a vector of attributes, or a part of the image."""
    n, attributes = len(x), data.description.attributes
    if data.test.side_fn is not None:
        given = data.test.side_fn(x, None)
        return () if given is None else (given,)
    if attributes:
        return (torch.randn(n, attributes, device=x.device),)
    return (torch.arange(n, device=x.device) % len(data.classes),)


def _trace(part: nn.Module, inputs: tuple[Tensor, ...], what: str) -> Any:
    """The graph of a part, with a free number of rows."""
    rows = torch.export.Dim("rows")
    try:
        return torch.export.export(part, inputs, dynamic_shapes=(tuple({0: rows} for _ in inputs),), strict=False)
    except Exception as error:  # whatever a program does that a graph cannot
        raise ConfigError(
            f"{what} cannot be traced to one graph: {str(error).strip().splitlines()[0][:200]}"
        ) from error


def _pt2(traced: Any, inputs: tuple[Tensor, ...]) -> tuple[bytes, list[Tensor]]:
    """The file of torch.export, and the outputs of what is read back from it."""
    buffer = io.BytesIO()
    torch.export.save(traced, buffer)
    buffer.seek(0)
    return buffer.getvalue(), [torch.export.load(buffer).module()(*inputs)]


def _onnx(traced: Any, inputs: tuple[Tensor, ...]) -> tuple[bytes, list[Tensor]]:
    """The file of ONNX, and its outputs by onnxruntime where that is installed."""
    try:
        import onnxscript  # noqa: F401  # torch writes ONNX by it
    except ImportError as error:
        raise ConfigError("a file .onnx needs onnxscript: pip install 'pyrogen[onnx]'") from error
    try:
        program = torch.onnx.export(traced, dynamo=True, verbose=False)
    except torch.onnx.OnnxExporterError as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0][:200]
        raise ConfigError(f"ONNX has no operator for a part of the graph ({reason}); .pt2 has all") from error
    assert program is not None
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "part.onnx")
        program.save(file, external_data=False)
        written = Path(file).read_bytes()
    try:
        import onnxruntime
    except ImportError:
        return written, []
    session = onnxruntime.InferenceSession(written, providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]
    (output,) = session.run(None, {name: part.cpu().numpy() for name, part in zip(names, inputs, strict=True)})
    return written, [torch.from_numpy(output).to(inputs[0].device)]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep messages of torch's exporters about their own parts to themselves."""
    level = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(level)
