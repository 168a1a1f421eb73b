"""``data_plate`` finds the plate of the data."""

import pytest
from pyro.poutine.indep_messenger import CondIndepStackFrame

from pyrogen.pyro_tools.traces import data_plate


def frame(name, size, dim=-1, vectorized=True):
    return CondIndepStackFrame(name, dim if vectorized else None, size, 0 if vectorized else 1, size)


DATA, CHECK, PIXELS = frame("data", 64), frame("check", 3), frame("pixels", 784, -2)


@pytest.mark.parametrize(
    ("observed", "rows", "k", "expected"),
    [
        ([[DATA], [CHECK]], 64, 1, "data"),
        ([[CHECK], [DATA]], 64, 1, "data"),
        ([[CHECK], [DATA]], None, 1, "data"),  # no tensor: the largest
        ([[PIXELS, DATA]], 64, 1, "data"),  # the batch's, though it is within another
        ([[PIXELS, DATA]], None, 1, "pixels"),
        ([[PIXELS, DATA]], 32, 2, "data"),  # two particles as rows
        ([[DATA]], 7, 1, "data"),
        ([[frame("outer", 5, -2), frame("inner", 5)]], 5, 1, "outer"),
        ([[frame("outer", 5, -2), frame("inner", 5)]], None, 1, "outer"),
        ([[PIXELS, frame("inner", 64)], [DATA]], 64, 1, "data"),  # outermost around its own site
        ([[frame("num_particles_vectorized", 64, -2), CHECK]], 64, 1, "check"),
        ([[frame("sequential", 64, vectorized=False), CHECK]], 64, 1, "check"),
        ([[]], 64, 1, None),
        ([], None, 1, None),
    ],
)
def test_the_plate_of_the_data(observed, rows, k, expected):
    found = data_plate(observed, rows, k)
    assert (found and found.name) == expected
