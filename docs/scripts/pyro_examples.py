"""Pyro's examples under Pyro's SVI and under pyrogen's: the same losses, from the same seed.

    python docs/scripts/pyro_examples.py /path/to/pyro [-k dmm] [--steps 10]

Models and guides are those of a checkout of pyro-ppl/pyro; the data are small and made up, where the examples would
download theirs. Prints the largest relative difference of a loss to Pyro's for each way to train.
"""

import argparse
import contextlib
import functools
import importlib.util
import io
import logging
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pyro
import torch
from pyro import infer, poutine
from pyro.infer.autoguide import AutoDelta
from pyro.optim import Adam, ClippedAdam

import pyrogen
from pyrogen.compile import CompiledELBO

Case = tuple[Any, Any, Any, Any, Callable[[int], tuple[tuple[Any, ...], dict[str, Any]]]]
"""Model, guide, Pyro's optimiser, loss, and the arguments of a step."""


def load(root: Path, file: str) -> ModuleType:
    """An example as a module, with its folder on the path and what it only plots with left out."""
    path = root / "examples" / file
    for name in ("visdom", "tqdm", "utils.vae_plots", "utils.mnist_cached"):
        if name not in sys.modules:
            sys.modules[name] = stub(name)
    sys.path.insert(0, str(path.parent))
    try:
        spec = importlib.util.spec_from_file_location(f"example_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        with contextlib.redirect_stdout(io.StringIO()):
            spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module


def stub(name: str) -> ModuleType:
    """A module that has any name one imports from it, and does nothing."""

    def anything(key: str) -> type:
        if key.startswith("__"):
            raise AttributeError(key)
        return type(key, (), {})

    module = ModuleType(name)
    module.__getattr__ = anything  # type: ignore[method-assign]
    return module


def same(*args: Any, **kwargs: Any) -> Callable[[int], tuple[tuple[Any, ...], dict[str, Any]]]:
    """The same arguments at each step."""
    return lambda t: (args, kwargs)


def vae(root: Path) -> Case:
    """A plain VAE."""
    net = load(root, "vae/vae.py").VAE(z_dim=10, hidden_dim=40)
    return net.model, net.guide, Adam({"lr": 1e-3}), infer.Trace_ELBO(), same(torch.rand(16, 1, 28, 28))


def ss_vae(root: Path) -> Case:
    """The semi-supervised VAE, labels summed out; every third batch has labels."""
    net = load(root, "vae/ss_vae_M2.py").SSVAE(z_dim=10, hidden_layers=[40], config_enum="parallel")
    x, y = torch.bernoulli(torch.full((8, 784), 0.3)), torch.eye(10)[torch.arange(8)]
    guide = infer.config_enumerate(net.guide, "parallel", expand=True)
    optim = Adam({"lr": 0.00042, "betas": (0.9, 0.999)})
    loss = infer.TraceEnum_ELBO(max_plate_nesting=1)
    return net.model, guide, optim, loss, lambda t: (((x, y) if t % 3 == 1 else (x,)), {})


def cvae(root: Path) -> Case:
    """Completing an image; the base line network is not trained."""
    folder = "cvae/"
    baseline = load(root, folder + "baseline.py").BaselineNet(30, 30).eval()
    net = load(root, folder + "cvae.py").CVAE(10, 30, 30, baseline)
    ys = torch.rand(6, 28, 28)
    xs = ys.clone()
    xs[:, 14:, 14:] = -1
    return net.model, net.guide, Adam({"lr": 1e-3}), infer.Trace_ELBO(), same(xs, ys)


def dmm(root: Path) -> Case:
    """The deep Markov model with its annealing factor as a positional argument, which grows from step to step."""
    example = load(root, "dmm.py")
    net = example.DMM(z_dim=6, emission_dim=8, transition_dim=8, rnn_dim=10, num_iafs=1, iaf_dim=8)
    lengths = torch.tensor([7, 6, 4, 3])
    sequences = torch.bernoulli(torch.full((4, 7, 88), 0.2))
    batch = example.poly.get_mini_batch(torch.arange(4), sequences, lengths)
    optim = ClippedAdam({"lr": 3e-4, "betas": (0.96, 0.999), "clip_norm": 10.0, "lrd": 0.99996, "weight_decay": 2.0})
    return net.model, net.guide, optim, infer.Trace_ELBO(), lambda t: ((*batch, min(1.0, 0.2 + 0.2 * (t // 2))), {})


def air(root: Path) -> Case:
    """Attend, infer, repeat: base lines, a learning rate by parameter name, a prior that moves from step to step."""
    net = load(root, "air/air.py").AIR(3, 50, 28, 10, 20, [20], [20], [20], embed_net=[20], bl_predict_net=[20])

    def prior(step: int, t: int) -> float:
        return 0.6 - 0.01 * step

    optim = Adam(lambda name: {"lr": 1e-3 if "bl_" in name else 1e-4})
    x = torch.rand(20, 50, 50)
    loss = infer.TraceGraph_ELBO()

    def arguments(t: int) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (x,), {"batch_size": 8, "z_pres_prior_p": functools.partial(prior, t)}

    return net.model, net.guide, optim, loss, arguments


def lda(root: Path) -> Case:
    """Amortised latent Dirichlet allocation with subsampled documents."""
    example = load(root, "lda.py")
    args = Namespace(num_topics=3, num_words=20, num_docs=12, num_words_per_doc=8, layer_sizes="10-10", batch_size=4)
    *_, data = example.model(args=args)
    guide = functools.partial(example.parametrized_guide, example.make_predictor(args))
    loss = infer.TraceEnum_ELBO(max_plate_nesting=2)
    return example.model, guide, ClippedAdam({"lr": 0.01}), loss, same(data, args=args, batch_size=4)


def hmm(root: Path, number: int) -> Case:
    """One of the example's hidden Markov models."""
    example = load(root, "hmm.py")
    model = example.models[str(number)]
    args = Namespace(hidden_dim=4, jit=False, nn_dim=6, nn_channels=2, raftery_parameterization=False)
    shown = poutine.block(model, expose_fn=lambda msg: msg["name"].startswith("probs_"))
    sequences = torch.bernoulli(torch.full((5, 6, 10), 0.3))
    lengths = torch.tensor([6, 5, 3, 2, 4])
    loss = infer.TraceEnum_ELBO(max_plate_nesting=1 if number == 0 else 2, strict_enumeration_warning=number != 7)
    given = same(sequences, lengths, args=args, batch_size=3)
    return model, AutoDelta(shown), Adam({"lr": 0.01}), loss, given


EXAMPLES: dict[str, Callable[[Path], Case]] = {
    "vae": vae,
    "ss_vae": ss_vae,
    "cvae": cvae,
    "dmm": dmm,
    "air": air,
    "lda": lda,
    **{f"hmm {n}": functools.partial(hmm, number=n) for n in range(8)},
}


@contextlib.contextmanager
def fresh(seed: int) -> Iterator[None]:
    """A clean parameter store and a seed."""
    pyro.clear_param_store()
    pyro.set_rng_seed(seed)
    yield
    pyro.clear_param_store()


WAYS = ("eager", "compiled", "compiled loss in Pyro's SVI")


def train(root: Path, name: str, steps: int, way: str) -> tuple[list[float], str]:
    """The losses of some steps, and why compiled ones ran eagerly."""
    with fresh(0):
        model, guide, optim, loss, arguments = EXAMPLES[name](root)
        step: Any
        if way in ("eager", "compiled"):
            step = pyrogen.SVI(model, guide, optim, loss, compile=way == "compiled")
            loss = step
        else:
            loss = CompiledELBO(loss) if way == WAYS[-1] else loss
            step = infer.SVI(model, guide, optim, loss)
        pyro.set_rng_seed(1)
        losses = []
        for t in range(steps):
            args, kwargs = arguments(t)
            losses.append(step.step(*args, **kwargs))
        why = getattr(loss, "refused", None) if "compiled" in way else None
        return losses, f", eagerly: {why}" if why else ""


def difference(ours: list[float], stock: list[float]) -> float:
    """The largest relative difference of two runs."""
    return max(abs(a - b) / max(abs(b), 1e-12) for a, b in zip(ours, stock, strict=True))


def row(root: Path, name: str, steps: int) -> tuple[str, bool]:
    """An example's line of the table, and whether all agrees."""
    stock, _ = train(root, name, steps, "stock")
    cells, good = [], True
    for way in WAYS:
        start = time.perf_counter()
        try:
            losses, why = train(root, name, steps, way)
        except Exception as error:
            cells.append(f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')[:100]}")
            good = False
            continue
        apart = difference(losses, stock)
        good &= apart <= 1e-5
        cells.append(f"{apart:.1e}{why} ({time.perf_counter() - start:.0f} s)")
    return f"| {name} | {stock[0]:.3f} | {stock[-1]:.3f} | {' | '.join(cells)} |", good


def main() -> None:
    """Print the table; fail if a loss differs by more than 1e-5."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkout", type=Path, help="a checkout of pyro-ppl/pyro")
    parser.add_argument("-k", default="", help="only examples whose name contains this")
    parser.add_argument("--steps", type=int, default=10)
    asked = parser.parse_args()
    logging.disable(logging.WARNING)
    print(f"| example | first loss | last loss | {' | '.join(WAYS)} |")
    print("|---|---|---|---|---|---|")
    good = True
    for name in EXAMPLES:
        if asked.k in name:
            line, fine = row(asked.checkout, name, asked.steps)
            print(line, flush=True)
            good &= fine
    sys.exit(not good)


if __name__ == "__main__":
    main()
