"""The conditional VAE: side information of each kind, completion of images, and bounds on p(x | y)."""

from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from torch.optim import Adam

import pyrogen
from pyrogen import SVI, evaluate
from pyrogen.data import Split
from pyrogen.errors import ConfigError, DataError
from pyrogen.explicit import CVAE, Attributes, GaussianLikelihood, Label, PartialImage, observe_quadrants
from pyrogen.explicit.likelihoods import make_likelihood
from pyrogen.measure.likelihood import bounds
from pyrogen.random import scoped_seed
from pyrogen.testing import check_latent_variable, check_pair, check_sampler

LIKELIHOODS = ("bernoulli", "gaussian", "discretized_logistic")
CONDITIONS = ("label", "attributes", "quadrants")
SHAPES = ((1, 8, 8), (3, 9, 11))


def make(shape, condition="label", likelihood="bernoulli", prior="learned", **options):
    known = {"label": Label(3), "attributes": Attributes(5), "quadrants": PartialImage(shape)}[condition]
    with scoped_seed(0):
        return CVAE(shape, known, 4, (8, 6), make_likelihood(likelihood, 17), prior, **options)


def some_data(n, shape, condition="label", likelihood="bernoulli"):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(n, *shape, generator=generator)
    x = (x > 0.5).float() if likelihood == "bernoulli" else x
    if condition == "label":
        return x, torch.arange(n) % 3
    return x, torch.randn(n, 5, generator=generator) if condition == "attributes" else observe_quadrants(x, 1)


def linear_cvae(prior, s=0.6):
    """A CVAE without hidden layers and the exact log p(x | y) of its marginal."""
    with scoped_seed(4):
        cvae = CVAE((5,), Label(3), 2, (), GaussianLikelihood(s, unit=False), prior).eval()
        orthogonal, _ = torch.linalg.qr(torch.randn(5, 2))
        V = torch.randn(5, 3)
    size = torch.tensor([0.5, 1.5])
    W, precision = orthogonal * size, 1 + size.square() / s**2
    decode, encode = cvae.decoder[0][0], cvae.encoder[0]
    with torch.no_grad():
        decode.weight.copy_(torch.cat([W, V], 1))
        bias = decode.bias + cvae.offset
        to_mean = W.T / s**2 / precision[:, None]
        loc = torch.cat([to_mean, -to_mean @ V], 1)
        encode.weight.copy_(torch.cat([loc, torch.zeros_like(loc)]))
        encode.bias.copy_(torch.cat([-to_mean @ bias, -0.5 * precision.log()]))

    def log_prob(x, y):
        z = cvae.prior_dist(len(y), y)
        loc = (z.mean @ W.T + V.T[y] + bias).detach()
        cov = (W * z.variance[:, None]) @ W.T + s**2 * torch.eye(5)
        return dist.MultivariateNormal(loc, cov.detach()).log_prob(x)

    return cvae, log_prob


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("prior", ["learned", "standard"])
@pytest.mark.parametrize("n", [1, 3])
def test_contract(shape, condition, likelihood, prior, n):
    cvae = make(shape, condition, likelihood, prior)
    x, y = some_data(n, shape, condition, likelihood)
    for check in (check_sampler, check_pair, check_latent_variable):
        check(cvae, Split(x, y, side_fn=lambda x, y: y))
    assert cvae.encode(x, y).shape == (n, 4)
    for given in (y, y[:1]):
        drawn, mean = cvae.sample(n, given), cvae.sample_mean(n, given)
        assert drawn.shape == mean.shape == x.shape
        assert mean.isfinite().all()
    if likelihood == "bernoulli":
        assert set(drawn.unique().tolist()) <= {0.0, 1.0}
    *_, what = bounds(cvae, x, y, k=1)
    assert (what.latent, what.shared, what.probability) == (True, False, cvae.likelihood.probability)


