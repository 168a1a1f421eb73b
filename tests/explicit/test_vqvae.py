"""Vector quantisation: the codebook, its prior, and the bound in nats that the two make."""

from functools import partial
from itertools import product
from math import log

import pytest
import torch
from torch.optim import Adam

import pyrogen
from pyrogen.data import Split
from pyrogen.errors import ConfigError
from pyrogen.explicit import VQVAE, VQVAE2, GaussianLikelihood
from pyrogen.explicit.vqvae import CodeSequences
from pyrogen.measure.likelihood import bounds, pair_scores
from pyrogen.nn.codebook import Codebook, perplexity
from pyrogen.nn.transformer import CausalTransformer
from pyrogen.random import scoped_seed
from pyrogen.recipes import recipe
from pyrogen.steps import GradientStep
from pyrogen.testing import check_autoencoder, check_latent_variable, check_pair, check_sampler

EVERY = [(make, shape) for make in (VQVAE, VQVAE2) for shape in ((1, 8, 8), (3, 17, 22))]


def make_one(make=VQVAE, shape=(1, 8, 8), **options):
    with scoped_seed(0):
        return make(shape, 7, 4, 8, GaussianLikelihood(), prior_width=8, **options)


def some(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_prior_is_causal_normalised_and_drawn_from_what_it_says():
    with scoped_seed(0):
        prior = CausalTransformer(3, 4, 8).eval()
        prior.head.weight.data.mul_(4)
    every = torch.tensor(list(product(range(3), repeat=4)))
    p = prior.log_prob(every).exp().detach()
    assert float(p.sum()) == pytest.approx(1.0, abs=1e-4)
    logits = prior(every)
    assert logits.shape == (81, 4, 3)
    assert torch.allclose(logits[0, :3], logits[2, :3], atol=1e-5)  # they differ in the last token alone
    assert not torch.allclose(logits[0, 2], logits[3, 2 + 1], atol=1e-3)
    with scoped_seed(1):
        drawn = prior.sample(20_000)
    index = (drawn * torch.tensor([27, 9, 3, 1])).sum(1)
    frequencies = torch.bincount(index, minlength=81) / 20_000
    assert (frequencies - p).abs().max() < 5 * (p.max() / 20_000) ** 0.5
    for parameter in prior.parameters():
        parameter.grad = None
    prior.log_prob(every).sum().backward()
    assert all(parameter.grad is not None for parameter in prior.parameters())


def test_codes_are_the_nearest_and_gradients_pass_straight_through():
    book = Codebook(6, 3).eval()
    h = some(2, 5, 3).requires_grad_()
    e, codes, loss = book(h)
    distance = torch.cdist(h.detach(), book.vectors.detach()[None])
    assert torch.equal(codes, distance.argmin(-1))
    assert torch.allclose(e, book.vectors[codes])
    assert torch.allclose(loss, 0.25 * distance.amin(-1).square().sum(1), atol=1e-5)
    weight = some(2, 5, 3, seed=1)
    (gradient,) = torch.autograd.grad((e * weight).sum(), h)
    assert torch.equal(gradient, weight)


@pytest.mark.parametrize("ema", [True, False])
def test_a_codebook_finds_the_clusters(ema):
    """K-means in disguise: with one code for each of four points, each code ends on its point."""
    points = torch.tensor([[0.0, 0.0], [0.0, 4.0], [4.0, 0.0], [4.0, 4.0]])
    book = Codebook(4, 2, ema, decay=0.9)
    optimizer = None if ema else Adam(book.parameters(), 0.05)
    with scoped_seed(0):
        for _ in range(400):
            h = (points[torch.randint(4, (64,))] + 0.1 * torch.randn(64, 2))[None]
            _, codes, loss = book(h)
            if optimizer:
                optimizer.zero_grad()
                loss.sum().backward()
                optimizer.step()
    found = torch.cdist(points, book.vectors.detach()).amin(1)
    assert found.max() < 0.2
    assert float(perplexity(codes, 4)) > 3.5


def test_moving_averages_are_those_of_the_paper():
    book = Codebook(2, 1, decay=0.5)
    first, second = torch.tensor([[[0.0], [0.2], [1.0], [1.2]]]), torch.tensor([[[0.1], [1.4], [1.4], [1.4]]])
    with scoped_seed(3):
        book(first)
    book.vectors.data.copy_(torch.tensor([[0.1], [1.1]]))
    book.count.copy_(torch.tensor([2.0, 2.0]))
    book.total.copy_(torch.tensor([[0.2], [2.2]]))
    book(second)
    assert torch.allclose(book.count, torch.tensor([1.5, 2.5]))
    assert torch.allclose(book.vectors, torch.tensor([[0.15 / 1.5], [3.2 / 2.5]]))


def test_dead_codes_come_back_among_the_data_and_rest_in_evaluation():
    book = Codebook(4, 2, decay=0.5)
    h = some(1, 50, 2)
    book(h)
    with torch.no_grad():
        book.vectors[0] = 100.0
        book.total[0] = 100.0 * book.count[0]
    book.eval()
    before = [t.clone() for t in book.state_dict().values()]
    book(h)
    assert all(torch.equal(a, b) for a, b in zip(before, book.state_dict().values(), strict=True))
    book.train()
    for _ in range(12):
        book(h)
    assert book.vectors.min() >= 0
    assert book.vectors.max() <= 1


def test_perplexity_counts_the_codes_in_use():
    assert float(perplexity(torch.tensor([[0, 1], [2, 3]]), 9)) == pytest.approx(4.0)
    assert float(perplexity(torch.zeros(5, dtype=torch.long), 9)) == pytest.approx(1.0)


@pytest.mark.parametrize(("make", "shape"), EVERY)
@pytest.mark.parametrize("ema", [True, False])
def test_contract(make, shape, ema):
    model, x = make_one(make, shape, ema=ema), some(3, *shape)
    for check in (check_sampler, check_pair, check_latent_variable, check_autoencoder):
        check(model, Split(x))
    step = GradientStep(model.losses, partial(Adam, lr=1e-3))
    before = {name: t.detach().clone() for name, t in model.named_parameters()}
    with scoped_seed(0):
        logs = step(x)
    assert [name for name, t in model.named_parameters() if torch.equal(t, before[name])] == []
    assert logs.keys() == {"loss", "distortion", "rate", "perplexity"}
    state = [t.clone() for t in model.state_dict().values()]
    codes = model.encode(x)
    assert codes.shape == (3, model.positions)
    assert codes.dtype == torch.long
    assert model.sample_mean(2).shape == (2, *shape)
    elbo, iwae, what = bounds(model, x, k=50)
    assert (what.latent, what.deterministic_guide) == (True, True)
    model.eval()
    nats = CodeSequences(model.prior_network, 3).log_prob(codes)
    nats = nats + model.likelihood(model.decoder_output(model.embed(codes))).log_prob(x).flatten(1).sum(1)
    assert torch.allclose(elbo, nats, rtol=1e-4)
    assert torch.allclose(iwae, nats, rtol=1e-4)
    assert pair_scores(model, x)[0]["log_likelihood"].kind == "lower_bound"
    assert pair_scores(model, x)[0]["log_likelihood"].detail["k"] == 1
    assert all(torch.equal(a, b) for a, b in zip(state, model.state_dict().values(), strict=True))


def test_a_top_code_reaches_the_whole_image_and_the_bottom_is_drawn_given_it():
    model = make_one(VQVAE2).eval()
    assert (model.top_grid, model.grid, model.positions) == ((2, 2), (4, 4), 20)
    codes = torch.zeros(1, 20, dtype=torch.long)
    other = codes.clone()
    other[0, 0] = 3
    assert not torch.equal(model.decode(codes), model.decode(other))
    assert not torch.allclose(model.prior_network(codes)[:, 4:], model.prior_network(other)[:, 4:], atol=1e-4)


@pytest.mark.parametrize("name", ["vqvae", "vqvae2"])
def test_the_recipe_learns_to_reconstruct_and_to_code_shorter_than_evenly(name):
    data = pyrogen.load("digits")
    with scoped_seed(0):
        setup = recipe(name)(data, codes=16, dim=8, width=16, prior_width=16, steps=400)
    x = data.test.tensors()[0]
    before = float((setup.model.reconstruct(x) - x).square().mean().detach())
    for _ in pyrogen.fit(setup.step, setup.data.train, steps=400, batch_size=64, seed=0):
        pass
    scores = pyrogen.evaluate(setup.model, data.test)
    assert scores["reconstruction"].value < 0.6 * before
    assert scores["log_likelihood"].kind == "lower_bound"
    rate = -setup.model.eval().prior_network.log_prob(setup.model.encode(x)).mean()
    assert float(rate.detach()) < setup.model.positions * log(16)  # an even prior


def test_mistakes_are_named():
    with pytest.raises(ConfigError, match="at least 2 codes; got 1"):
        Codebook(1, 2)
    with pytest.raises(ConfigError, match="8 x 8"):
        VQVAE((1, 6, 6))
    data = pyrogen.load("digits")
    with pytest.raises(ConfigError, match="20000 codes exceed the 18672 grid positions of the training data"):
        recipe("vqvae")(data, codes=20_000)
    with pytest.raises(ConfigError, match="needs images"):
        recipe("vqvae2")(pyrogen.load("ring"))
    with pytest.raises(ConfigError, match="computes a probability mass"):
        recipe("vqvae")(data, likelihood="bernoulli")
