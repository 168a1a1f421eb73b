"""Steps between which nothing else runs, so that what a program reads need not be checked before each of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def exclusive(step: Any) -> Iterator[None]:
    """Inside, call ``step`` on batches and change nothing that it reads, except its weights in place.

    ```python
    with exclusive(step):
        for batch in twenty:
            logs = step(*batch)
    ```

    A compiled step then runs its graph at once: it does not look for changes of programs, settings and parameters
    since the last call, because none can have happened. Its results are the same, bit for bit. Eager steps are
    not affected.

    Args:
        step: an ``SVI``, ``GradientStep`` or ``AdversarialGame``; any other step is allowed.
    """
    updates = list(getattr(step, "updates_in_graph", ()))
    for update in updates:
        update.exclusive = True
    try:
        yield
    finally:
        for update in updates:
            update.exclusive = False
            update.forget()
