"""Batches in exact values: which rows, which noise, of tensors, torch data sets and loaders."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import pyrogen.data.datasets as datasets
from pyrogen.data import Dataset, Space, Split
from pyrogen.data.batches import batch_rows, batches, steps_per_epoch
from pyrogen.data.datasets import names
from pyrogen.data.loading import load
from pyrogen.data.noise import Binarise, Dequantise
from pyrogen.data.step_arguments import iterate_tensors, move_to_device, select_arguments
from pyrogen.data.together import most_together
from pyrogen.errors import DataError
from pyrogen.random import derive, generator, scoped_seed

X = torch.arange(11.0)


def plus_noise(stored: Tensor, generator: torch.Generator) -> Tensor:
    return stored + torch.rand(stored.shape, generator=generator)


@pytest.mark.parametrize("seed", [0, 4])
def test_rows_and_noise_are_functions_of_seed_and_step(seed: int) -> None:
    split = Split(X, y=10 * X.long(), noise=plus_noise, more=(-X,))
    expected = []
    for t in range(7):
        order = torch.randperm(11, generator=generator(seed, "order", t // 3))
        index = order[3 * (t % 3) : 3 * (t % 3) + 3]
        expected.append((plus_noise(X[index], generator(seed, "noise", t)), 10 * index, -X[index]))
    for start in (0, 2, 3, 5):
        found = islice(batches(split, 3, seed, start), 7 - start)
        for ours, theirs in zip(found, expected[start:], strict=True):
            assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert steps_per_epoch(split, 3) == 3


def test_defaults() -> None:
    x = torch.arange(600.0)
    (first,) = next(batches(x))
    assert torch.equal(first, x[torch.randperm(600, generator=generator(0, "order", 0))[:256]])


def test_tensors_alone_and_side_by_side() -> None:
    rows = torch.randperm(11, generator=generator(0, "order", 0))[:4]
    (alone,) = next(batches(X, 4))
    (of_one,) = next(batches((X,), 4))
    assert torch.equal(alone, X[rows])
    assert torch.equal(of_one, X[rows])
    for count in (2, 3):
        found = next(batches(tuple(i * X for i in range(1, count + 1)), 4))
        assert [part.tolist() for part in found] == [(i * X[rows]).tolist() for i in range(1, count + 1)]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ((), "got none"),
        ((X, [1]), "got Tensor, list"),
        ((X, X[:3]), r"equal numbers of rows; got shapes \[\(11,\), \(3,\)\]"),
        ((torch.tensor(1.0),), r"got shapes \[\(\)\]"),
        (X[:3], "--batch-size 3 or less"),
        (TensorDataset(X[:3]), "at least 4 training rows, one batch; got 3"),
        ({"x": X}, "got a dict"),
    ],
)
def test_unsupported_sources(source: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        next(batches(source, 4))


def test_a_whole_data_set_and_a_stream_without_length() -> None:
    with pytest.raises(DataError, match=r"expected one split, e.g. data.train; got the whole data set 'some'"):
        next(batches(Dataset("some", *[Split(X)] * 3, (), Space("real"))))  # type: ignore[arg-type]

    class Endless(IterableDataset[Tensor]):
        def __iter__(self) -> Iterator[Tensor]:
            return iter(X)

    with pytest.raises(DataError, match="a Endless has no length"):
        next(batches(Endless(), 4))
    found = list(islice(batches(DataLoader(Endless(), 4), start=2), 3))  # three batches in an epoch, one of three rows
    assert [part.tolist() for (part,) in found] == [[8, 9, 10], [0, 1, 2, 3], [4, 5, 6, 7]]


@pytest.mark.parametrize("seed", [0, 3])
def test_a_torch_data_set_is_shuffled_under_a_seed_of_the_epoch(seed: int) -> None:
    expected = []
    for epoch in range(3):
        loader = DataLoader(
            TensorDataset(X, -X), 4, shuffle=True, drop_last=True, generator=generator(seed, "order", epoch)
        )
        expected += [tuple(part.tolist() for part in batch) for batch in loader]
    for start in (0, 1, 2, 5):
        found = islice(batches(TensorDataset(X, -X), 4, seed, start), 6 - start)
        assert [tuple(part.tolist() for part in batch) for batch in found] == expected[start:]


def test_noise_in_a_torch_data_set_is_of_the_step_and_the_global_state_is_kept() -> None:
    class Noisy(TensorDataset):
        def __getitem__(self, index: int) -> Any:
            return {"x": self.tensors[0][index] * 0 + torch.rand(())}

    loader = DataLoader(Noisy(X), 11)
    state = torch.get_rng_state()
    found = [batch for (batch,) in islice(batches(loader, seed=2), 3)]
    for t, batch in enumerate(found):
        with scoped_seed(derive(2, "noise", t)):
            assert torch.equal(batch["x"], torch.rand(11))
    again = next(batches(loader, seed=2, start=2, device="cpu"))[0]
    assert torch.equal(again["x"], found[2]["x"])
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(DataError, match="yielded no batch"):
        next(batches(DataLoader(TensorDataset(X), 12, drop_last=True)))


def test_nested_arguments() -> None:
    class Pair(tuple):
        pass

    nested = {"a": [X, (X, 3)], "b": "text"}
    assert len(list(iterate_tensors(nested))) == 2
    moved = move_to_device(nested, "meta")
    assert moved["a"][0].device.type == moved["a"][1][0].device.type == "meta"
    assert moved["a"][1][1] == 3
    assert moved["b"] == "text"
    assert type(moved["a"]) is list
    assert type(moved["a"][1]) is tuple

    class Step:
        takes = {"model": 2}  # noqa: RUF012

    assert select_arguments(Step(), (1, 2, 3)) == (1, 2)
    assert select_arguments(object(), (1, 2, 3)) == (1, 2, 3)


def test_side_information_reaches_every_split() -> None:
    parts = (Split(X, X.long()), Split(X + 20, None), Split(X + 40, X.long()))
    data = Dataset("some", *parts, (), Space("real")).with_side_information(lambda x, y: 2 * x)
    for split in (data.train, data.valid, data.test):
        x, y = split.tensors()
        assert torch.equal(y, 2 * x)
    assert data.name == "some"


UNIT = "density on [0, 1], 256 levels dequantised"


@pytest.mark.parametrize(
    ("name", "shape", "sizes", "space"),
    [
        ("digits", (1, 8, 8), None, "density on [0, 1], 17 levels dequantised"),
        ("digits-binary", (1, 8, 8), None, "mass on {0, 1}"),
        ("digits-logit", (1, 8, 8), None, "density on R (logit), 17 levels dequantised"),
        ("mnist", (1, 28, 28), (50_000, 10_000, 10_000), UNIT),
        ("fashion-mnist-binary", (1, 28, 28), (50_000, 10_000, 10_000), "mass on {0, 1}"),
        ("mnist-logit", (1, 28, 28), (50_000, 10_000, 10_000), "density on R (logit), 256 levels dequantised"),
        ("cifar10", (3, 32, 32), (45_000, 5_000, 10_000), UNIT),
        ("stacked-digits", (3, 8, 8), (20_000, 2_000, 5_000), "density on [0, 1], 17 levels dequantised"),
        ("stacked-mnist", (3, 28, 28), (128_000, 10_000, 10_000), UNIT),
        ("ring", (2,), None, "density on R"),
    ],
)
def test_entries(name: str, shape: tuple[int, ...], sizes: tuple[int, ...] | None, space: str) -> None:
    entry = names()[name]
    assert (entry.shape, str(entry.space)) == (shape, space)
    assert sizes is None or entry.sizes == sizes
    assert entry.noise is not None
    noise: Any = entry.noise(entry.space)
    if name.endswith("binary"):
        levels = 16 if name.startswith("digits") else 255
        stored = torch.tensor([0, levels], dtype=torch.uint8)
        assert noise(stored, torch.Generator()).tolist() == [0, 1]
        halves = torch.full((4000,), levels // 2, dtype=torch.uint8)
        assert noise(halves, torch.Generator().manual_seed(0)).mean().item() == pytest.approx(0.5, abs=0.03)
    elif name != "ring":
        top = torch.full((100,), entry.space.levels - 1, dtype=torch.uint8)
        assert (entry.space.to_user(noise(top, torch.Generator().manual_seed(0))) == 1).all()


def test_names_of_classes() -> None:
    fashion = ("T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
    objects = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    assert names()["fashion-mnist"].classes == names()["fashion-mnist-logit"].classes == fashion
    assert names()["cifar10"].classes == objects
    assert names()["digits"].classes == names()["mnist-binary"].classes == tuple("0123456789")
    assert names()["stacked-digits"].classes == ()


def test_three_images_are_stacked_as_channels(tmp_path: Any) -> None:
    parts = [(torch.arange(5, dtype=torch.uint8).view(5, 1, 1, 1) + 10 * i, None) for i in range(3)]
    stored = datasets._stacked(lambda root, seed: parts, (6, 4, 2), tmp_path, 7)
    for split, (x, _), (found, y) in zip(("train", "valid", "test"), parts, stored, strict=True):
        n = {"train": 6, "valid": 4, "test": 2}[split]
        index = torch.randint(5, (n, 3), generator=generator(0, "stacked", split))
        assert torch.equal(found.flatten(1), x.flatten()[index])  # type: ignore[union-attr]
        assert found.shape == (n, 3, 1, 1)
        assert y is None


def test_frozen_noise_is_of_the_split_and_the_seed() -> None:
    data, other = load("digits", seed=3), load("digits", seed=4)
    entry = names()["digits"]
    for (x, _), part, name in zip(entry.read(None, 3)[1:], (data.valid, data.test), ("valid", "test"), strict=True):  # type: ignore[arg-type]
        assert entry.noise is not None
        noise = entry.noise(data.space)
        assert torch.equal(part.x, noise(x[:], torch.Generator().manual_seed(derive(3, name))))  # type: ignore[arg-type]
    assert not torch.equal(data.test.x, other.test.x)
    ring, again = load("ring", seed=3), names()["ring"].truth
    assert again is not None
    drawn = again.sample(len(ring.test), generator(3, "toy", "test"))  # type: ignore[arg-type]
    assert torch.equal(ring.test.x, ring.space.standardise(drawn))


def test_modes_of_the_toys_in_exact_values() -> None:
    ticks = [-4.0, -2.0, 0.0, 2.0, 4.0]
    grid, ring = names()["grid"].truth, names()["ring"].truth
    assert grid is not None
    assert ring is not None
    assert grid.modes.tolist() == [[a, b] for a in ticks for b in ticks]
    assert (grid.std, ring.std) == (pytest.approx(0.05), pytest.approx(0.01))
    half = 0.5**0.5
    circle = [[1, 0], [half, half], [0, 1], [-half, half], [-1, 0], [-half, -half], [0, -1], [half, -half]]
    assert ring.modes.flatten().tolist() == pytest.approx([c for point in circle for c in point], abs=1e-6)


def test_every_part_of_a_data_set_moves() -> None:
    split = Split(X, X.long(), more=(X,))
    moved = Dataset("some", split, split, split, (), Space("real")).to("meta")
    for part in (moved.train, moved.valid, moved.test):
        assert part.y is not None
        assert {tensor.device.type for tensor in (part.x, part.y, *part.more)} == {"meta"}
    assert Split(X).to("meta").y is None


class TestWeights:
    def test_an_epoch_has_each_row_in_proportion_to_its_weight(self) -> None:
        weights = torch.tensor([0.0, 1.0, 2.0, 5.0, 0.5])
        rows = Split(torch.arange(5), weights=weights)
        counts = torch.zeros(5)
        for epoch in range(200):
            drawn = batch_rows(rows, 5, 0, epoch + 1)
            found = drawn.bincount(minlength=5)
            assert ((found - 5 * weights / weights.sum()).abs() < 1).all()
            counts += found
        assert counts[0] == 0
        assert torch.allclose(counts / counts.sum(), weights / weights.sum(), atol=0.02)

    def test_equal_weights_give_each_row_once(self) -> None:
        rows = Split(torch.arange(1000), weights=torch.full((1000,), 0.3))
        assert batch_rows(rows, 1000, 0, 1).sort().values.tolist() == list(range(1000))

    def test_batches_depend_on_seed_and_step_alone(self) -> None:
        rows = Split(torch.arange(40), weights=torch.rand(40, generator=torch.Generator().manual_seed(0)))
        whole = [batch[0] for batch in islice(batches(rows, 16, 3), 7)]
        later = [batch[0] for batch in islice(batches(rows, 16, 3, start=4), 3)]
        assert all(a.equal(b) for a, b in zip(whole[4:], later, strict=True))
        assert not whole[0].equal(whole[2])

    @pytest.mark.parametrize(
        ("weights", "message"),
        [
            (torch.ones(3), "each of 4 rows, got shape \\(3,\\)"),
            (torch.tensor([1.0, -1, 1, 1]), "at least 0.*-1 to 1"),
            (torch.zeros(4), "one of them above"),
            (torch.tensor([1.0, torch.nan, 1, 1]), "1 NaN"),
        ],
    )
    def test_other_weights_are_refused(self, weights: torch.Tensor, message: str) -> None:
        with pytest.raises(DataError, match=message):
            Split(torch.arange(4), weights=weights)


def test_selected_rows_keep_all_that_belongs_to_them():
    drawn = Split(X, 10 * X.long(), plus_noise, more=(-X,), weights=X).freeze_noise(0)
    index = torch.tensor([7, 0, 3])
    part = drawn.select(index)
    assert part.y is not None
    assert part.weights is not None
    assert torch.equal(part.x[:], drawn.x[index])
    assert (part.y.tolist(), part.more[0].tolist(), part.weights.tolist()) == ([70, 0, 30], [-7, 0, -3], [7, 0, 3])
    assert part.row_keys.tolist() == drawn.row_keys[index.numpy()].tolist() == Split(X).row_keys[index.numpy()].tolist()


@pytest.mark.parametrize(
    "index",
    [torch.tensor([-1, 0, -3]), torch.arange(12) % 5 == 2, torch.tensor([], dtype=torch.long), torch.tensor(4)],
    ids=["from the end", "mask", "none", "one"],
)
def test_a_split_is_indexed_as_a_tensor_is(index: torch.Tensor) -> None:
    x, y, more = torch.randn(12, 3), torch.arange(12), torch.rand(12)
    for found, expected in zip(Split(x, y, more=(more,))[index], (x[index], y[index], more[index]), strict=True):
        assert torch.equal(found, expected)


def of_steps(split: Split, together: int, start: int = 0, part: slice | None = None) -> list[tuple[Tensor, ...]]:
    """The batches of 16 rows after step ``start``, up to step 40, of rows for 7 batches an epoch."""
    source = batches(split, 16, 3, start, part=None if part is None else lambda _: part, together=together)
    return list(islice(source, 40 - start))


@pytest.mark.parametrize("noise", [None, Binarise(255), Dequantise(Space("unit", 256))])
@pytest.mark.parametrize("weights", [None, torch.arange(120.0)])
def test_batches_that_are_read_together_are_the_same(noise: Any, weights: Tensor | None) -> None:
    x = torch.randint(0, 256, (120, 2, 3), dtype=torch.uint8, generator=generator(0))
    stored = x if noise is not None else x.float()
    split = Split(stored, torch.arange(120), noise, more=(torch.randn(120, 4),), weights=weights)
    assert most_together(split, 16) == 16
    alone = of_steps(split, 1)
    for together in (2, 5, 16):
        for start in (0, 1, 4, 16, 23):
            found = of_steps(split, together, start)
            for ours, theirs in zip(found, alone[start:], strict=True):
                assert all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(ours, theirs, strict=True))
    part = slice(4, 12)
    for ours, theirs in zip(of_steps(split, 5, 3, part), of_steps(split, 1, 3, part), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_a_step_may_write_into_a_batch_that_was_read_with_others() -> None:
    split, w = Split(torch.randn(120, 2)), torch.ones(16, 2, requires_grad=True)
    expected = of_steps(split, 1)
    for (x,), (unchanged,) in zip(of_steps(split, 5), expected, strict=True):
        assert torch.equal(x, unchanged)
        x += w
        assert x.grad_fn is not None
        assert x._base is None


def test_what_depends_on_more_than_the_row_is_read_alone() -> None:
    x = torch.randn(120, 2)
    assert most_together(Split(x), 16) == 16
    assert most_together(Split(x, noise=plus_noise), 16) == 1
    assert most_together(Split(x, side_fn=lambda x, y: x), 16) == 1
    assert most_together(Split(x), 12) == 1  # the second batch would begin at another multiple of bytes
    assert most_together(Split(x, y=torch.zeros(120)), 24) == 1
    assert most_together(Split(x, y=torch.arange(120)), 24) == 16
    assert most_together(Split(torch.zeros(120, 0)), 24) == 16
    assert most_together(Split(torch.zeros(120, 784)), 64) == 10  # of 2 MiB
    assert most_together(Split(torch.zeros(120, 784)), 1024) == 1
