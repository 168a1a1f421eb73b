"""Adversarial losses against their formulas, and the direction of their gradients."""

import pytest
import torch

from pyrogen.errors import ConfigError
from pyrogen.objectives import (
    MMD,
    FeatureMatching,
    Hinge,
    LeastSquares,
    Minimax,
    NonSaturating,
    Relativistic,
    Wasserstein,
)

REAL, FAKE = torch.tensor([1.0, -2.0, 0.3]), torch.tensor([0.5, -1.5, 4.0])
LOSSES = [Minimax(), NonSaturating(), NonSaturating(0.1), Wasserstein(), Hinge(), LeastSquares(), Relativistic()]


def test_losses_in_closed_form():
    d_real, d_fake = torch.sigmoid(REAL), torch.sigmoid(FAKE)
    judged = -d_real.log().mean() - (1 - d_fake).log().mean()
    for loss in (Minimax(), NonSaturating()):
        assert torch.allclose(loss.critic(REAL, FAKE), judged)
    assert torch.allclose(Minimax().generator(FAKE, None), (1 - d_fake).log().mean())
    assert torch.allclose(NonSaturating().generator(FAKE, None), -d_fake.log().mean())
    assert torch.allclose(Wasserstein().critic(REAL, FAKE), FAKE.mean() - REAL.mean())
    assert torch.allclose(Wasserstein().generator(FAKE, None), -FAKE.mean())
    assert torch.allclose(Hinge().critic(REAL, FAKE), torch.tensor((0 + 3 + 0.7 + 1.5 + 0 + 5) / 3))
    assert torch.allclose(Hinge().generator(FAKE, None), -FAKE.mean())
    assert torch.allclose(LeastSquares().critic(REAL, FAKE), 0.5 * ((REAL - 1) ** 2 + FAKE**2).mean())
    assert torch.allclose(LeastSquares().generator(FAKE, None), 0.5 * ((FAKE - 1) ** 2).mean())


@pytest.mark.parametrize("smooth", [0.1, 0.25])
def test_label_smoothing_is_one_sided(smooth):
    d_real, d_fake = torch.sigmoid(REAL), torch.sigmoid(FAKE)
    expected = -((1 - smooth) * d_real.log() + smooth * (1 - d_real).log()).mean() - (1 - d_fake).log().mean()
    for loss in (Minimax(smooth), NonSaturating(smooth)):
        assert torch.allclose(loss.critic(REAL, FAKE), expected)
    # Where there are no samples the best logit is that of 1 - ε, and not infinite.
    logit = torch.tensor(1 / smooth - 1).log().requires_grad_()
    Minimax(smooth).critic(logit[None], torch.full((1,), -1e4)).backward()
    assert logit.grad.abs() < 1e-6


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_losses_are_scalars_and_finite_for_sure_critics(loss):
    far = torch.tensor([1e4, -1e4])
    for value in (
        loss.critic(REAL, FAKE),
        loss.critic(far, far),
        loss.generator(far, -far),
        loss.generator(far[:1], far[1:]),
    ):
        assert value.shape == ()
        assert value.isfinite()


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_the_players_move_scores_in_opposite_directions(loss):
    neutral = getattr(loss, "boundary", None) or 0.0
    real, fake = (torch.full((4,), neutral, requires_grad=True) for _ in range(2))
    loss.critic(real, fake).backward()
    assert (real.grad < 0).all()  # descent raises the scores of data
    assert (fake.grad > 0).all()
    fake = torch.full((4,), neutral, requires_grad=True)
    loss.generator(fake, real.detach()).backward()
    assert (fake.grad < 0).all()


def test_non_saturating_loss_learns_where_minimax_does_not():
    gradients = []
    for loss in (Minimax(), NonSaturating()):
        fake = torch.full((1,), -20.0, requires_grad=True)
        loss.generator(fake, None).backward()
        gradients.append(abs(fake.grad.item()))
    assert gradients[0] < 1e-8
    assert gradients[1] == pytest.approx(1, abs=1e-8)


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.0), (1.0, 1.0), (3.0, 0.5), (-0.5, 2.0)])
def test_minimax_at_the_optimal_discriminator(mean, deviation):
    p, q = torch.distributions.Normal(0.0, 1.0), torch.distributions.Normal(mean, deviation)
    quantiles = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000

    def logit(x):
        return p.log_prob(x) - q.log_prob(x)

    value = Minimax().critic(logit(p.icdf(quantiles)), logit(q.icdf(quantiles))).item()
    x = torch.linspace(-25, 25, 200_001, dtype=torch.float64)
    p_x, q_x = p.log_prob(x), q.log_prob(x)
    log_m = torch.logaddexp(p_x, q_x) - torch.tensor(2.0).log()
    js = 0.5 * torch.trapezoid(p_x.exp() * (p_x - log_m) + q_x.exp() * (q_x - log_m), x).item()
    assert value == pytest.approx(2 * torch.tensor(2.0).log().item() - 2 * js, abs=1e-4)


