"""Annealed importance sampling where the likelihood is known in closed form or by integration."""

import runpy
from math import log, pi
from pathlib import Path

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

from pyrogen.data import Dataset, Split
from pyrogen.data.space import Space
from pyrogen.errors import ConfigError
from pyrogen.explicit import PPCA, VAE, Flow, Gaussian, GaussianLikelihood, autoregressive
from pyrogen.implicit import GAN
from pyrogen.measure import Annealing, ais
from pyrogen.measure.annealing.anneal import anneal, back
from pyrogen.measure.annealing.path import Rows
from pyrogen.measure.annealing.plan import pilot
from pyrogen.measure.annealing.run import ROWS, AnnealedRun
from pyrogen.measure.annealing.simulate import fit_noise, simulate
from pyrogen.measure.likelihood import bounds
from pyrogen.pyro_tools.decoders import as_decoder

ROOT = Path(__file__).parents[2]


def ppca(d: int = 5, k: int = 2, sigma: float = 0.3) -> PPCA:
    torch.manual_seed(0)
    model = PPCA((d,), k)
    with torch.no_grad():
        model.log_sigma.fill_(log(sigma))
    return model.requires_grad_(False)


class Generator(nn.Module):
    """A random deep decoder of two latent coordinates, without an observation model."""

    latent = 2

    def __init__(self, d: int = 6, scale: float = 2.0) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layers = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, d))
        with torch.no_grad():
            for weight in self.parameters():
                weight.mul_(scale)
        self.requires_grad_(False)

    def generator(self, z: Tensor) -> Tensor:
        x: Tensor = self.layers(z)
        return x

    def sample(self, n: int) -> Tensor:
        return self.generator(torch.randn(n, 2))


def integrate(model: Generator, x: Tensor, sigma: float) -> Tensor:
    """Log p(x) on a grid over the latent plane."""
    axis = torch.linspace(-6, 6, 601, dtype=torch.float64)
    z = torch.cartesian_prod(axis, axis)
    generated = model.double().generator(z)
    model.float()
    square = torch.cdist(x.double(), generated).square()
    log_joint = -0.5 * (square / sigma**2 + z.square().sum(1)) - x.shape[1] * log(sigma)
    return (log_joint.logsumexp(1) + 2 * log(float(axis[1] - axis[0])) - (x.shape[1] / 2 + 1) * log(2 * pi)).float()


def test_linear_gaussian() -> None:
    model = ppca(d=2, k=1)
    x = model.sample(60)
    score = ais(model, x, gap=0.02, chains=64)
    assert score.kind == "lower_bound"
    assert score.detail["noise"] is None
    assert score.detail["gap"] < 0.02
    assert score.value == pytest.approx(float(model.log_prob(x).mean()), abs=0.01)
    assert score.values is not None
    assert len(score.values) == 60


def test_a_deep_decoder_equals_integration() -> None:
    model, sigma = Generator(), 0.3
    x = model.sample(100) + sigma * torch.randn(100, 6)
    score = ais(model, x, gap=0.1, noise=sigma)
    assert score.value == pytest.approx(float(integrate(model, x, sigma).mean()), abs=0.05)
    assert score.detail["noise"] == sigma


def test_bounds_from_both_sides() -> None:
    """With few temperatures the bounds are far apart, and the exact value lies between them."""
    model = ppca(d=20, k=5, sigma=0.05)
    decoder = as_decoder(model, torch.zeros(1, 20))
    torch.manual_seed(0)
    x, u = simulate(decoder, 100, None, 0.0)
    rows = Rows.of(decoder, x, chains=4)
    plan, *_ = pilot(rows)
    exact, gaps = model.log_prob(x).mean(), []
    for steps in (20, 80, 320):
        used = plan.with_steps(steps)
        lower = anneal(rows, used).log_prob.mean()
        upper = anneal(rows, used, back(rows, used, rows.encoded(u))).log_prob.mean()
        gaps.append(float(upper - lower))
        assert lower - 0.1 < exact < upper + 0.1
    assert gaps[0] > 2 * gaps[1] > 4 * gaps[2]


def test_rates_and_distortions_of_a_linear_decoder() -> None:
    """The geometric path of a linear Gaussian decoder is Gaussian: every rate and distortion is known."""
    model = ppca(d=10, k=3, sigma=0.2)
    x, sigma = model.sample(100), 0.2
    curve = ais(model, x, gap=1.0).detail["rate_distortion"]
    assert curve["unit"] == "squared error"
    assert len(curve["rate"]) >= 50
    run = AnnealedRun(as_decoder(model, x), x, None, None, None, None, 1.0, 1e9, 16, 100, 0)
    list(run)
    betas = run.results().betas
    w, centred = model.weight.double(), (x - model.mean).double()
    for beta, rate, distortion in zip(betas.tolist(), curve["rate"], curve["distortion"], strict=True):
        precision = torch.eye(3, dtype=torch.float64) + beta / sigma**2 * w.T @ w
        covariance = precision.inverse()
        means = beta / sigma**2 * centred @ w @ covariance
        kl = 0.5 * (covariance.trace() + means.square().sum(1) - 3 + precision.logdet())
        error = (centred - means @ w.T).square().sum(1) + (w @ covariance @ w.T).trace()
        assert rate == pytest.approx(float(kl.mean()), abs=0.5)
        assert distortion == pytest.approx(float(error.mean()), rel=0.1)


