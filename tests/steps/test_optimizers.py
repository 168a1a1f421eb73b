"""Optimisers of steps: fused updates, clipping, parameters that come and go."""

from functools import partial

import pyro
import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, RMSprop

from pyrogen.errors import ConfigError
from pyrogen.steps.optimizers import NamedOptimizer, follow, make_optimizer


def parameter(value=0.0, dtype=torch.float32):
    return nn.Parameter(torch.tensor([value], dtype=dtype))


@pytest.mark.parametrize("make", [SGD, Adam, AdamW])
def test_updates_are_fused_where_nothing_else_was_chosen(make):
    (group,) = make_optimizer(partial(make, lr=0.1), [parameter()]).param_groups
    assert group["fused"] is True
    for ways in ({"foreach": True}, {"differentiable": True}, {"fused": False}):
        (group,) = make_optimizer(partial(make, lr=0.1, **ways), [parameter()]).param_groups
        assert not group["fused"]
    (group,) = make_optimizer(partial(make, lr=0.1), [parameter(dtype=torch.complex64)]).param_groups
    assert not group["fused"]


def test_capturable_and_other_optimisers_are_not_fused():
    (group,) = make_optimizer(partial(Adam, lr=0.1, capturable=True), [parameter()]).param_groups
    assert not group["fused"]
    assert "fused" not in make_optimizer(partial(RMSprop, lr=0.1), [parameter()]).param_groups[0]


def test_an_optimiser_follows_its_networks():
    a, b, c = parameter(1.0), parameter(2.0), parameter(3.0)
    frozen = parameter(4.0).requires_grad_(False)
    optimizer = SGD([a, b], lr=1.0)
    follow(optimizer, [a, b, frozen])
    assert len(optimizer.param_groups) == 1
    follow(optimizer, [a, c, frozen])
    assert [[id(p) for p in group["params"]] for group in optimizer.param_groups] == [[id(a)], [id(c)]]
    assert optimizer.param_groups[1]["lr"] == 1.0


def test_gradients_are_clipped_together_and_the_schedule_steps():
    a, b = parameter(), parameter()
    made = NamedOptimizer(
        partial(SGD, lr=1.0), partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.5), clip_norm=1.0
    )
    made.begin({"a": a, "b": b}, {})
    for t in range(2):
        a.grad, b.grad = torch.tensor([3.0]), torch.tensor([4.0])
        made.step()
        assert made.schedule.last_epoch == t + 1
    assert a.item() == pytest.approx(-0.6 * 1.5, rel=1e-4)
    assert b.item() == pytest.approx(-0.8 * 1.5, rel=1e-4)
    assert made.trains(a)
    assert not made.trains(parameter())
    assert made.groups == [["a", "b"]]
    new = parameter(5.0)
    made.add({"a": new}, {})
    assert made.trains(new)
    assert not made.trains(a)
    assert [id(p) for p in made.optimizer.param_groups[0]["params"]] == [id(new), id(b)]
    made.add({"c": parameter()}, {})
    assert made.groups == [["a", "b"], ["c"]]


def test_optimisers_of_pyro_may_clip_and_depend_on_names():
    a, b = parameter(), parameter()
    rates = {"a": {"lr": 1.0}, "b": {"lr": 0.5}}
    made = NamedOptimizer(pyro.optim.SGD(lambda name: rates[name], clip_args={"clip_value": 0.1}))
    made.begin({"param.a": a, "param.b": b}, {"a": a, "b": b})
    a.grad, b.grad = torch.tensor([3.0]), torch.tensor([-4.0])
    made.step()
    assert (a.item(), b.item()) == (pytest.approx(-0.1), pytest.approx(0.05))
    clipped = NamedOptimizer(pyro.optim.SGD({"lr": 1.0}, clip_args={"clip_norm": 1.0}))
    c = parameter()
    clipped.begin({"param.c": c}, {"c": c})
    c.grad = torch.tensor([9.0])
    clipped.step()
    assert c.item() == pytest.approx(-1.0, rel=1e-4)
    with pytest.raises(ConfigError, match="'a' must be a dict; got int"):
        NamedOptimizer(pyro.optim.SGD(lambda name: 3)).begin({"param.a": a}, {"a": a})
    with pytest.raises(ConfigError, match=r"optim must make a torch optimiser.*got torch\.optim\.sgd\.SGD"):
        NamedOptimizer(SGD([a], lr=1.0))


def test_optimisers_of_pyro_are_told_module_and_parameter():
    asked = []

    def settings(module, name):
        asked.append((module, name))
        return {"lr": 0.5}

    a, b = parameter(), parameter()
    made = NamedOptimizer(pyro.optim.SGD(settings))
    made.begin({"model.net.0.weight": a, "param.b": b}, {"net.0$$$weight": a})
    assert asked == [("net.0", "weight"), ("", "b")]
    named = []
    NamedOptimizer(pyro.optim.SGD(lambda name: named.append(name) or {"lr": 0.5})).begin(
        {"model.net.0.weight": a, "model.net.0.bias": b}, {"net.0$$$weight": a}
    )
    assert named == ["net.0.weight", "net.0.bias"]


@pytest.mark.parametrize("optim", [pyro.optim.Adam({"lr": 0.1}), partial(Adam, lr=0.1)])
def test_sites_without_a_gradient_go_on_moving_with_optimisers_of_pyro(optim):
    sites = {"a": parameter(), "b": parameter(), "c": parameter()}
    made = NamedOptimizer(optim)
    made.begin({f"param.{name}": p for name, p in sites.items()}, sites)
    sites["a"].grad = torch.ones(1)
    made.complete(sites, ["a", "b"])
    assert sites["b"].grad is None
    sites["a"].grad = None
    made.complete(sites, ["b", "c", "unknown"])
    assert sites["a"].grad is None  # it was not met
    made.complete(sites, ["a", "b"])
    if isinstance(optim, partial):
        assert sites["a"].grad is None
    else:
        assert sites["a"].grad.tolist() == [0.0]
    assert sites["b"].grad is None
