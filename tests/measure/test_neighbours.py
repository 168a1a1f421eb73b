"""The nearest-neighbour distance against the distances of all pairs."""

import pytest
import torch
from helpers import points

import pyrogen
from pyrogen.measure.verdict.neighbours import nearest, nearest_distance, nearest_neighbour


@pytest.mark.parametrize("event", [(8,), (2, 2, 2)])
def test_nearest_distance_agrees_with_all_pairs(event):
    x, others = points(70, *event), points(90, *event, seed=1)
    naive = (x.flatten(1).double()[:, None] - others.flatten(1).double()).square().sum(2).sqrt().min(1).values
    for rows in (1000, 7):
        distance, index = nearest(x, others, rows=rows)
        assert torch.allclose(distance[:, 0].double(), naive, rtol=1e-3)
        between = (x - others[index[:, 0]]).flatten(1).norm(dim=1)
        assert torch.allclose(between.double(), naive, rtol=1e-3)


def test_neighbours_are_in_order_and_a_row_is_not_its_own():
    x = points(50, 3)
    distance, index = nearest(x, x, 4, itself=True, rows=7)
    assert (distance.diff(dim=1) >= 0).all()
    assert (index != torch.arange(50)[:, None]).all()
    assert torch.equal(distance[:, 0], nearest(x, x, 2)[0][:, 1])


def test_nearest_neighbour_distinguishes_copies_data_and_noise():
    train, test = points(400, 8), points(150, 8, seed=1)
    copies = nearest_neighbour(train[:100], train, test)
    assert copies.detail["ratio"] < 0.01
    same = nearest_neighbour(test, train, test)
    assert same.detail["ratio"] == 1
    assert same.value == pytest.approx(nearest_distance(test, train).mean().item())
    assert same.stderr == pytest.approx(nearest_distance(test, train).std().item() / 150**0.5, rel=1e-5)
    assert nearest_neighbour(points(150, 8, seed=2), train, test).detail["ratio"] == pytest.approx(1, abs=0.1)
    assert nearest_neighbour(points(150, 8, seed=2) * 4, train, test).detail["ratio"] > 3


def test_nearest_distance_among_close_points():
    toy = pyrogen.load("ring")
    train, x = toy.train.x, toy.test.x[:300]
    exact = torch.cat(
        [
            torch.cdist(part.double(), train.double(), compute_mode="donot_use_mm_for_euclid_dist").min(1).values
            for part in x.split(50)
        ]
    )
    assert nearest_distance(x, train).mean().item() == pytest.approx(exact.mean().item(), rel=0.01)