def test_at_least_the_importance_weighted_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """With few chains at a time, so that simulated data are annealed in parts too."""
    monkeypatch.setitem(ROWS, "cpu", 320)
    torch.manual_seed(0)
    vae = VAE((8,), 2, (16,), GaussianLikelihood(0.2, unit=False)).eval()
    x = torch.randn(60, 8)
    _, iwae, _ = bounds(vae, x, k=100)
    for start in ("prior", "encoder"):
        score = ais(vae, x, gap=0.3, start=start)
        assert score.value > float(iwae.mean()) - 0.05
        assert ("rate_distortion" in score.detail) == (start == "prior")


def test_a_pair_of_ones_own() -> None:
    """Gamma latent variables and Poisson counts: log p(x) is that of a negative binomial."""

    class Pair:
        def model(self, x: Tensor) -> None:
            with pyro.plate("data", len(x)):
                rate = pyro.sample("rate", dist.Gamma(3.0, 0.5))
                pyro.sample("x", dist.Poisson(rate.unsqueeze(-1).expand(-1, 2)).to_event(1), obs=x)

        def guide(self, x: Tensor) -> None:
            with pyro.plate("data", len(x)):
                pyro.sample("rate", dist.Gamma(3.0 + x.sum(1), 2.5))

        def sample(self, n: int) -> Tensor:
            return dist.Poisson(dist.Gamma(3.0, 0.5).sample((n, 1)).expand(-1, 2)).sample()

    torch.manual_seed(0)
    x = Pair().sample(200)
    total = x.sum(1)
    exact = (
        torch.lgamma(total + 3)
        - torch.lgamma(torch.tensor(3.0))
        - torch.lgamma(x + 1).sum(1)
        + 3 * log(0.5 / 2.5)
        - total * log(2.5)
    )
    score = ais(Pair(), Split(x), gap=0.05)
    assert score.value == pytest.approx(float(exact.mean()), abs=0.02)


def test_noise_is_the_one_of_maximum_likelihood() -> None:
    model = Generator()
    torch.manual_seed(3)
    x = model.sample(100) + 0.25 * torch.randn(100, 6)
    sigma = fit_noise(as_decoder(model, x), x, None, chains=4)
    values = {s: float(integrate(model, x, s).mean()) for s in (0.9 * sigma, sigma, 1.1 * sigma)}
    assert max(values, key=lambda s: values[s]) == sigma
    assert sigma == pytest.approx(0.25, rel=0.1)


def test_noise_of_an_implicit_model_is_chosen_on_validation_data() -> None:
    model = Generator()
    torch.manual_seed(3)
    parts = [Split(model.sample(100) + 0.25 * torch.randn(100, 6)) for _ in range(3)]
    score = ais(model, Dataset("mine", *parts, (6,), Space("real")), gap=0.3)
    assert score.detail["noise"] == pytest.approx(0.25, rel=0.15)
    assert "chosen on validation data" in score.detail["note"]
    of_rows = ais(model, parts[0], gap=0.3)
    assert of_rows.detail["n"] == 50  # the other half chose the noise


def test_a_stopped_measurement_goes_on(tmp_path: Path) -> None:
    model, x = ppca(d=10, k=3, sigma=0.1), torch.randn(300, 10)
    whole = ais(model, x, gap=0.05, minutes=60)

    class Stop(Exception):
        pass

    def stop(progress: object) -> None:
        raise Stop

    stops = 0
    while True:
        try:
            score = ais(model, x, gap=0.05, minutes=60, folder=tmp_path, show=stop if stops < 3 else None)
            break
        except Stop:
            stops += 1
    assert stops == 3
    assert torch.equal(score.values, whole.values)
    assert score.detail == whole.detail
    other = ais(ppca(d=10, k=3, sigma=0.2), x, gap=0.05, minutes=60, folder=tmp_path)
    assert other.value != score.value  # of another model nothing is taken over


class Fold(nn.Module):
    """Two stretches of the latent line on nearly the same data: z above 1.6 repeats z above 0, but for the last value.

    The first values of a datum divide chains between both stretches while the last ones are still of little weight, and
    the divide cannot be crossed. The rarer stretch, of 5% of the data, is then found by one chain of seven or so.
    """

    latent, crossing, sigma = 1, 1.6, 0.05

    def generator(self, z: Tensor) -> Tensor:
        above = torch.sigmoid(1000 * (z - self.crossing))
        return torch.cat([(z - self.crossing * above).expand(-1, 8), 0.5 * above], 1)

    def sample(self, n: int) -> Tensor:
        return self.generator(torch.randn(n, 1))

    def log_prob(self, x: Tensor) -> Tensor:
        """By integration over the latent line."""
        z = torch.linspace(-6, 6, 48_001)[:, None]
        square = torch.cdist(x.double(), self.generator(z).double()).square() / self.sigma**2 + z.T.square()
        constant = x.shape[1] * log(self.sigma) + (x.shape[1] + 1) / 2 * log(2 * pi)
        return (-0.5 * square).logsumexp(1) + log(float(z[1] - z[0])) - constant


