"""Batches read by a compiled graph are those that are read eagerly."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.optim import SGD

import pyrogen.compile.reading as reading
from pyrogen.compile.reading import CompiledReading
from pyrogen.data import Binarise, Column, Dequantise, ReadColumns, Space, Split
from pyrogen.data.batches import batches
from pyrogen.data.noise import Stream
from pyrogen.steps import GradientStep
from pyrogen.training.loop import fit

TABLE = Space("real", columns=(Column("a", "integer", step=1.0, low=0.0, cells=9), Column("b", "real")))
SPLITS = {
    "binary": Split(torch.randint(0, 256, (60, 1, 5, 5), dtype=torch.uint8), torch.arange(60), Binarise(255)),
    "unit": Split(torch.randint(0, 17, (60, 7), dtype=torch.uint8), noise=Dequantise(Space("unit", 17))),
    "table": Split(
        torch.randint(0, 9, (60, 2)).double(),
        torch.rand(60, 3),
        ReadColumns(TABLE.standardised(torch.tensor([4.5, 4.1]), torch.tensor([2.6, 2.5]))),
        more=(torch.rand(60), torch.arange(60)),
    ),
}


def enabled() -> CompiledReading:
    read = CompiledReading()
    read.enabled = True
    return read


@pytest.mark.parametrize("name", SPLITS)
@pytest.mark.parametrize("part", [None, lambda n: slice(3, n)], ids=["whole", "part"])
def test_compiled_batches_are_the_eager_ones(name: str, part) -> None:
    read = enabled()
    found = batches(SPLITS[name], 12, 3, part=part, read=read)
    for _, compiled, eager in zip(range(9), found, batches(SPLITS[name], 12, 3, part=part), strict=False):
        assert [t.dtype for t in compiled] == [t.dtype for t in eager]
        assert all(map(torch.equal, compiled, eager))
    assert read.refused is None
    assert read._calls >= 9


def compile_nothing(*_):
    raise AssertionError("nothing is to be compiled")


@pytest.mark.parametrize(
    "split",
    [
        Split(torch.randn(60, 3)),
        Split(torch.zeros(60, 3, dtype=torch.uint8), noise=Dequantise(Space("logit", 256))),
        Split(torch.zeros(60, 3), noise=lambda stored, generator: stored + torch.rand(3, generator=generator)),
        Split(torch.randn(60, 3), torch.zeros(60), side_fn=lambda x, y: x[:, :1] + torch.rand(1)),
    ],
    ids=["no noise", "logit", "user's noise", "user's side information"],
)
def test_other_rows_are_read_eagerly(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_compile", compile_nothing)
    found = zip(range(4), batches(split, 12, read=enabled()), batches(split, 12), strict=False)
    assert all(all(map(torch.equal, one, other)) for _, one, other in found)


def test_a_graph_that_reads_other_data_is_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    split = SPLITS["binary"]
    calls = []

    def wrong_from_the_fourth(split: Split, index, stream):
        def graph(index, key):
            calls.append(key)
            x, *rest = split.read(index, Stream(key, stream.row))
            return (x if len(calls) < 4 else 1 - x, *rest), []

        return graph

    monkeypatch.setattr(reading, "_compile", wrong_from_the_fourth)
    read = enabled()
    found = zip(range(8), batches(split, 12, read=read), batches(split, 12), strict=False)
    assert all(all(map(torch.equal, one, other)) for _, one, other in found)
    assert len(calls) == 4
    assert read.refused == "compiled code reads other data"
    assert "read eagerly: compiled code reads other data" in caplog.text


def test_without_a_compiler_batches_are_read_eagerly(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_compiler(*_):
        raise RuntimeError("no C++ compiler\nhere")

    monkeypatch.setattr(reading, "_compile", no_compiler)
    read = enabled()
    assert all(map(torch.equal, next(batches(SPLITS["unit"], 12, read=read)), next(batches(SPLITS["unit"], 12))))
    assert read.refused == "RuntimeError: no C++ compiler"


@pytest.mark.parametrize("compile", [True, False, None])
def test_batches_are_compiled_where_the_step_is(compile: bool | None, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []

    def note(split, index, stream):
        compiled.append(len(index))
        return lambda index, key: (split.read(index, Stream(key, stream.row)), [])

    monkeypatch.setattr(reading, "_compile", note)
    monkeypatch.setattr("torch._inductor.compile", lambda graph, inputs, options=None: lambda *ts: graph(*ts))
    network = nn.Linear(25, 1)
    step = GradientStep(
        lambda x: {"loss": network(x.flatten(1)).square().mean()}, partial(SGD, lr=0.1), compile=compile
    )
    for _ in fit(step, SPLITS["binary"], steps=6, batch_size=12, every=3):
        pass
    assert compiled == [12] * (compile is True)
