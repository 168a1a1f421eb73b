"""When does a model miss modes: families on parts of the training data.

Modes are those of a known density, or the classes of labelled images, which a classifier of all training data tells
apart. Coverage is the share of test data near a sample, in pixels or columns (Naeem et al., 2020).
"""

from typing import Any

from pyrogen.data.dataset import Dataset
from pyrogen.errors import ConfigError
from pyrogen.experiments.arms import Models, Sizes, size_arms
from pyrogen.experiments.findings import by_line
from pyrogen.experiments.plots import lines_svg, score_lines
from pyrogen.experiments.registry import Card, Entry, Plan, register
from pyrogen.measure.coverage import mode_count_scores, mode_scores
from pyrogen.measure.features.classifier import Classifier, get_classifier
from pyrogen.measure.fid import density_coverage
from pyrogen.measure.samples import N_SAMPLES, draw_samples
from pyrogen.random import random_rows
from pyrogen.recipes.options import BatchSize, Steps
from pyrogen.report.formatting import format_number


@register("With how few training data does each family begin to miss modes?", "the number of training data")
def modes(
    data: Dataset,
    *,
    models: Models = ("kde", "mixture", "realnvp", "vae", "gan"),
    sizes: Sizes = "auto",
    steps: Steps = 500,
    batch_size: BatchSize = 128,
) -> Plan:
    """Recipes at their own options, trained for as many steps on every size."""
    known = data.truth is not None and data.truth.modes is not None
    if not known and not (data.is_image and data.classes):
        raise ConfigError(f"modes needs labelled images or a density of known modes, such as grid; got {data.name!r}")
    arms = size_arms(models, sizes, data, {"steps": steps, "batch_size": batch_size})
    columns = ("modes", *(("high_quality",) if known else ()), "reverse_kl", "coverage")
    return Plan(arms, _Modes, columns, _findings, _figures, compared=())


class _Modes:
    """Counts the modes of samples, and measures how much of the test data they cover.

    Args:
        data, part: the data set, and the part that models are trained on.
        seed: of all draws.
    """

    def __init__(self, data: Dataset, part: Dataset, seed: int) -> None:
        self.data, self.seed = data, seed
        self.test = random_rows(data.space.to_comparable(data.test.tensors()[0]), N_SAMPLES, seed, "modes")
        self.classifier: Classifier | None = None if data.truth is not None else get_classifier(data)

    def __call__(self, model: Any, data: Dataset) -> Entry:
        """The scores of a trained model."""
        samples = draw_samples(model, data, N_SAMPLES, self.seed)
        seen, truth = data.space.to_comparable(samples), self.data.truth
        if self.classifier is None:
            scores = mode_scores(data.space.to_user(samples), truth.modes, truth.std)
        else:
            scores = mode_count_scores(self.classifier(seen)[1].argmax(1), len(self.data.classes))
        cover = density_coverage(seen[: len(self.test)].flatten(1), self.test.flatten(1), errors=False)
        return {"scores": scores | {"coverage": cover["coverage"]}}


def _findings(card: Card) -> list[str]:
    found = []
    for line, arms in by_line(card).items():
        missed = [arm for arm in arms if arm["scores"]["modes"]["value"] < arm["scores"]["modes"]["of"] - 0.5]
        counts = ", ".join(f"{arm['scores']['modes']['value']:.1f} with {arm['at']:,}" for arm in missed)
        first, last = (format_number(arm["scores"]["coverage"]["value"]) for arm in (arms[0], arms[-1]))
        some = (
            f"of {arms[0]['scores']['modes']['of']} modes it finds {counts}"
            if missed
            else "it finds all modes at every size"
        )
        ends = f"coverage {first} with {arms[0]['at']:,} and {last} with {arms[-1]['at']:,} training data"
        found.append(f"{line}: {some}; {ends}.")
    return found


def _figures(card: Card) -> dict[str, str]:
    titles = {
        "coverage": ("Share of test data near a sample", "coverage"),
        "reverse_kl": ("Divergence of the frequencies of modes from equal ones", "KL, nats"),
        "modes": ("Modes found", "modes"),
    }
    return {title: lines_svg(score_lines(card, name), "training data", y) for name, (title, y) in titles.items()}