def test_chains_are_doubled_where_temperatures_do_not_help() -> None:
    model = Fold()
    torch.manual_seed(0)
    x = model.sample(300) + model.sigma * torch.randn(300, 9)
    score = ais(model, x, gap=0.3, noise=model.sigma, chains=4, simulated=200)
    assert score.detail["chains"] >= 16
    assert score.detail["steps"] <= 800
    assert score.detail["gap"] < 0.3
    assert score.value == pytest.approx(float(model.log_prob(x).mean()), abs=0.3)


def test_time_that_is_spent_is_said() -> None:
    model = ppca(d=30, k=10, sigma=0.01)
    score = ais(model, model.sample(20), gap=1e-3, minutes=1e-3)
    assert score.detail["gap"] > 1e-3
    assert "when the time ran out" in score.detail["note"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gap": 0.0}, "expected gap above 0; got 0.0"),
        ({"noise": -1.0}, "expected a finite noise of at least 0; got -1.0"),
        (
            {"chains": 1},
            "expected at least 1 datum, 2 chains and 2 simulated data; got n=1000, chains=1, simulated=100",
        ),
        ({"start": "nowhere"}, "expected start 'prior' or 'encoder'; got 'nowhere'"),
    ],
)
def test_settings_are_checked(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        Annealing(**settings)  # type: ignore[arg-type]
    assert str(error.value) == message


class Shared:
    """A pair with a mean that all data share."""

    def model(self, x: Tensor) -> None:
        mean = pyro.sample("mean", dist.Normal(0.0, 3.0))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(mean, 1.0))
            pyro.sample("x", dist.Normal(z.unsqueeze(-1).expand(-1, 4), 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        pyro.sample("mean", dist.Normal(0.0, 0.5))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x.mean(1), 0.5))

    def sample(self, n: int) -> Tensor:
        return torch.randn(n, 4)


def test_models_without_such_a_likelihood() -> None:
    x = torch.rand(20, 4)
    with pytest.raises(ConfigError, match="has global latent variables"):
        ais(Shared(), x)
    with pytest.raises(ConfigError, match="discrete"):
        ais(GAN((4,), latent=3, n_binary=1), x, noise=0.1)
    with pytest.raises(ConfigError, match="has no guide"):
        ais(GAN((4,), latent=3), x, noise=0.1, start="encoder")
    with pytest.raises(ConfigError, match="density only with noise"):
        ais(GAN((4,), latent=3), x, noise=0.0)
    with pytest.raises(ConfigError, match="a Bernoulli with added Gaussian noise is not known"):
        ais(VAE((4,), 2, (8,)), x.round(), noise=0.1)
    with pytest.raises(ConfigError, match="does not sample"):
        ais(object(), x)
    with pytest.raises(ConfigError, match="no decoder"):
        ais(Gaussian.from_data(x), x)


def test_an_autoregressive_flow_as_a_decoder() -> None:
    """Gradients pass its inverse; the density with noise is the average over its samples."""
    torch.manual_seed(0)
    flow = Flow((2,), autoregressive((2,), layers=1, hidden=(8,))).eval()
    x = flow.sample(30)
    score = ais(flow, x, gap=0.3, noise=0.5)
    with torch.no_grad():
        samples = flow.sample(100_000)
        each = -0.5 * torch.cdist(x, samples).square() / 0.25 - log(2 * pi * 0.25)
    assert score.value == pytest.approx(float((each.logsumexp(1) - log(100_000)).mean()), abs=0.1)


def test_the_kernel_estimate_puts_worse_models_first_and_annealing_does_not() -> None:
    """On data of a known density: a generator of points in a plane, and a list of means of training data."""
    torch.manual_seed(0)
    truth = PPCA((64,), 4, sigma=0.15)
    with torch.no_grad():
        truth.weight.mul_(torch.tensor([4.0, 4.0, 1.0, 1.0]))
    measure = runpy.run_path(str(ROOT / "docs/scripts/kernel_misordering.py"))["misordering"]
    rows = {row.name: row for row in measure(truth, train=1000, n=100, centres=100, gap=1.0)}
    best, *worse = rows.values()
    for row in worse:
        assert row.kernel.value > best.kernel.value + 1
        assert row.exact < best.exact - 2
        assert row.kernel.value == pytest.approx(row.exact, abs=1)
    for name in ("truth", "singular"):
        assert rows[name].annealed.value == pytest.approx(rows[name].exact, abs=0.5)
