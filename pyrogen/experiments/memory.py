"""When does a model begin to copy: families on parts of the training data.

    gap = E_train[log p(x)] - E_test[log p(x)]

in nats per datum, where there is a likelihood; and the C_T statistic and the verdict on samples, for all.
"""

from typing import Any

from pyrogen.data.dataset import Dataset
from pyrogen.experiments.arms import Models, Sizes, size_arms
from pyrogen.experiments.findings import by_line
from pyrogen.experiments.likelihood import log_likelihood
from pyrogen.experiments.plots import lines_svg, score_lines
from pyrogen.experiments.registry import Card, Entry, Plan, register
from pyrogen.measure.samples import N_SAMPLES, draw_samples
from pyrogen.measure.verdict import Judge
from pyrogen.protocols import Kind, Score
from pyrogen.recipes.options import BatchSize, Steps
from pyrogen.report.formatting import format_number


@register("With how few training data does each family begin to copy them?", "the number of training data")
def memory(
    data: Dataset,
    *,
    models: Models = ("kde", "mixture", "realnvp", "vae", "gan"),
    sizes: Sizes = "auto",
    steps: Steps = 500,
    batch_size: BatchSize = 128,
) -> Plan:
    """Recipes at their own options, trained for as many steps on every size."""
    arms = size_arms(models, sizes, data, {"steps": steps, "batch_size": batch_size})
    columns = ("log_likelihood", "generalisation_gap", "c_t", "copies")
    return Plan(arms, _Copies, columns, _findings, _figures, compared=())


class _Copies:
    """Scores how much models lean on their training data.

    Args:
        data, part: the data set, and the part that models are trained on.
        seed: of all draws.
    """

    def __init__(self, data: Dataset, part: Dataset, seed: int) -> None:
        self.seed, self.judge = seed, Judge.of(part, seed=seed)

    def __call__(self, model: Any, data: Dataset) -> Entry:
        """The scores of a trained model, and the verdict on its samples."""
        verdict = self.judge(data.space.to_comparable(draw_samples(model, data, N_SAMPLES, self.seed)))
        c_t = next(test for test in verdict.tests if test.name == "C_T")
        copies = float("copies" in verdict.found)
        scores = {
            "c_t": Score(c_t.value, 0.0, "statistic", "deviations", {"p_value": c_t.p_value}),
            "copies": Score(copies, 0.0, "statistic", "share", {"p_value": verdict.p_values["copies"]}),
        }
        test, train = (log_likelihood(model, part, self.seed) for part in (data.test, data.train))
        if test is not None and train is not None:
            kind: Kind = "statistic" if test.kind == "exact" else "estimate"
            error = (test.stderr**2 + train.stderr**2) ** 0.5
            scores["log_likelihood"] = test
            scores["generalisation_gap"] = Score(train.value - test.value, error, kind, "nats")
        return {"scores": scores, "verdict": verdict.as_dict()}


def _findings(card: Card) -> list[str]:
    return [f"{line}: {_of_line(arms)}." for line, arms in by_line(card).items()]


def _of_line(arms: list[dict[str, Any]]) -> str:
    copied = [f"{arm['at']:,}" for arm in arms if arm["scores"]["copies"]["value"] > 0.5]
    text = f"copies found on most seeds with {', '.join(copied)} training data" if copied else "copies found at no size"
    first, last = arms[0], arms[-1]
    names = (("c_t", "C_T", ""), ("generalisation_gap", "generalisation gap", " nats"))
    for name, title, unit in ((n, t, u) for n, t, u in names if n in first["scores"]):
        a, b = (format_number(arm["scores"][name]["value"]) for arm in (first, last))
        text += f"; {title} {a}{unit} with {first['at']:,} and {b}{unit} with {last['at']:,}"
    return text


def _figures(card: Card) -> dict[str, str]:
    rows = "training data"
    return {
        "C_T: negative where samples are nearer to training data than held-out data are": lines_svg(
            score_lines(card, "c_t"), rows, "C_T, deviations", level=0.0
        ),
        "Generalisation gap: log-likelihood of training less that of test data": lines_svg(
            score_lines(card, "generalisation_gap"), rows, "gap, nats", level=0.0
        ),
        "Log-likelihood of test data": lines_svg(score_lines(card, "log_likelihood"), rows, "nats"),
    }
