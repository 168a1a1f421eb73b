"""Judge samples of a model: what is wrong with them, and what a sample of this size cannot show."""

from collections.abc import Callable, Mapping, Sequence
from math import ceil, log
from typing import Any, Self

import torch
from torch import Tensor

from pyrogen.data.checks import check_sets
from pyrogen.data.dataset import Dataset
from pyrogen.measure.verdict.cells import Cells, clusters, count_clusters
from pyrogen.measure.verdict.copying import NEIGHBOURS, Pool, TransformedPool, c_t
from pyrogen.measure.verdict.fidelity import STRAY_FACTOR, STRAY_RANKS, outlyingness, separable, stray
from pyrogen.measure.verdict.hypothesis import FAULTS, Test
from pyrogen.measure.verdict.neighbours import nearest
from pyrogen.measure.verdict.variety import FACTOR, distinct, missing, repeated
from pyrogen.measure.verdict.verdict import ALPHA, Verdict
from pyrogen.random import random_rows

FEWEST = 50
"""The fewest samples and held-out data; with fewer, no test has power."""
MOST_TRAINING, MOST_HELD, MOST_SAMPLES = 5000, 2000, 2000
"""The most rows of each set."""
MOST_POOLED = 20_000, 10_000
"""The most training and held-out data of the tests of copying, whose power grows with them."""
Embedding = Callable[[Tensor], Tensor]
"""A map to a feature space, ``(n, *event) -> (n, d)``, on the CPU."""


