"""The mixture VAE: its bound by enumeration, by an explicit sum and by Pyro; clusters; its two phases of training."""

from functools import partial

import pyro
import pytest
import torch
from helpers import points
from pyro.infer import Trace_ELBO, TraceEnum_ELBO
from torch.distributions import MultivariateNormal, Normal

import pyrogen
from pyrogen import SVI, use
from pyrogen.errors import ConfigError
from pyrogen.explicit import GMVAE, GaussianLikelihood, GaussianMixture
from pyrogen.explicit.gmvae import ComponentSampler
from pyrogen.measure.likelihood import bounds
from pyrogen.pyro_tools.latents import LatentProgram
from pyrogen.random import scoped_seed
from pyrogen.recipes import recipe
from pyrogen.testing import check_family, check_pair

ENUMERATED = TraceEnum_ELBO(max_plate_nesting=1)
COVARIANCES = ("full", "diagonal")


def make(covariance="full", shape=(5,), **options):
    """A model of three random components."""
    with scoped_seed(3):
        model = GMVAE(shape, 3, 2, (8,), covariance, likelihood=GaussianLikelihood(0.7, unit=False), **options)
        for parameter in model.mixture.parameters():
            torch.nn.init.normal_(parameter, 0, 0.5)
    return model


def prior(model):
    """The components' weights, and their means and covariances as torch's distributions."""
    mixture = model.mixture
    factor = torch.diag_embed(mixture.diagonal) if mixture.covariance == "diagonal" else mixture.factor
    return mixture.logits.log_softmax(0), MultivariateNormal(mixture.loc, scale_tril=factor)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_the_loss_is_pyros_and_that_of_the_explicit_sum(covariance):
    model, x = make(covariance), points(20, 5)
    step = SVI(model.model, model.guide, loss=ENUMERATED)
    with scoped_seed(1):
        loss = step.evaluate_loss(x)
    with scoped_seed(1):
        assert loss == pytest.approx(TraceEnum_ELBO(max_plate_nesting=1).loss(model.model, model.guide, x), rel=1e-6)
    with scoped_seed(1):
        assert loss == pytest.approx(Trace_ELBO().loss(model.marginal, model.guide, x), rel=1e-5)
    with scoped_seed(1), torch.no_grad():
        mean, log_deviation = model.encoder(x).chunk(2, 1)
        q = Normal(mean, log_deviation.exp())
        z = torch.normal(q.mean, q.stddev)
        weights, components = prior(model)
        log_p = (weights + components.log_prob(z[:, None])).logsumexp(1)
        elbo = Normal(model.decoder(z) + model.offset, 0.7).log_prob(x).sum(1) + log_p - q.log_prob(z).sum(1)
    assert loss == pytest.approx(-float(elbo.sum()), rel=1e-5)
    pyro.clear_param_store()


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_gradients_by_enumeration_are_those_of_the_sum(covariance):
    found = []
    for program, loss in (("model", ENUMERATED), ("marginal", Trace_ELBO())):
        model = make(covariance)
        step = SVI(getattr(model, program), model.guide, partial(torch.optim.SGD, lr=1e-3), loss)
        with scoped_seed(1):
            step(points(20, 5))
        found.append({name: p.detach() for name, p in model.named_parameters()})
    before = dict(make(covariance).named_parameters())
    for name, value in found[0].items():
        torch.testing.assert_close(value, found[1][name], msg=name)
        assert not torch.equal(value, before[name]), name


