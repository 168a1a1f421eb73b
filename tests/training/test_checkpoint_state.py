"""What a part's state may hold comes back exactly; what it may not hold is refused by name, and nothing is written."""

import copy
import inspect
import math
from collections import Counter, OrderedDict, defaultdict, namedtuple
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn, optim
from torch.optim import lr_scheduler as schedules

from pyrogen.errors import RunError
from pyrogen.training.checkpoint import restore, save


class Part:
    """A part that holds any state."""

    def __init__(self, state=None):
        self.state = state

    def state_dict(self):
        return self.state

    def load_state_dict(self, state):
        self.state = state


def round_trip(folder, state):
    save(folder, t=1, part=Part(state))
    part = Part()
    assert restore(folder, part=part) == 1
    return part.state


def assert_same(one, two):
    """The same types, values, layouts and order, down to the bits."""
    assert type(one) is type(two), (one, two)
    if isinstance(one, dict):
        assert list(one) == list(two)
        for key, other in zip(one, two, strict=True):
            assert_same(key, other)
            assert_same(one[key], two[other])
    elif isinstance(one, list | tuple):
        assert len(one) == len(two)
        for a, b in zip(one, two, strict=True):
            assert_same(a, b)
    elif isinstance(one, torch.Tensor):
        assert (one.dtype, one.shape) == (two.dtype, two.shape)
        strides = [[step for n, step in zip(t.shape, t.stride(), strict=True) if n > 1] for t in (one, two)]
        assert not one.numel() or strides[0] == strides[1]
        assert torch.equal(one.contiguous().view(-1).view(torch.uint8), two.contiguous().view(-1).view(torch.uint8))
    elif isinstance(one, np.ndarray | np.generic):
        assert (one.dtype, one.shape, one.tobytes()) == (two.dtype, two.shape, two.tobytes())
    elif isinstance(one, float):
        assert repr(one) == repr(two)
    else:
        assert one == two


DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.complex128, torch.int64, torch.uint16, torch.bool]
plain = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**130), 2**130),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["$tuple", "$", "weights"]),
    st.binary(max_size=5),
    st.complex_numbers(allow_nan=False),
    st.builds(lambda n, dtype: torch.arange(n).to(dtype), st.integers(0, 4), st.sampled_from(DTYPES)),
    st.builds(lambda n: torch.ones(2, 3, n).mT, st.integers(1, 3)),
    st.builds(
        lambda n, dtype: np.arange(n).astype(dtype), st.integers(0, 4), st.sampled_from(["f8", "f4", "u4", "c16", "?"])
    ),
    st.sampled_from([np.float64(0.1), np.int8(-3), torch.float16, torch.device("cuda", 1), torch.Size([2, 0])]),
)
keys = st.one_of(
    st.text(max_size=4), st.integers(), st.booleans(), st.none(), st.tuples(st.integers(), st.text(max_size=2))
)


def containers(inner):
    return st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=4) | st.sampled_from(["$dict", "weights"]), inner, max_size=4),
        st.dictionaries(keys, inner, max_size=4),
        st.dictionaries(st.text(max_size=4), inner, max_size=3).map(OrderedDict),
        st.lists(st.text(max_size=2), max_size=4).map(Counter),
    )


@settings(max_examples=80, deadline=None)
@given(state=st.dictionaries(st.text(max_size=6), st.recursive(plain, containers, max_leaves=12), max_size=5))
def test_any_nested_state_comes_back_exactly(tmp_path_factory, state):
    whole = {"inner": state, "t": 1}  # a state of tensors alone is weights, whose layout in memory is not kept
    assert_same(whole, round_trip(tmp_path_factory.mktemp("run"), whole))


def test_sets_generators_and_whole_random_states_come_back(tmp_path):
    state = {
        "set": {1, "a"},
        "frozen": frozenset([(1, 2)]),
        "torch": torch.get_rng_state(),
        "legacy": np.random.RandomState(0).get_state(),
        "numpy": np.random.default_rng(0).bit_generator.state,
    }
    assert_same(state, round_trip(tmp_path, state))


def test_a_tensor_that_occurs_twice_is_one_afterwards_too(tmp_path):
    shared, other = torch.ones(3), torch.ones(3)
    back = round_trip(tmp_path, {"a": shared, "b": [shared], "other": other})
    back["a"][0] = 5
    assert back["b"][0][0] == 5
    assert back["other"][0] == 1


def test_weights_that_are_made_anew_by_each_part_are_kept_apart(tmp_path):
    """An address may be that of another tensor when the first one is gone."""

    class Fresh(Part):
        def state_dict(self):
            return {"w": torch.full((1000,), self.state)}

    parts = {f"part{i}": Fresh(float(i)) for i in range(5)}
    save(tmp_path, t=1, **parts)
    back = {name: Part() for name in parts}
    restore(tmp_path, **back)
    assert [float(part.state["w"][0]) for part in back.values()] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "state", [{}, {"weights": {}, "t": 1}, {"weights": [0.1]}, {"weights": {"w": 1}}, {0: torch.ones(1)}]
)
def test_a_state_that_looks_like_weights_but_is_not_comes_back(tmp_path, state):
    assert_same(state, round_trip(tmp_path, state))


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (print, "a builtins.builtin_function_or_method"),
        (Point(1, 2), "Point"),
        (defaultdict(int), "a collections.defaultdict"),
        (np.array(["a"]), "an array of dtype <U1"),
        (np.array([None]), "an array of dtype object"),
        (np.arange(3).astype(">i4"), "an array of dtype >i4"),
        (torch.eye(2).to_sparse(), "torch.sparse_coo"),
        (torch.empty(2, device="meta"), "on meta"),
        (1 << 9000, "an int of more than 8,192 bits"),
    ],
)
def test_what_cannot_be_stored_is_refused_by_name(tmp_path, value, what):
    with pytest.raises(RunError, match=r"cannot save 'part\.inner\.1'") as refused:
        save(tmp_path / "run", t=1, part=Part({"inner": [0, value]}))
    assert what in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "run").exists()


