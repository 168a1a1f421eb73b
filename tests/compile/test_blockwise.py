"""Bernoulli log-probabilities on blocks of rows equal those of the distribution."""

import pyro.distributions as dist
import pytest
import torch
from helpers import points

from pyrogen.compile.blockwise import BLOCK, blockwise_log_prob


@pytest.mark.parametrize("events", [0, 1, 3])
@pytest.mark.parametrize("name", ["logits", "probs"])
def test_equal_to_the_distribution(events, name):
    shape = (BLOCK // 40, 2, 6, 7)
    logits = 20 * points(*shape)
    x = (points(*shape, seed=1) > 0).float()
    fn = dist.Bernoulli(**{name: logits if name == "logits" else logits.sigmoid()}).to_event(events)
    torch.testing.assert_close(blockwise_log_prob(fn, x), fn.log_prob(x), rtol=1e-6, atol=1e-5)


def test_the_formula_is_used_where_it_is_cheaper(monkeypatch):
    """An own class, a value of another shape and few values are left to the distribution."""

    class Own(torch.distributions.Bernoulli):
        def log_prob(self, value):
            return torch.full(value.shape, 7.0)

    monkeypatch.setattr(torch.distributions.Bernoulli, "log_prob", Own.log_prob)
    logits = points(BLOCK // 4, 6)
    plain = dist.Bernoulli(logits=logits, validate_args=False).to_event(1)
    assert bool((blockwise_log_prob(plain, torch.zeros_like(logits)) < 0).all())
    monkeypatch.undo()
    for fn, x in (
        (torch.distributions.Independent(Own(logits=logits), 1), torch.zeros_like(logits)),
        (plain, torch.zeros(6)),
        (dist.Bernoulli(logits=logits[:9]).to_event(1), torch.zeros(9, 6)),
        (dist.Normal(logits, 1.0).to_event(1), torch.zeros_like(logits)),
    ):
        assert torch.equal(blockwise_log_prob(fn, x), fn.log_prob(x))


def test_values_outside_the_support_are_refused_where_the_distribution_does():
    logits = points(BLOCK // 4, 6)
    grey = torch.full_like(logits, 0.5)
    with pytest.raises(ValueError, match="support"):
        blockwise_log_prob(dist.Bernoulli(logits=logits, validate_args=True).to_event(1), grey)
    fn = dist.Bernoulli(logits=logits, validate_args=False).to_event(1)
    torch.testing.assert_close(blockwise_log_prob(fn, grey), fn.log_prob(grey), rtol=1e-6, atol=1e-5)
