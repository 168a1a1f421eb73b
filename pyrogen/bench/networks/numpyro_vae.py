"""The same VAE in NumPyro, jitted; optional."""

from typing import Any

import numpy as np

from pyrogen.bench.timing import Contender


def numpyro(batch_size: int, hidden: int = 400, latent: int = 50, scan: bool = True) -> Contender:
    """NumPyro's ``SVI``: a jitted loop of 20 steps, or one jitted ``update`` per step.

    Raises:
        ImportError: if NumPyro is not installed.
    """
    import jax
    import jax.numpy as jnp
    import numpyro.distributions as dist
    from numpyro import optim, param, plate, sample
    from numpyro.infer import SVI, Trace_ELBO

    def linear(name: str, x: Any, outputs: int) -> Any:
        shape = (x.shape[-1], outputs)
        w = param(f"{name}.w", lambda key: jax.random.normal(key, shape) / shape[0] ** 0.5)
        return x @ w + param(f"{name}.b", jnp.zeros(outputs))

    def model(x: Any) -> None:
        with plate("data", len(x)):
            z = sample("z", dist.Normal(jnp.zeros((len(x), latent)), 1.0).to_event(1))
            logits = linear("d2", jax.nn.softplus(linear("d1", z, hidden)), 784)
            sample("x", dist.Bernoulli(logits=logits).to_event(1), obs=x)

    def guide(x: Any) -> None:
        loc, log_scale = jnp.split(linear("e2", jax.nn.softplus(linear("e1", x, hidden)), 2 * latent), 2, -1)
        with plate("data", len(x)):
            sample("z", dist.Normal(loc, jnp.exp(log_scale)).to_event(1))

    x = jnp.asarray((np.random.default_rng(0).random((20, batch_size, 784)) < 0.13).astype("float32"))
    svi = SVI(model, guide, optim.Adam(1e-3), Trace_ELBO())
    state = {"now": svi.init(jax.random.PRNGKey(0), x[0])}
    loop = jax.jit(lambda now, data: jax.lax.scan(svi.update, now, data))
    update = jax.jit(svi.update)

    def once(t: int) -> None:
        if not scan:
            state["now"], _ = update(state["now"], x[t % 20])
        elif t % 20 == 0:
            state["now"], _ = loop(state["now"], x)

    name = "NumPyro, jitted loop" if scan else "NumPyro, jitted step"
    return Contender(name, once, lambda: jax.block_until_ready(state["now"]))