def test_the_bound_is_below_and_approaches_the_likelihood():
    """Without hidden layers, x is a mixture of Gaussians."""
    with scoped_seed(0):
        model = GMVAE((3,), 3, 2, (), likelihood=GaussianLikelihood(0.6, unit=False))
        torch.nn.init.normal_(model.mixture.loc)
    wide = model.encoder[1][0]
    torch.nn.init.zeros_(wide.weight)
    with torch.no_grad():
        wide.bias.copy_(torch.tensor([0.0, 0.0, 0.7, 0.7]))
    weights, components = prior(model)
    layer = model.decoder[0][0]
    covariance = layer.weight @ components.covariance_matrix @ layer.weight.T + 0.6**2 * torch.eye(3)
    marginal = MultivariateNormal(components.loc @ layer.weight.T + layer.bias + model.offset, covariance)
    x = points(200, 3)
    with torch.no_grad():
        exact = (weights + marginal.log_prob(x[:, None])).logsumexp(1).mean()
    elbo, iwae, structure = (bounds(model, x, k=2000)[i] for i in range(3))
    assert structure.score_kind == "lower_bound"
    assert elbo.mean() < iwae.mean() < exact + 0.02
    assert iwae.mean() == pytest.approx(float(exact), abs=0.1)
    check_pair(model, pyrogen.data.Split(x))


def test_samples_of_a_component_are_its_own():
    model = make().eval()
    weights, components = prior(model)
    with scoped_seed(0):
        z = model.draw_latent(20_000, None, 1)
    torch.testing.assert_close(z.mean(0), components.loc[1], atol=0.05, rtol=0)
    torch.testing.assert_close(z.T.cov(), components.covariance_matrix[1], atol=0.1, rtol=0.05)
    with scoped_seed(0):
        z = model.draw_latent(20_000, None)
    torch.testing.assert_close(z.mean(0), weights.exp() @ components.loc, atol=0.05, rtol=0)
    given = torch.tensor([2, 0, 0])
    sampler = ComponentSampler(model)
    for method in ("sample", "sample_mean"):
        with scoped_seed(5):
            expected = getattr(model, method)(3, component=given)
        with scoped_seed(5):
            assert torch.equal(getattr(sampler, method)(3, given), expected)
        assert expected.shape == (3, 5)
    torch.testing.assert_close(sampler.condition.probs, weights.exp())
    with pytest.raises(ConfigError, match="components 0 to 2; got 3"):
        model.sample(2, component=3)
    with pytest.raises(ConfigError, match="unconditional"):
        model.sample(2, torch.zeros(2).long())


def test_responsibilities_are_bayes_rule_at_the_mean():
    model, x = make().eval(), points(6, 5)
    weights, components = prior(model)
    z = model.encode(x)
    expected = (weights + components.log_prob(z[:, None])).softmax(1)
    torch.testing.assert_close(model.responsibilities(x), expected)
    assert torch.equal(model.assign(x), expected.argmax(1))
    assert torch.equal(use.assign(model, x), expected.argmax(1))
    with pytest.raises(ConfigError, match="GaussianMixture has no clusters of its own"):
        use.assign(GaussianMixture((5,), 2), x)


def test_weights_are_equal_where_asked():
    model = make(weights="equal")
    step = SVI(model.model, model.guide, loss=ENUMERATED)
    with scoped_seed(0):
        model.fit_mixture(points(200, 5))
        step(points(200, 5))
    assert model.mixture.logits.tolist() == [0, 0, 0]
    with scoped_seed(0):
        z = points(300, 2) * 0.1 + torch.tensor([[0.0, 0], [3, 0], [3, 0], [3, 0]])[torch.arange(300) % 4]
        learned, equal = (GaussianMixture.from_em(z, 2, equal_weights=e) for e in (False, True))
    assert sorted(learned.logits.softmax(0).tolist()) == pytest.approx([0.25, 0.75])
    assert equal.logits.tolist() == [0, 0]
    torch.testing.assert_close(equal.loc, learned.loc)
    with pytest.raises(ConfigError, match="unknown weights 'even'"):
        make(weights="even")