@pytest.mark.parametrize("condition", ["label", "attributes"])
def test_vectors(condition):
    cvae = make((7,), condition, "gaussian")
    x, y = some_data(2, (7,), condition, "gaussian")
    assert cvae.sample(2, y).shape == cvae.sample_mean(2, y).shape == cvae.decode(cvae.encode(x, y), y).shape == (2, 7)
    assert bounds(cvae, x, y, k=2)[0].shape == (2,)


def test_prior_is_learned_or_standard():
    y = torch.tensor([0, 1, 2])
    standard, learned = make((1, 8, 8), prior="standard"), make((1, 8, 8))
    assert torch.equal(standard.prior_dist(3, y).mean, torch.zeros(3, 4))
    assert torch.equal(standard.prior_dist(3, y).variance, torch.ones(3, 4))
    assert not torch.allclose(*learned.prior_dist(3, y).mean[:2])
    assert not torch.allclose(*learned.prior_dist(3, y).variance[:2])
    assert {name for name, _ in learned.named_parameters()} - {name for name, _ in standard.named_parameters()} == {
        f"prior_network.{i}.{kind}" for i in (0, 2) for kind in ("weight", "bias")
    }
    with pytest.raises(ConfigError, match=r"'lerned'; did you mean 'learned'"):
        make((1, 8, 8), prior="lerned")


@pytest.mark.parametrize("prior", ["learned", "standard"])
@pytest.mark.parametrize("condition", CONDITIONS)
def test_side_information_reaches_prior_decoder_and_encoder(prior, condition):
    cvae = make((1, 8, 8), condition, prior=prior)
    step = SVI(cvae.model, cvae.guide)
    before = {name: p.detach().clone() for name, p in cvae.named_parameters()}
    x, y = some_data(6, (1, 8, 8), condition)
    step(x, y)
    assert [name for name, p in cvae.named_parameters() if torch.equal(p, before[name])] == []
    other = y.flip(0)
    z = torch.zeros(6, 4)
    assert not torch.allclose(cvae.decoder_output(z, y), cvae.decoder_output(z, other))
    assert not torch.allclose(cvae.encode(x, y), cvae.encode(x, other))


@pytest.mark.parametrize("prior", ["learned", "standard"])
def test_linear_cvae_has_its_known_marginal(prior):
    cvae, log_prob = linear_cvae(prior)
    generator = torch.Generator().manual_seed(1)
    x, y = 2 * torch.randn(200, 5, generator=generator), torch.randint(3, (200,), generator=generator)
    exact = log_prob(x, y)
    if prior == "standard":  # then the encoder is the true posterior
        elbo, iwae, _ = bounds(cvae, x, y, k=3)
        assert torch.allclose(elbo, exact, atol=1e-3)
        assert torch.allclose(iwae, exact, atol=1e-3)
    else:
        elbo = bounds(cvae, x, y, k=50)[0].mean()
        few, many = (bounds(cvae, x, y, k=k)[1].mean() for k in (5, 2000))
        assert elbo < few < many < exact.mean() + 0.01
        assert many == pytest.approx(float(exact.mean()), abs=0.05)
    n = 40_000
    for label in range(3):
        with scoped_seed(label):
            drawn = cvae.sample(n, torch.tensor([label]))
        with scoped_seed(label):
            assert torch.equal(drawn, cvae.sample(n, torch.full((n,), label)))
        assert -log_prob(drawn, torch.full((n,), label)).mean() == pytest.approx(entropy(log_prob, label), abs=0.05)


def entropy(log_prob, label):
    """The entropy of the Gaussian ``log_prob(·, label)``, from its curvature at 0."""
    y = torch.tensor([label])
    precision = -torch.autograd.functional.hessian(lambda x: log_prob(x[None], y).sum(), torch.zeros(5))
    return 2.5 * (1 + torch.tensor(2 * torch.pi).log().item()) - 0.5 * torch.logdet(precision).item()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("observed", [1, 2, 3])
