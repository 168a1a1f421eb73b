"""One flow, three losses: maximum likelihood, a critic, and their sum; beside it a Gaussian on every training datum.

    likelihood    min_θ  -E[log p_θ(x)]
    adversarial   min_θ max_f  E[f(x)] - E[f(x_θ)]                       f 1-Lipschitz, by a gradient penalty
    both          min_θ max_f  E[f(x)] - E[f(x_θ)] - λ E[log p_θ(x)]

The likelihood of all three is exact. Grover, Dhar and Ermon, "Flow-GAN: combining maximum likelihood and adversarial
learning in generative models", AAAI 2018.
"""

from typing import Any

from pyrogen.comparison.scoring import parameter_count
from pyrogen.data.dataset import Dataset
from pyrogen.experiments.findings import difference_sentence, ordered_sentence
from pyrogen.experiments.references import References, anchors
from pyrogen.experiments.registry import Arm, Card, Entry, Plan, register
from pyrogen.measure.evaluate import evaluate
from pyrogen.measure.features import default_spaces
from pyrogen.protocols import Score
from pyrogen.recipes.flows import CouplingHidden, CouplingLayers, CouplingNetwork, Scale
from pyrogen.recipes.hybrids import LikelihoodWeight
from pyrogen.recipes.options import BatchSize, LearningRate, Steps
from pyrogen.report.page.quality_plot import AXES, quality_svg

LIKELIHOOD, ADVERSARIAL, BOTH, KERNELS = "likelihood", "adversarial", "both", "kernels"
MEDIAN = "median_log_likelihood"


@register(
    "Is a flow that is trained by a critic a worse density than one that is trained by its likelihood, and are its "
    "samples better?",
    "the loss of one flow",
)
def same_flow(
    data: Dataset,
    *,
    layers: CouplingLayers = 6,
    hidden: CouplingHidden = (64, 64),
    network: CouplingNetwork = "mlp",
    scale: Scale = True,
    weight: LikelihoodWeight = 1.0,
    steps: Steps = 1000,
    batch_size: BatchSize = 128,
    lr: LearningRate = 1e-3,
) -> Plan:
    """The flow of ``realnvp`` and of ``flow-gan``, and ``kde``, whose bandwidth is selected on validation data."""
    flow = {"layers": layers, "hidden": hidden, "network": network, "scale": scale}
    budget = {"steps": steps, "batch_size": batch_size, "lr": lr}
    arms = (
        Arm(LIKELIHOOD, "realnvp", flow | budget),
        Arm(ADVERSARIAL, "flow-gan", flow | budget | {"weight": 0.0}),
        Arm(BOTH, "flow-gan", flow | budget | {"weight": weight}),
        Arm(KERNELS, "kde", {"batch_size": batch_size}),
    )
    columns = (
        "log_likelihood",
        MEDIAN,
        "mmd2",
        "c2st",
        *(("fid", "kid") if len(default_spaces(data)) > 1 else ("swd",)),
    )
    return Plan(arms, _scorer, columns, _findings, _figures, anchors)


class _Flows(References):
    """All scores of ``evaluate``, and the median of the log-likelihood, as its mean can be that of a few data."""

    def __call__(self, model: Any, data: Dataset) -> Entry:
        """The scores of a trained model."""
        scores = evaluate(model, data, seed=self.seed, spaces=self.references)
        known = scores["log_likelihood"]
        assert known.values is not None
        middle = float(known.values.median()) + data.space.log_det
        scores[MEDIAN] = Score(middle, 0.0, "statistic", "nats", {"n": len(known.values)})
        return {"scores": scores, "parameters": parameter_count(model)}


def _scorer(data: Dataset, part: Dataset, seed: int) -> _Flows:
    return _Flows(part, seed)


def _findings(card: Card) -> list[str]:
    return [
        difference_sentence(card, "log_likelihood", LIKELIHOOD, ADVERSARIAL),
        difference_sentence(card, "log_likelihood", KERNELS, ADVERSARIAL),
        difference_sentence(card, MEDIAN, LIKELIHOOD, ADVERSARIAL),
        difference_sentence(card, "log_likelihood", LIKELIHOOD, BOTH),
        *(ordered_sentence(card, name) for name in card["columns"] if name in ("mmd2", "c2st", "fid", "kid")),
        *(difference_sentence(card, name, KERNELS, ADVERSARIAL) for name in ("mmd2", "c2st")),
    ]


def _figures(card: Card) -> dict[str, str]:
    plots = {title: quality_svg(card["arms"], card["anchors"], measure) for measure, title in AXES.items()}
    return {f"Log-likelihood and {title}": svg for title, svg in plots.items() if svg is not None}