def test_uses_that_need_log_p_of_z_have_the_mixtures():
    model, x = make().eval().requires_grad_(False), points(6, 5)
    weights, components = prior(model)
    program = LatentProgram(model, x)
    with scoped_seed(0):
        z = program.encode(x, draw=True)
    log_prior, _ = program.log_joint(z, x)
    torch.testing.assert_close(log_prior, (weights + components.log_prob(z[:, None])).logsumexp(1))


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_expectation_maximisation_finds_the_components(covariance):
    truth = GaussianMixture((2,), 3, covariance).requires_grad_(False)
    with torch.no_grad():
        truth.loc.copy_(torch.tensor([[-4.0, 0], [4, 0], [0, 5]]))
        truth.logits.copy_(torch.tensor([0.5, 0.3, 0.2]).log())
        if covariance == "full":
            truth.lower_triangle[:, 1, 0] = 0.9
    with scoped_seed(0):
        x = truth.sample(20_000)
    fitted = GaussianMixture.from_em(x, 3, covariance, starts=3)
    with torch.no_grad():
        assert fitted.log_prob(x).mean() == pytest.approx(float(truth.log_prob(x).mean()), abs=0.01)
    assert sorted(fitted.logits.softmax(0).tolist()) == pytest.approx(sorted(truth.logits.exp().tolist()), abs=0.02)
    with pytest.raises(ConfigError, match="5 components needs at least as many data"):
        GaussianMixture.from_em(x[:4], 5)


def test_the_mixture_is_fitted_to_draws_of_codes():
    """A coordinate without information has deviation 1 in draws of q(z | x), and nearly 0 in their means."""
    model = make()
    last = model.encoder[1][-1]
    with torch.no_grad():
        last.weight[1] = last.weight[3] = 0
        last.bias[1] = last.bias[3] = 0
    with scoped_seed(0):
        model.fit_mixture(points(3000, 5))
    mixture = model.requires_grad_(False).mixture
    weights, components = prior(model)
    second = (components.covariance_matrix + components.loc[:, :, None] * components.loc[:, None])[:, 1, 1]
    assert float((weights.exp() @ second) * mixture.scale[1] ** 2 + mixture.mean[1] ** 2) == pytest.approx(1, abs=0.1)
    assert model.training


def test_a_random_affine_map_is_of_the_encoder_in_training_alone():
    options = {"shape": (1, 8, 8), "shift": 1.0, "distortion": 0.2}
    model, x = make(**options), points(3, 64).view(3, 1, 8, 8)
    with scoped_seed(0):
        moved = model.encode(x)
    with scoped_seed(0):
        assert torch.equal(model.encode(x), moved)
    plain = model.eval().encode(x)
    assert not torch.allclose(moved, plain)
    assert torch.equal(plain, model.encode(x))
    with pytest.raises(ConfigError, match="expect images"):
        make(shift=1.0)
    with pytest.raises(ConfigError, match="at least 0; got -1"):
        make(shape=(1, 8, 8), shift=-1.0)


def test_both_phases_resume_bit_for_bit():
    """The interruption of ``check_family`` is at the end of the first phase."""
    options = {"steps": 4, "hidden": (8,), "latent": 2, "components": 2, "shift": 1.0, "distortion": 0.2}
    check_family(lambda data: recipe("gmvae")(data, **options), pyrogen.load("digits-binary"))


def test_the_modes_of_a_density_are_the_clusters():
    data = pyrogen.load("ring")
    with scoped_seed(0):
        setup = recipe("gmvae")(data, components=8, latent=2, hidden=(32,), sigma=0.1, steps=300, lr=0.01)
    losses = [float(logs["loss"]) for _, logs in pyrogen.fit(setup.step, data.train, steps=300, batch_size=128)]
    x, *_ = data.test.tensors()
    modes = torch.cdist(data.space.to_user(x).double(), data.truth.modes.double()).argmin(1)
    found = use.cluster_scores(use.assign(setup.model, x), modes)["cluster_accuracy"].value
    assert found > 0.95
    assert losses[150] < losses[149] - 1  # the fitted mixture in place of N(0, I)
