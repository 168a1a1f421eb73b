"""Mixtures of PPCA: the density, the initial value by clusters, samples, one mixture for each class."""

import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

import pyrogen
from pyrogen.errors import ConfigError
from pyrogen.explicit import PPCA, Attributes, GaussianMixture, Label, PPCAMixture
from pyrogen.random import scoped_seed
from pyrogen.recipes.densities import mppca


def some(groups=1, d=5, components=3, latent=2, far=0.0):
    with scoped_seed(0):
        label = Label(groups, torch.arange(1.0, groups + 1)) if groups > 1 else None
        model = PPCAMixture((d,), components, latent, mean=far + torch.randn(d), scale=2.0, condition=label)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def reference(model, group=0):
    """The mixture of one group by torch's full Gaussians, in float64."""
    scale, eye = model.scale.double(), torch.eye(len(model.mean), dtype=torch.float64)
    weight = model.weight[group].detach().double()
    covariance = weight @ weight.mT + model.sigma[group].detach().double().square()[:, None, None] * eye
    components = MultivariateNormal(
        model.mean.double() + scale * model.loc[group].detach().double(), scale**2 * covariance
    )
    return MixtureSameFamily(Categorical(logits=model.logits[group].detach().double()), components)


@pytest.mark.parametrize("far", [0.0, 1e4])
def test_log_prob_is_that_of_the_mixture_also_far_from_the_origin(far):
    model = some(far=far)
    x = reference(model).sample((50,)).float()
    assert torch.allclose(model.log_prob(x).double(), reference(model).log_prob(x.double()), atol=3e-3 if far else 1e-4)
    outlier = x + 1e3
    assert torch.allclose(model.log_prob(outlier).double(), reference(model).log_prob(outlier.double()), rtol=1e-4)


def test_each_class_has_its_own_mixture_and_the_marginal_sums_them():
    model = some(groups=3)
    x, y = torch.randn(20, 5), torch.arange(20) % 3
    each = torch.stack([reference(model, g).log_prob(x.double()) for g in range(3)], 1).float()
    assert torch.allclose(model.log_prob(x, y), each[torch.arange(20), y], atol=1e-3)
    assert torch.allclose(model.log_prob(x), (each + model.condition.probs.log()).logsumexp(1), atol=1e-3)
    r = model.responsibilities(x, y)
    assert r.shape == (20, 3)
    assert torch.allclose(r.sum(1), torch.ones(20))
    with pytest.raises(ConfigError, match="pass its side information"):
        model.responsibilities(x)


@pytest.mark.parametrize("group", [0, 1])
def test_samples_have_the_moments_of_the_density(group):
    model = some(groups=2)
    with scoped_seed(1):
        x = model.sample(60_000, torch.tensor([group]))
    truth = reference(model, group)
    assert torch.allclose(x.mean(0).double(), truth.mean, atol=0.05)
    assert torch.allclose(x.var(0).double(), truth.variance, rtol=0.05)
    covariance = truth.component_distribution.covariance_matrix
    means, w = truth.component_distribution.mean - truth.mean, truth.mixture_distribution.probs
    expected = torch.einsum("k,kij->ij", w, covariance + means[:, :, None] * means[:, None])
    assert torch.allclose(x.double().T.cov(), expected, atol=0.02 * float(expected.diagonal().max()))


def test_one_cluster_is_ppca_in_closed_form():
    with scoped_seed(0):
        x = torch.randn(5000, 3) @ torch.randn(3, 8) + 0.5 * torch.randn(5000, 8) + 2
    start, closed = PPCAMixture.from_clusters(x, 1, 3), PPCA.from_data(x, 3)
    assert torch.allclose(start.log_prob(x), closed.log_prob(x), atol=1e-2)


def test_the_mixture_beats_one_ppca_on_digits_and_training_improves_it():
    data = pyrogen.load("digits")
    x, valid = data.train.tensors()[0], data.valid.tensors()[0]
    with scoped_seed(0):
        setup = mppca(data, steps=100)
    with torch.no_grad():
        before, train = setup.model.log_prob(valid).mean(), setup.model.log_prob(x).mean()
        assert before > PPCA.from_data(x, 10).log_prob(valid).mean() + 3
    for _ in pyrogen.fit(setup.step, setup.data.train, steps=100, batch_size=256):
        pass
    with torch.no_grad():
        assert setup.model.log_prob(x).mean() > train + 0.5


def test_samples_of_each_class_are_of_that_class():
    data = pyrogen.load("digits")
    setup = mppca(data, components=3, latent=5, condition="label", steps=1)
    x, y = data.test.tensors()
    joint = setup.model.joint(x).logsumexp(2) + setup.model.condition.probs.log()
    assert (joint.argmax(1) == y).float().mean() > 0.95  # the classifier of Bayes' rule


def test_degenerate_clusters_cannot_collapse():
    x = torch.randn(60, 6, generator=torch.Generator().manual_seed(0))
    x[:20] = x[0]  # one datum many times
    x[:, 3] = 1.0
    model = PPCAMixture.from_clusters(x, 4, 5, min_std=0.01)
    step = pyrogen.SVI(model.model)
    for _ in pyrogen.fit(step, x, steps=50, batch_size=60):
        pass
    assert model.log_prob(x).isfinite().all()
    assert model.sigma.min() >= 0.01


def test_bad_input_is_named():
    x = torch.randn(5, 4)
    with pytest.raises(ConfigError, match=r"6 components needs at least as many different data.*got 5 among 5"):
        PPCAMixture.from_clusters(x, 6, 2)
    for fit in (
        lambda: PPCAMixture.from_clusters(torch.zeros(9, 4), 3, 2),
        lambda: GaussianMixture.from_clusters(torch.zeros(9, 4), 3),
    ):
        with pytest.raises(ConfigError, match=r"3 components needs .* got 1 among 9"):
            fit()
    with pytest.raises(ConfigError, match=r"of class 1 of 3 components .* got 1 among 1"):
        PPCAMixture.from_clusters(x, 3, 2, y=torch.tensor([0, 0, 0, 0, 1]), condition=Label(2))
    with pytest.raises(ConfigError, match="needs labels y if it has a condition"):
        PPCAMixture.from_clusters(x, 2, 2, condition=Label(2))
    with pytest.raises(ConfigError, match=r"from 1 to 3.*got 4"):
        PPCAMixture((4,), 2, 4)
    with pytest.raises(ConfigError, match="min_std > 0"):
        PPCAMixture((4,), 2, 2, min_std=0.0)
    with pytest.raises(ConfigError, match="given labels or nothing; got Attributes"):
        PPCAMixture((4,), 2, 2, condition=Attributes(3))
    with pytest.raises(ConfigError, match=r"a mixture of PPCA computes a probability density.*mass"):
        mppca(pyrogen.load("digits-binary"))
