"""Noise that a compiled graph draws is that of the noise itself."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from hosts import interpret
from torch import nn
from torch.optim import SGD

from pyrogen.compile import CompiledNoise
from pyrogen.data import Binarise, Column, Dequantise, ReadColumns, Space, Split
from pyrogen.data.batches import batches
from pyrogen.data.noise import Stream, StreamedNoise
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


def enabled(split: Split) -> Split:
    """The split with its noise compiled."""
    assert isinstance(split.noise, StreamedNoise)
    return replace(split, noise=CompiledNoise(split.noise))


@pytest.mark.parametrize("name", SPLITS)
@pytest.mark.parametrize("part", [None, lambda n: slice(3, n)], ids=["whole", "part"])
def test_batches_of_compiled_noise_are_the_same(name: str, part) -> None:
    split = enabled(SPLITS[name])
    found = batches(split, 12, 3, part=part)
    for _, compiled, eager in zip(range(9), found, batches(SPLITS[name], 12, 3, part=part), strict=False):
        assert [t.dtype for t in compiled] == [t.dtype for t in eager]
        assert all(map(torch.equal, compiled, eager))
    assert split.noise.refused is None
    assert split.noise._calls >= 9


def test_noise_of_other_operations_is_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    def compile_nothing(*_):
        raise AssertionError("nothing is to be compiled")

    monkeypatch.setattr(CompiledNoise, "_compile", compile_nothing)
    split = Split(torch.randint(0, 256, (60, 3), dtype=torch.uint8), noise=Dequantise(Space("logit", 256)))
    compiled = enabled(split)
    for _, one, other in zip(range(4), batches(compiled, 12), batches(split, 12), strict=False):
        assert all(map(torch.equal, one, other))
    assert torch.equal(compiled.tensors(3)[0], split.tensors(3)[0])  # drawn by a generator
    assert compiled.noise.refused is None


def test_a_graph_that_gives_other_data_is_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    split, calls = SPLITS["binary"], []

    def wrong_from_the_fourth(self, stored, draws):
        def graph(stored, key):
            calls.append(key)
            x = self.noise(stored, Stream(key, draws.row))
            return (x if len(calls) < 4 else 1 - x,), []

        return graph

    monkeypatch.setattr(CompiledNoise, "_compile", wrong_from_the_fourth)
    compiled = enabled(split)
    for _, one, other in zip(range(8), batches(compiled, 12), batches(split, 12), strict=False):
        assert all(map(torch.equal, one, other))
    assert len(calls) == 4
    assert compiled.noise.refused == "compiled code gives other data"
    assert "drawn eagerly: compiled code gives other data" in caplog.text


def test_without_a_compiler_noise_is_drawn_eagerly(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_compiler(*_):
        raise RuntimeError("no C++ compiler\nhere")

    monkeypatch.setattr(CompiledNoise, "_compile", no_compiler)
    compiled = enabled(SPLITS["unit"])
    assert all(map(torch.equal, next(batches(compiled, 12)), next(batches(SPLITS["unit"], 12))))
    assert compiled.noise.refused == "RuntimeError: no C++ compiler"


@pytest.mark.parametrize("compile", [True, False, None])
def test_noise_is_compiled_where_the_step_is(compile: bool | None, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []

    def note(self, stored, draws):
        compiled.append(len(stored))
        return lambda stored, key: ((self.noise(stored, Stream(key, draws.row)),), [])

    monkeypatch.setattr(CompiledNoise, "_compile", note)
    monkeypatch.setattr("torch._inductor.compile", interpret)
    network = nn.Linear(25, 1)
    step = GradientStep(
        lambda x: {"loss": network(x.flatten(1)).square().mean()}, partial(SGD, lr=0.1), compile=compile
    )
    for _ in fit(step, SPLITS["binary"], steps=6, batch_size=12, every=3):
        pass
    assert compiled == [12] * (compile is True)