def test_a_state_that_holds_itself_a_dot_in_a_name_and_a_negative_step_are_refused(tmp_path):
    endless = []
    endless.append(endless)
    with pytest.raises(RunError, match="nested more than 100 deep"):
        save(tmp_path, t=1, part=Part({"a": endless}))
    with pytest.raises(RunError, match=r"'a\.b': expected a name without a dot"):
        save(tmp_path, t=1, **{"a.b": Part({})})
    with pytest.raises(RunError, match="of step -1"):
        save(tmp_path, t=-1, part=Part({}))
    assert not list(tmp_path.iterdir())


ARGUMENTS = {"SGD": {"lr": 0.01, "momentum": 0.9}, "LBFGS": {"max_iter": 3, "history_size": 4}}
WITHOUT = {"Optimizer", "SparseAdam", "Muon"}
"""The base class, one for sparse gradients, and one for matrices alone."""
OPTIMIZERS = [
    name
    for name, cls in vars(optim).items()
    if inspect.isclass(cls) and issubclass(cls, optim.Optimizer) and name not in WITHOUT
]


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(12, 1))


class Learner:
    """A network, its optimiser and whatever else has a state."""

    def __init__(self, make, *more):
        self.net = network()
        self.optimizer = make(self.net)
        if not isinstance(self.optimizer, optim.LBFGS):  # which takes contiguous gradients alone
            self.net.to(memory_format=torch.channels_last)
        self.more = [part(self.optimizer) for part in more]

    def learn(self, steps):
        for i in range(steps):
            x = torch.randn(4, 2, 4, 4, generator=torch.Generator().manual_seed(i))

            def closure(x=x):
                self.optimizer.zero_grad()
                loss = (self.net(x) ** 2).mean()
                loss.backward()
                return loss

            loss = self.optimizer.step(closure)
            for part in self.more:
                part.step(*([loss.item()] if isinstance(part, schedules.ReduceLROnPlateau) else []))
        return self

    def parts(self):
        return {"net": self.net, "optimizer": self.optimizer} | {f"part{i}": p for i, p in enumerate(self.more)}

    def state(self):
        return copy.deepcopy({name: part.state_dict() for name, part in self.parts().items()})


def assert_resumes(folder, make, *more):
    one, two = Learner(make, *more).learn(3), Learner(make, *more)
    save(folder, t=3, **one.parts())
    restore(folder, **two.parts())
    assert_same(one.state(), two.state())
    assert_same(one.learn(3).state(), two.learn(3).state())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimiser_of_torch_continues_bit_for_bit(tmp_path, name):
    arguments = ARGUMENTS.get(name, {"lr": 0.01})
    assert_resumes(tmp_path, lambda net: getattr(optim, name)(net.parameters(), **arguments))


@pytest.mark.parametrize(
    "arguments", [{"fused": True}, {"amsgrad": True}, {"lr": torch.tensor(0.01), "foreach": False}]
)
def test_adam_with_its_variants_and_several_groups(tmp_path, arguments):
    def make(net):
        groups = [{"params": net[0].parameters(), "lr": 0.1}, {"params": net[2].parameters(), "betas": (0.5, 0.9)}]
        return optim.Adam(groups, **arguments)

    assert_resumes(tmp_path, make)


def chained(optimizer):
    parts = [schedules.LinearLR(optimizer, total_iters=2), schedules.ExponentialLR(optimizer, 0.9)]
    return schedules.SequentialLR(optimizer, parts, milestones=[2])


SCHEDULES = {
    "OneCycleLR": partial(schedules.OneCycleLR, max_lr=0.1, total_steps=20),
    "CyclicLR": partial(schedules.CyclicLR, base_lr=0.01, max_lr=0.1),
    "SequentialLR": chained,
    "ChainedScheduler": lambda o: schedules.ChainedScheduler(
        [schedules.ConstantLR(o), schedules.ExponentialLR(o, 0.9)]
    ),
    "MultiStepLR": partial(schedules.MultiStepLR, milestones=[1, 4, 4]),
    "StepLR": partial(schedules.StepLR, step_size=2),
    "CosineAnnealingLR": partial(schedules.CosineAnnealingLR, T_max=10),
    "CosineAnnealingWarmRestarts": partial(schedules.CosineAnnealingWarmRestarts, T_0=2),
    "PolynomialLR": schedules.PolynomialLR,
    "LambdaLR": partial(schedules.LambdaLR, lr_lambda=lambda t: 1 / (1 + t)),
    "MultiplicativeLR": partial(schedules.MultiplicativeLR, lr_lambda=lambda t: 0.9),
    "ReduceLROnPlateau": partial(schedules.ReduceLROnPlateau, patience=0, threshold=math.inf),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_of_torch_continues(tmp_path, name):
    assert_resumes(tmp_path, lambda net: optim.SGD(net.parameters(), lr=0.01, momentum=0.9), SCHEDULES[name])


def test_a_gradient_scaler_continues(tmp_path):
    one, two = (torch.amp.GradScaler("cpu", init_scale=scale) for scale in (8.0, 2.0))
    one.scale(torch.ones(1))
    save(tmp_path, t=1, scaler=one)
    restore(tmp_path, scaler=two)
    assert_same(one.state_dict(), two.state_dict())