def test_wasserstein_at_the_optimal_critic():
    x = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    assert Wasserstein().critic(x, x + 3).item() == pytest.approx(3, abs=1e-5)


@pytest.mark.parametrize("loss", [Hinge(), LeastSquares()], ids=lambda loss: type(loss).__name__)
def test_bounded_losses_at_their_best_critic(loss):
    """Apart, each has a loss of 0; where p = q the best constant score costs 2 (hinge) or ¼ (least squares)."""
    ones = torch.ones(4)
    assert loss.critic(ones, -ones if isinstance(loss, Hinge) else 0 * ones) == 0
    constants = torch.linspace(-3, 3, 601)
    best = min(float(loss.critic(c[None], c[None])) for c in constants)
    assert best == pytest.approx(2.0 if isinstance(loss, Hinge) else 0.25, abs=1e-4)


def test_relativistic_loss_in_closed_form():
    d = torch.sigmoid(REAL - FAKE)  # the probability that the first of a pair is the datum
    assert torch.allclose(Relativistic().critic(REAL, FAKE), -d.log().mean())
    assert torch.allclose(Relativistic().generator(FAKE, REAL), -(1 - d).log().mean())


@pytest.mark.parametrize("shift", [-3.0, 50.0])
def test_relativistic_loss_depends_on_differences_of_scores_alone(shift):
    loss = Relativistic()
    assert torch.allclose(loss.critic(REAL + shift, FAKE + shift), loss.critic(REAL, FAKE), atol=1e-5)
    assert torch.allclose(loss.generator(FAKE + shift, REAL + shift), loss.generator(FAKE, REAL), atol=1e-5)
    assert not torch.allclose(loss.critic(REAL + shift, FAKE), loss.critic(REAL, FAKE), atol=1e-2)


def features(n, seed, dims=3):
    return torch.randn(n, dims, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_feature_matching_compares_means():
    real, fake = features(5, 0), features(7, 1)
    expected = sum((real[:, i].mean() - fake[:, i].mean()) ** 2 for i in range(3))
    assert torch.allclose(FeatureMatching().generator(fake, real), expected)
    assert torch.allclose(FeatureMatching().generator(real.flip(0), real), torch.zeros(()).double())
    assert torch.equal(FeatureMatching().critic(REAL, FAKE), NonSaturating().critic(REAL, FAKE))


def test_mmd_loss_is_zero_sum_and_follows_loops_over_pairs():
    loss, real, fake = MMD((0.5, 3.0)), features(5, 0), features(4, 1) + 1

    def k(a, b):
        return sum(float((-(a - b).square().sum() / (2 * h**2)).exp()) for h in (0.5, 3.0)) / 2

    def within(x):
        n = len(x)
        return sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))

    expected = within(fake) + within(real) - 2 * sum(k(a, b) for a in fake for b in real) / (len(fake) * len(real))
    assert loss.generator(fake, real).item() == pytest.approx(expected, abs=1e-12)
    assert loss.critic(real, fake).item() == pytest.approx(-expected, abs=1e-12)


def test_mmd_loss_moves_samples_towards_the_data():
    real, fake = features(200, 0), (features(200, 1) + 3).requires_grad_()
    MMD().generator(fake, real).backward()
    assert fake.grad.isfinite().all()
    assert (fake.grad.mean(0) > 0).all()  # descent lowers the mean of the samples, which is too high
    same = torch.ones(4, 3, requires_grad=True)  # equal rows: the distance's root has no gradient at 0
    MMD().generator(same, real.float()).backward()
    assert same.grad.isfinite().all()


@pytest.mark.parametrize("bandwidths", [(), (1.0, 0.0), (-1.0,)])
def test_impossible_bandwidths_are_refused(bandwidths):
    with pytest.raises(ConfigError, match="bandwidths"):
        MMD(bandwidths)


@pytest.mark.parametrize("loss", [*LOSSES, FeatureMatching(), MMD()], ids=lambda loss: type(loss).__name__)
def test_uses_real_says_what_the_generators_loss_depends_on(loss):
    real, other, fake = features(6, 0), features(6, 1) + 1, features(6, 2)
    if not loss.uses_real:
        assert loss.generator(fake, None).isfinite()
        return
    assert not torch.allclose(loss.generator(fake, real), loss.generator(fake, other))