def test_completion_keeps_observed_pixels(shape, likelihood, observed):
    cvae = make(shape, "quadrants", likelihood)
    x, _ = some_data(4, shape, likelihood=likelihood)
    y = observe_quadrants(x, observed)
    seen = ~y.isnan()
    for insert_observed in (cvae.sample(4, y), cvae.sample_mean(4, y), cvae.decode(torch.randn(4, 4), y)):
        assert torch.equal(insert_observed[seen], x[seen])
        assert insert_observed.isfinite().all()
        assert not torch.equal(insert_observed, x)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("observed", [1, 2, 3])
def test_likelihood_counts_hidden_pixels_only(likelihood, observed):
    cvae = make((3, 9, 11), "quadrants", likelihood)
    x, _ = some_data(2, (3, 9, 11), likelihood=likelihood)
    y = observe_quadrants(x, observed)
    trace = poutine.trace(cvae.model).get_trace(x, y)
    every = cvae.likelihood(cvae.decoder_output(trace.nodes["z"]["value"], y)).log_prob(x)
    expected = torch.where(y.isnan(), every, 0.0).flatten(1).sum(1)
    assert torch.allclose(trace.nodes["x"]["fn"].log_prob(x), expected, rtol=1e-4)
    assert not torch.allclose(every.flatten(1).sum(1), expected, rtol=1e-3)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_nothing_is_left_to_explain_where_all_is_observed(likelihood):
    cvae = make((1, 8, 8), "quadrants", likelihood)
    x, _ = some_data(5, (1, 8, 8), likelihood=likelihood)
    site = poutine.trace(cvae.model).get_trace(x, x.clone()).nodes["x"]
    assert torch.equal(site["fn"].log_prob(x), torch.zeros(5))
    elbo, iwae, _ = bounds(cvae, x, x.clone(), k=5000)
    divergence = torch.distributions.kl_divergence(cvae.posterior_dist(x, x), cvae.prior_dist(len(x), x)).detach()
    assert torch.allclose(elbo, -divergence, atol=0.1)
    assert torch.allclose(iwae, torch.zeros(5), atol=0.1)


def test_label_prior_is_by_frequency():
    label = Label(3, torch.tensor([1, 1, 6]))
    y = torch.tensor([2, 0])
    assert torch.allclose(label.log_prob(y), torch.tensor([0.75, 0.125]).log())
    with scoped_seed(0):
        share = torch.bincount(label.draw(8000), minlength=3) / 8000
    assert torch.allclose(share, torch.tensor([0.125, 0.125, 0.75]), atol=0.02)
    assert torch.allclose(Label(4).log_prob(y), torch.full((2,), 0.25).log())
    assert torch.equal(label(y), torch.tensor([[0.0, 0, 1], [1, 0, 0]]))


def test_label_turns_the_score_into_one_of_the_joint():
    data = pyrogen.load("digits-binary")
    cvae = CVAE(data.shape, Label(10, torch.arange(1, 11)), 2, (8,))
    x, y = data.test.tensors(0)
    elbo, iwae, _ = bounds(cvae, x, y, k=5, seed=3)
    prior = (torch.arange(1.0, 11) / 55).log()[y]
    scores = evaluate(cvae, data.test, k=5, seed=3)
    assert scores["elbo"].value == pytest.approx(float((elbo + prior).mean()), abs=1e-3)
    assert scores["log_likelihood"].value == pytest.approx(float((iwae + prior).mean()), abs=1e-3)


