"""The log-likelihood of any model with a decoder, by annealed importance sampling."""

from typing import Any

from pyrogen.data.loading import Source
from pyrogen.data.space import require_probability
from pyrogen.data.step_arguments import explain_dtype_errors
from pyrogen.measure.annealing.score import Annealing, annealed_score
from pyrogen.measure.evaluate import in_data_units, measured_data
from pyrogen.protocols import Score
from pyrogen.pyro_tools.decoders import is_pair


def ais(model: Any, data: Source, *, seed: int = 0, **settings: Any) -> Score:
    """Bound the log-likelihood of any model with a decoder from below by annealed importance sampling.

    For a VAE, a GAN, an adversarial autoencoder, a flow or a Pyro pair of one's own:

        p(x) = ∫ p(u) p(x | u) du = E[w],    E[log w] ≤ log p(x)

    The detail ``gap`` is the distance in nats from the lower to an upper bound on data drawn from the model.

    Args:
        model: see ``pyro_tools.decoders.as_decoder``.
        data: as for ``evaluate``.
        seed: of all random draws.
        settings: fields of ``Annealing``: ``gap``, ``minutes``, ``n``, ``noise``, ``chains``, ``simulated``, ``start``,
            ``folder`` and ``show``.

    Returns:
        The score in the user's units, with its ``gap``, the ``noise`` that it is given, ``chains``, ``steps``,
        ``effective_chains`` and, for chains from the prior, points of the ``rate_distortion`` curve.

    Raises:
        ConfigError: if the model has no decoder, has global or discrete latent variables, or is asked for noise that
            its observation model does not take; for a data set of masses and a decoder without an observation model.
        DataError: if the model was trained on test rows of the data set.
    """
    data, test = measured_data(model, data, seed)
    if data.space is not None and not is_pair(model):
        require_probability(data.space, "density", "a generator with noise")
    with explain_dtype_errors(model, test):
        score = annealed_score(model, data, test, Annealing(**settings), seed)
    return in_data_units({"ais": score}, score.values, model, data, test, seed)["ais"]