class Judge:
    """Tests samples for copies, samples off the data, lack of variety and missing parts of the data.

    What depends on the data alone is computed once, for any number of models.

    Args:
        train: the data that the models were trained on, ``(·, *event)``, images in [0, 1] or standardised columns.
        held: data of the same distribution that they were not trained on.
        labels: of the training data, ``long``; then missing classes are found by name.
        classes: the names of the classes.
        features: further spaces in which copies are sought: ``(n, *event) -> (n, d)`` by name.
        seed: of all random choices.

    Raises:
        DataError: for fewer than 50 rows of a set, different shapes, or values that are not finite.
    """

    def __init__(
        self,
        train: Tensor,
        held: Tensor,
        *,
        labels: Tensor | None = None,
        classes: Sequence[str] = (),
        features: Mapping[str, Embedding] | None = None,
        seed: int = 0,
    ) -> None:
        check_sets("the verdict", FEWEST, train=train, held=held)
        train, held = (x.detach().float().cpu() for x in (train, held))
        self.seed, self.classes = seed, tuple(classes)
        self.sizes = {"train": len(train), "held": len(held)}
        self.space = "pixels" if train.ndim == 4 else "values"
        rows = random_rows(torch.arange(len(train)), MOST_TRAINING, seed, "verdict", "train")
        self.train, self.held = train[rows], random_rows(held, MOST_HELD, seed, "verdict", "held")
        self.labels = None if labels is None else labels.cpu()[rows]
        self.clusters = clusters(self.train, count_clusters(len(self.held)), seed)
        self.neighbours = nearest(self.train, self.train, NEIGHBOURS, itself=True)
        self.of_held = nearest(self.held, self.train, NEIGHBOURS)
        self.scale = self.neighbours[0].mean(1)
        real = self.of_held, self.neighbours
        self.distance = torch.cat([distance.mean(1) for distance, _ in real])
        self.outlyingness = torch.cat([outlyingness(*found, self.scale) for found in real])
        a, b = (random_rows(x, n, seed, "verdict", "pool") for x, n in zip((train, held), MOST_POOLED, strict=True))
        self.pools: list[tuple[Pool, Embedding]] = [(Pool(a, b, self.space, seed), lambda x: x)]
        if self.space == "pixels":
            transformed = TransformedPool(a, b, "pixels up to shift, contrast and noise", seed)
            self.pools.append((transformed, lambda x: x))
        for name, embed in (features or {}).items():
            self.pools.append((Pool(embed(a), embed(b), name, seed), embed))

    @classmethod
    def of(cls, data: Dataset, *, features: Mapping[str, Embedding] | None = None, seed: int = 0) -> Self:
        """A judge of samples in comparable form (``data.space.to_comparable``), by a whole data set.

        Validation and test data are both held out.

        Args:
            data: the data set.
            features: as for the class, of data in comparable form.
            seed: of noise and of all random choices.
        """
        train, *held = (data.space.to_comparable(part.tensors(seed)[0]) for part in (data.train, data.valid, data.test))
        labels = data.train.y[data.train.sample_index] if data.classes and data.train.y is not None else None
        return cls(train, torch.cat(held), labels=labels, classes=data.classes, features=features, seed=seed)

    def __call__(self, samples: Tensor) -> Verdict:
        """Judge samples of a model, ``(n, *event)``, at least 50; of more than 2,000, as many at random.

        Raises:
            DataError: for fewer samples, another shape than the data, or values that are not finite.
        """
        check_sets("the verdict", FEWEST, held=self.held, samples=samples)
        some = random_rows(samples.detach().float().cpu(), MOST_SAMPLES, self.seed, "verdict", "samples")
        found = nearest(some, self.train, NEIGHBOURS)
        cells = [self._cells(self.clusters, found[1])]
        if self.labels is not None and len(self.classes) > 1:
            cells.append(self._cells(self.labels, found[1], self.classes))
        once = distinct(some, self.held)
        distance, index = found[0][once], found[1][once]
        tests = (
            *(test for pool, embed in self.pools for test in pool.tests(embed(some), once)),
            c_t(found[0][:, 0], self.of_held[0][:, 0], cells[0], self.space, self.seed),
            separable(some[once], self.held, cells[0].of_samples(once), self.space, self.seed),
            stray(distance.mean(1), self.distance, "far from data", self.space),
            stray(outlyingness(distance, index, self.scale), self.outlyingness, "far for its region", self.space),
            repeated(some, self.held, cells[0], self.space, self.seed),
            *(missing(partition, self.space, self.seed) for partition in cells),
        )
        sizes = {"samples": len(some), **self.sizes}
        return Verdict(tests, self._limits(tests, cells[-1], len(some)), sizes)

    def _cells(self, of_train: Tensor, found: Tensor, names: tuple[str, ...] = ()) -> Cells:
        """The partition by the cell of each training datum."""
        k = len(names) or int(of_train.max()) + 1
        rows = (found, self.of_held[1], self.neighbours[1])
        of_samples, of_held, itself = (of_train[index[:, 0]] for index in rows)
        return Cells(k, of_samples, of_held, itself, names)

    def _limits(self, tests: Sequence[Test], cells: Cells, n: int) -> str:
        """The smallest faults that can reach ``ALPHA``, in words.

        All k copies come first in the order of nearness, with probability ``(n / (n + m))^k`` by chance; likewise all
        k outliers; and an empty cell of c real data has probability ``(1 - q)^c`` at half its share.
        """
        counts = {fault: sum(t.decides and t.fault == fault for t in tests) for fault in FAULTS}
        level = {fault: ALPHA / (len(FAULTS) * counts[fault]) for fault in FAULTS}
        train, held = self.pools[0][0].sizes
        first = min(n / (n + len(self.held)), train / (train + held))
        copied = ceil(log(level["copies"]) / log(first) * self.sizes["train"] / train)
        used, real = len(cells.samples), len(cells.held) + len(cells.train)
        odds = STRAY_FACTOR * used / (STRAY_FACTOR * used + real)
        strays = ceil(log(level["off the data"] / len(STRAY_RANKS)) / log(odds))
        empty = log(level["misses part of the data"] / (2 * cells.k)) / log(FACTOR * real / (used + FACTOR * real))
        sizes = f"{n:,} samples and {self.sizes['held']:,} held-out data"
        return (
            f"{sizes} cannot show fewer than {copied} exact copies, fewer than "
            f"{strays} samples far from the data, or the loss of less than {empty / real:.1%} of the data; nor faults "
            "that leave distances and the shares of classes and clusters as they are"
        )


def judge_samples(samples: Tensor, train: Tensor, held: Tensor, **settings: Any) -> Verdict:
    """A verdict on one sample: ``Judge(train, held, **settings)(samples)``."""
    return Judge(train, held, **settings)(samples)
