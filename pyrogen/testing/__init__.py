"""Checks that every model of the library passes, for a user's own models as well.

```python
def make(data):
    mine = Mine()
    return mine, pyrogen.SVI(mine.model, mine.guide)

def test_mine():
    pyrogen.testing.check_family(make, pyrogen.load("digits"))
```

A family is given by a function ``make(data)`` that returns ``(model, step)``, a step that is its own model, or a
recipe's ``TrainingSetup``. The protocols of ``pyrogen.protocols`` that the model implements determine its checks. A
failed check raises ``AssertionError`` and names what was given and what was expected. All draws are seeded, and the
global random state is restored.
"""

from pyrogen.testing.families import check_evaluates, check_family, check_saves, check_trains
from pyrogen.testing.models import (
    check_autoencoder,
    check_density,
    check_implicit,
    check_latent_variable,
    check_pair,
    check_sampler,
)

__all__ = [
    "check_autoencoder",
    "check_density",
    "check_evaluates",
    "check_family",
    "check_implicit",
    "check_latent_variable",
    "check_pair",
    "check_sampler",
    "check_saves",
    "check_trains",
]
