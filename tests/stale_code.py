"""Changes to functions, methods and classes between two calls of a step, in the form of ``stale_cases``."""

from functools import partial, wraps

from stale_cases import case


@case
def variable_of_an_enclosing_function():
    scale = 1.0

    def f(x):
        return scale * x

    yield wraps(f)(lambda x: f(x))
    scale = 3.0
    yield


@case
def default_arguments():
    def f(x, scale=1.0, *, shift=1.0):
        return scale * x + shift

    yield lambda x: f(x)
    f.__defaults__ = (3.0,)
    yield
    f.__kwdefaults__ = {"shift": 5.0}
    yield
    f.__kwdefaults__["shift"] = 6.0
    yield


@case
def names_that_are_computed():
    class P:
        def __init__(self):
            self.scale_a, self.scale_b, self.which = 1.0, 2.0, "a"

        def f(self, x):
            return getattr(self, f"scale_{self.which}") * x + sum(v for v in vars(self).values() if v != self.which)

    p = P()
    yield p.f
    p.which = "b"
    yield
    p.scale_b = 7.0
    yield


@case
def attribute_by_getattr_method():
    class P:
        def __init__(self):
            self.table = {"scale": 1.0}

        def __getattr__(self, name):
            return self.__dict__["table"][name]

    p = P()
    yield lambda x: p.scale * x
    p.table["scale"] = 3.0
    yield


@case
def replaced_operators():
    class P:
        def __call__(self, x):
            return x

        def __mul__(self, x):
            return x

        @property
        def scale(self):
            return 1.0

    p = P()
    yield lambda x: p(x) + p * x + p.scale
    P.__call__ = lambda self, x: 2 * x
    yield
    P.__mul__ = lambda self, x: 3 * x
    yield
    P.scale = property(lambda self: 4.0)
    yield
    P.__rmul__ = lambda self, x: x  # not read
    P.__getattribute__ = lambda self, name: 5.0 if name == "scale" else object.__getattribute__(self, name)
    yield


def times(x):
    return x


@case
def replaced_functions():
    globals()["times"] = lambda x: x
    held = {"f": lambda x: x}
    bound = partial(lambda x, scale: scale * x, scale=1.0)
    inner = lambda x: x  # noqa: E731
    yield lambda x: times(x) + held["f"](x) + bound(x) + inner(x)
    globals()["times"] = lambda x: 2 * x
    yield
    held["f"] = lambda x: 3 * x
    yield
    bound.keywords["scale"] = 4.0
    yield
    inner.__code__ = (lambda x: 5 * x).__code__
    yield


@case
def class_of_an_object():
    class P:
        def f(self, x):
            return x

    class Q(P):
        def f(self, x):
            return 2 * x

    p = P()
    yield lambda x: p.f(x)
    p.__class__ = Q
    yield
