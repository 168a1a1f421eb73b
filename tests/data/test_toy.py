"""The toy densities: total mass, entropy, modes and samples against known values."""

from math import e, log, pi, sqrt

import pytest
import torch
from torch import Tensor

from pyrogen.data import TOYS, ToyDensity
from pyrogen.data.toy import Checkerboard, Moons, gaussian, grid, line, ring

# For each density the half sides of a rectangle, or of an interval, that holds it, and a step as fine as its details.
BOX = {
    "ring": (1.1, 1.1, 0.01),
    "grid": (4.4, 4.4, 0.05),
    "moons": (2.5, 1.5, 0.025),
    "checkerboard": (4.5, 4.5, 0.05),
    "gaussian": (14.0, 7.0, 0.1),
    "line": (6.5, 0.05),
}


@pytest.fixture(params=TOYS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def toy(name: str) -> ToyDensity:
    return TOYS[name]()


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def midpoints(half: float, step: float) -> Tensor:
    return torch.arange(-half + step / 2, half, step, dtype=torch.float64)


def test_the_density_integrates_to_one_and_has_its_entropy(name: str, toy: ToyDensity) -> None:
    *sides, step = BOX[name]
    points = torch.cartesian_prod(*(midpoints(side, step) for side in sides)).view(-1, len(sides))
    p, volume = toy.log_prob(points).exp(), step ** len(sides)
    assert abs(p.sum() * volume - 1) < 1e-6
    assert abs(-torch.xlogy(p, p).sum() * volume - toy.entropy) < {"line": 1e-3}.get(name, 1e-5)  # it overlaps a bit


def test_the_samples_have_the_entropy(toy: ToyDensity) -> None:
    log_p = toy.log_prob(toy.sample(20_000, seeded())).double()
    stderr = float(log_p.std()) / sqrt(len(log_p))
    assert abs(log_p.mean() + toy.entropy) < 3 * stderr + 1e-5


def test_the_entropies_in_closed_form() -> None:
    assert ring().entropy == pytest.approx(-4.2930, abs=1e-4)
    assert grid().entropy == pytest.approx(0.0653, abs=1e-4)
    assert Moons().entropy == pytest.approx(0.2892337376, abs=1e-9)
    assert Checkerboard().entropy == pytest.approx(log(32))
    assert gaussian().entropy == pytest.approx(log(2 * pi * e) + log(2 * 0.6), abs=1e-6)
    assert line().entropy == pytest.approx(log(5) + 0.5 * log(2 * pi * e) + log(0.25), abs=1e-6)


def test_shapes_and_dtypes(name: str, toy: ToyDensity) -> None:
    x, dims = toy.sample(7, seeded()), len(BOX[name]) - 1
    assert x.shape == (7, dims)
    assert x.dtype == torch.float32
    assert toy.log_prob(x).shape == (7,)
    assert toy.log_prob(x).dtype == torch.float32
    assert toy.log_prob(x.double()).dtype == torch.float64
    assert toy.sample(0, seeded()).shape == (0, dims)
    assert toy.log_prob(x[:0]).shape == (0,)


def test_many_points_are_computed_in_chunks(toy: ToyDensity) -> None:
    x = toy.sample(20_000, seeded())
    assert torch.allclose(toy.log_prob(x)[-5:], toy.log_prob(x[-5:]), atol=1e-5)


def test_float32_is_enough(toy: ToyDensity) -> None:
    x = toy.sample(1000, seeded())
    assert torch.allclose(toy.log_prob(x).double(), toy.log_prob(x.double()), atol=1e-2)


def test_samples_depend_only_on_the_generator(toy: ToyDensity) -> None:
    state = torch.get_rng_state()
    assert torch.equal(toy.sample(50, seeded(3)), toy.sample(50, seeded(3)))
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.equal(toy.sample(50, seeded(3)), toy.sample(50, seeded(4)))


@pytest.mark.parametrize(("mixture", "k", "std"), [(ring(), 8, 0.01), (grid(), 25, 0.05), (line(), 5, 0.25)])
def test_samples_lie_at_the_modes(mixture: ToyDensity, k: int, std: float) -> None:
    assert mixture.modes is not None
    dims = mixture.modes.shape[1]
    assert mixture.modes.shape == (k, dims)
    assert mixture.std == pytest.approx(std)
    n = 20_000
    distance, nearest = torch.cdist(mixture.sample(n, seeded()), mixture.modes).min(1)
    assert distance.max() < 6 * std
    assert distance.square().mean().sqrt() == pytest.approx(std * sqrt(dims), rel=0.02)
    assert (nearest.bincount(minlength=k) - n / k).abs().max() < 5 * sqrt(n / k)


@pytest.mark.parametrize("density", [Moons(), Checkerboard(), gaussian()])
def test_a_unimodal_density_has_no_modes(density: ToyDensity) -> None:
    assert density.modes is None
    assert density.std is None


def test_the_gaussian_has_its_covariance() -> None:
    x = gaussian().sample(100_000, seeded())
    assert torch.allclose(x.T.cov(), torch.tensor([[4.0, 1.6], [1.6, 1.0]]), atol=0.06)
    law = torch.distributions.MultivariateNormal(torch.zeros(2), torch.tensor([[4.0, 1.6], [1.6, 1.0]]))
    assert torch.allclose(gaussian().log_prob(x[:100]), law.log_prob(x[:100]), atol=1e-4)


def test_the_moons_are_those_of_scikit_learn() -> None:
    from sklearn.datasets import make_moons

    theirs = torch.from_numpy(make_moons(4000, noise=Moons.noise, random_state=0)[0])
    log_p = Moons().log_prob(theirs)
    assert abs(log_p.mean() + Moons.entropy) < 3 * log_p.std() / sqrt(4000)


def test_the_checkerboard_ends_at_its_edges() -> None:
    board = Checkerboard()
    dark = torch.tensor([[-3.9, -3.9], [0.1, 0.1], [3.9, 3.9], [-1.9, 0.1 - 2], [-0.1, -0.1]])
    light = torch.tensor([[0.1, -0.1], [4.1, 4.1], [-4.1, -4.1], [5.0, 1.0], [-3.9, 4.1]])
    assert torch.equal(board.log_prob(dark), torch.full((5,), -log(32)))
    assert torch.equal(board.log_prob(light), torch.full((5,), -torch.inf))


def test_every_sample_is_on_a_dark_square(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Checkerboard().log_prob(Checkerboard().sample(200_000, seeded())).isfinite().all()
    # The greatest number that torch.rand gives would round up to the next square.
    monkeypatch.setattr(torch, "rand", lambda *size, **_: torch.full(size, 1 - 2**-24))
    assert Checkerboard().log_prob(Checkerboard().sample(1000, seeded())).isfinite().all()