def test_labels_are_drawn_where_none_are_given():
    cvae, _ = linear_cvae("standard")
    cvae.condition = Label(3, torch.tensor([0, 1, 0]))
    with scoped_seed(0):
        free = cvae.sample(20_000)
    with scoped_seed(1):
        given = cvae.sample(20_000, torch.tensor([1]))
    assert torch.allclose(free.mean(0), given.mean(0), atol=0.08)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_missing_side_information_is_named(condition):
    cvae = make((1, 8, 8), condition)
    x, y = some_data(4, (1, 8, 8), condition)
    calls = [cvae.model, cvae.guide, cvae.encode, lambda x: cvae.decode(torch.zeros(4, 4))]
    if condition != "label":
        calls += [lambda x: cvae.sample(4), lambda x: cvae.sample_mean(4)]
    for call in calls:
        with pytest.raises(ConfigError, match="side information"):
            call(x)
    with pytest.raises(ConfigError, match="1 or 7 rows; got 4"):
        cvae.sample(7, y)


def test_wrong_labels_are_named():
    cvae = make((1, 8, 8))
    with pytest.raises(DataError, match=r"long tensor.*float32"):
        cvae.sample(2, torch.zeros(2))
    with pytest.raises(DataError, match=r"\(2, 1\)"):
        cvae.sample(2, torch.zeros(2, 1, dtype=torch.long))


@pytest.mark.parametrize("condition", ["label", "quadrants"])
@pytest.mark.parametrize("prior", ["learned", "standard"])
@pytest.mark.parametrize("loss", [Trace_ELBO, TraceMeanField_ELBO])
def test_same_trajectory_as_stock_pyro(condition, prior, loss):
    x, y = pyrogen.load("digits-binary").train.tensors(0)
    x, y = x[:64], y[:64] % 3 if condition == "label" else observe_quadrants(x[:64], 2)
    ours, theirs = (make((1, 8, 8), condition, prior=prior) for _ in range(2))
    pyro.clear_param_store()
    stock = pyro.infer.SVI(theirs.model, theirs.guide, pyro.optim.Adam({"lr": 3e-3}), loss())
    step = SVI(ours.model, ours.guide, optim=partial(Adam, lr=3e-3), loss=loss())
    curve = []
    for t in range(15):
        with scoped_seed(t):
            expected = stock.step(x, y) / len(x)
        with scoped_seed(t):
            curve.append(float(step(x, y)["loss"]))
        assert curve[-1] == pytest.approx(expected, rel=1e-4)
    pyro.clear_param_store()
    assert curve[-1] < curve[0] - 0.5


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 9, 11), (3, 28, 28), (3, 9, 8), (1, 1, 2)])
def test_quadrants_tile_the_image(shape):
    c, h, w = shape
    x = torch.arange(1.0, 2 * c * h * w + 1).view(2, *shape)
    seen = [~observe_quadrants(x, i).isnan() for i in (1, 2, 3)]
    areas = [seen[0], seen[1] & ~seen[0], seen[2] & ~seen[1], ~seen[2]]
    assert (seen[1] | ~seen[0]).all()
    assert (seen[2] | ~seen[1]).all()
    top, left = torch.arange(h)[:, None] < h // 2, torch.arange(w) < w // 2
    for area, expected in zip(areas, (~top & left, top & left, ~top & ~left, top & ~left), strict=True):
        assert torch.equal(area, expected.expand(2, *shape))
    for i in (1, 2, 3):
        assert torch.equal(observe_quadrants(x, i)[seen[i - 1]], x[seen[i - 1]])


@pytest.mark.parametrize("observed", [0, 4, -1])
def test_impossible_numbers_of_quadrants_are_refused(observed):
    with pytest.raises(DataError, match=rf"1, 2 or 3.*{observed}"):
        observe_quadrants(torch.zeros(1, 1, 8, 8), observed)


def test_features_of_a_partial_image():
    y = torch.tensor([[[[0.25, torch.nan], [torch.nan, 1.0]]]])
    condition = PartialImage((1, 2, 2))
    assert condition(y).tolist() == [[0.25, 0, 0, 1, 1, 0, 0, 1]]
    assert condition.features == 8
    assert torch.equal(condition.unobserved(y), y.isnan())
