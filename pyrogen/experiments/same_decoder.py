"""One decoder, five ways to train it; as a density it is g(z) + σ ε, with the σ that fits validation data best.

    elbo           max E_q[log N(x; g(z), s²)] - KL(q(z | x) ‖ N(0, I))
    gan, wgan      min over g, max over a critic: non-saturating with R1, Wasserstein with a gradient penalty
    mmd            min MMD²(x, g(z))
    autoencoder    min E‖x - g(f(x))‖², then a mixture of Gaussians in place of N(0, I), fitted to the codes f(x)

The likelihood is bounded from below by annealed importance sampling, whose path gives the rate-distortion curve. Wu et
al., "On the quantitative analysis of decoder-based generative models", ICLR 2017; Huang et al., "Evaluating lossy
compression rates of deep generative models", ICML 2020; Ghosh et al., "From variational to deterministic
autoencoders", ICLR 2020.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from pyrogen.comparison.scoring import parameter_count
from pyrogen.data.dataset import Dataset
from pyrogen.errors import ConfigError
from pyrogen.experiments.findings import difference_sentence, ordered_sentence
from pyrogen.experiments.plots import lines_svg
from pyrogen.experiments.references import References, anchors
from pyrogen.experiments.registry import Arm, Card, Entry, Plan, register
from pyrogen.explicit.mixture import GaussianMixture
from pyrogen.measure.ais import ais
from pyrogen.measure.evaluate import evaluate
from pyrogen.nn.noise import NormalNoise
from pyrogen.protocols import Score
from pyrogen.random import derive
from pyrogen.recipes.options import BatchSize, EncoderHidden, Latent, LearningRate, Positive, Size, Steps
from pyrogen.reconstruction import Autoencoder

COMPONENTS = 10
"""The Gaussians fitted to the codes of the autoencoder."""


@register(
    "How good a density, and how good samples, does one decoder become by each way of training it?",
    "the training of one decoder",
)
def same_decoder(
    data: Dataset,
    *,
    latent: Latent = 10,
    hidden: EncoderHidden = (128, 128),
    steps: Steps = 1000,
    batch_size: BatchSize = 128,
    lr: LearningRate = 1e-3,
    judged: Annotated[Size, Field(description="test data of annealed importance sampling")] = 100,
    gap: Annotated[Positive, Field(description="nats between its bounds on simulated data")] = 1.0,
    minutes: Annotated[Positive, Field(description="the most time for it, for each model and seed")] = 0.5,
) -> Plan:
    """The decoder of ``vae``, ``gmmn`` and ``autoencoder``, judged without the observation model of any."""
    if data.space.probability == "mass":
        raise ConfigError(f"same-decoder needs data with a density; {data.name!r} is a {data.space}")
    network = {"latent": latent, "hidden": hidden, "steps": steps, "batch_size": batch_size, "lr": lr}
    arms = (
        Arm("elbo", "vae", network | {"likelihood": "gaussian"}),
        Arm("gan", "gmmn", network | {"loss": "non_saturating"}),
        Arm("wgan", "gmmn", network | {"loss": "wasserstein"}),
        Arm("mmd", "gmmn", network | {"loss": "mmd"}),
        Arm("autoencoder", "autoencoder", network),
    )
    annealing = {"n": judged, "gap": gap, "minutes": minutes}

    def scorer(data: Dataset, part: Dataset, seed: int) -> "_Decoders":
        return _Decoders(part, seed, annealing)

    columns = ("ais", "gap", "noise", "kde", "mmd2", "c2st", *(("fid",) if data.is_image and data.classes else ()))
    return Plan(arms, scorer, columns, _findings, _figures, anchors)


class Decoded(nn.Module):
    """Draws of a decoder alone, ``x = g(z)``.

    Args:
        model: with ``decode``, or else a generator.
        base: p(z), with ``sample(n)`` and ``log_prob(z)``.
        latent: the dimension of z.
    """

    def __init__(self, model: Any, base: nn.Module, latent: int) -> None:
        super().__init__()
        self.trained, self.base, self.latent = model, base, latent

    def decode(self, z: Tensor) -> Tensor:
        """g(z), ``(batch, *shape)``."""
        generate = getattr(self.trained, "decode", None) or self.trained.generator
        x: Tensor = generate(z)
        return x

    @torch.no_grad()
    def sample(self, n: int, y: Tensor | None = None) -> Tensor:
        """Draw ``(n, *shape)``."""
        base: Any = self.base
        return self.decode(base.sample(n))


class _Decoders(References):
    """The bound by annealed importance sampling, and all scores of samples, of decoders without observation model.

    Args:
        data: the data set.
        seed: of all draws.
        annealing: settings of annealed importance sampling.
    """

    def __init__(self, data: Dataset, seed: int, annealing: Mapping[str, Any]) -> None:
        super().__init__(data, seed)
        self.annealing = annealing

    def __call__(self, model: Any, data: Dataset) -> Entry:
        """The scores of a trained model."""
        decoded = self.decoded(model, data)
        bound = ais(decoded, data, seed=self.seed, **self.annealing)
        scores = evaluate(decoded, data, seed=self.seed, spaces=self.references) | {
            "ais": bound,
            "gap": Score(bound.detail["gap"], bound.detail["gap_stderr"], "estimate", "nats"),
            "noise": Score(bound.detail["noise"], 0.0, "statistic", "data"),
        }
        return {"scores": scores, "parameters": parameter_count(decoded)}

    def decoded(self, model: Any, data: Dataset) -> Decoded:
        """The decoder of a trained model, with its prior."""
        base: nn.Module = NormalNoise(model.latent)
        if isinstance(model, Autoencoder):
            with torch.no_grad():
                codes = model.encode(data.train.tensors(self.seed)[0])
            base = GaussianMixture.from_em(codes, COMPONENTS, "full", seed=derive(self.seed, "codes") % 2**32)
        device = next(model.parameters()).device
        return Decoded(model, base.to(device), model.latent).eval()


def _findings(card: Card) -> list[str]:
    return [
        ordered_sentence(card, "ais"),
        *(difference_sentence(card, "ais", "elbo", name) for name in card["arms"] if name != "elbo"),
        _kernel_order(card),
        *(ordered_sentence(card, name) for name in ("mmd2", "c2st", "fid") if name in card["columns"]),
    ]


def _kernel_order(card: Card) -> str:
    """The order by the kernel-density estimate beside that by annealed importance sampling."""
    finished = {name: arm["scores"] for name, arm in card["arms"].items() if arm["scores"]}
    by_kernels, by_annealing = (
        sorted(finished, key=lambda name: -finished[name][score]["value"]) for score in ("kde", "ais")
    )
    agree = "the same" if by_kernels == by_annealing else "another"
    return f"The kernel-density estimate has {agree} order: {', '.join(by_kernels)}."


def _figures(card: Card) -> dict[str, str]:
    curves = {}
    for name, arm in card["arms"].items():
        found = arm["scores"].get("ais", {}).get("rate_distortion")
        if found:
            points = sorted(zip(found["distortion"], found["rate"], strict=True))
            curves[name] = [(distortion, {"value": rate}) for distortion, rate in points if distortion > 0 and rate > 0]
    title = "Rate against distortion along the path of annealed importance sampling, first seed; lower is better"
    return {title: lines_svg(curves, "squared error per datum", "rate, nats", log_y=True)}
