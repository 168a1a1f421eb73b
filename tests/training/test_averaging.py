"""Averages of weights, where what they must be is known."""

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from pyrogen.training.averaging import BestWeights, ExponentialMovingAverage, ema


def averaged(values, decay):
    """The average of a net of one number that took these values in turn."""
    net = nn.Linear(1, 1, bias=False).double()
    average = ExponentialMovingAverage(net, decay)
    for value in values:
        nn.init.constant_(net.weight, value)
        average.update(net)
    return average.module.weight.item()


@pytest.mark.parametrize("decay", [0.9, 0.999])
def test_average_of_equal_weights_is_that_weight(decay):
    assert averaged([3.0] * 50, decay) == pytest.approx(3.0)


def test_start_is_forgotten_in_a_short_run():
    assert averaged([1.0] + [0.0] * 300, 0.999) < 1e-9


def test_decay_is_reached_in_the_end():
    """After many steps, a step's weight is 1 - decay, and shrinks by the decay with each further one."""
    for behind in (0, 5):
        values = [0.0] * 3000 + [1.0] + [0.0] * behind
        assert averaged(values, 0.99) == pytest.approx(0.01 * 0.99**behind)


def test_average_of_steps_early_on_is_the_formula():
    expected, values = 0.0, [0.0, 4.0, -1.0, 2.0]
    for n, value in enumerate(values):
        decay = min(0.999, (1 + n) / (10 + n)) if n else 0.0
        expected = decay * expected + (1 - decay) * value
    assert averaged(values, 0.999) == pytest.approx(expected)


def test_it_is_one_of_torchs_averages():
    net = nn.Linear(2, 2)
    average = AveragedModel(net, multi_avg_fn=ema(0.5))
    average.update_parameters(net)
    average.update_parameters(net)
    assert torch.equal(average.module.weight, net.weight)


def test_the_step_and_the_rule_of_the_weights_are_known_and_stored():
    net = nn.Linear(1, 1)
    best, average = BestWeights(net), ExponentialMovingAverage(net, 0.9)
    assert (best.step, best.rule) == (0, "initial weights, as no validation loss was finite")
    for t, score in enumerate([float("nan"), 3.0, 1.0, 2.0], 1):
        average.update(net)
        for weights in (best, average):
            weights.judge(net, score, t)
    assert (best.step, best.rule) == (3, "lowest validation loss")
    assert (average.step, average.rule) == (4, "average of weights, with decay 0.9")
    for weights, again in ((best, BestWeights(net)), (average, ExponentialMovingAverage(net, 0.9))):
        again.load_state_dict(weights.state_dict())
        assert (again.step, again.rule) == (weights.step, weights.rule)
    old = {name: value for name, value in best.state_dict().items() if name != "step"}  # as version 0.1 wrote it
    best.load_state_dict(old)
    assert (best.step, best.rule) == (None, "lowest validation loss")
