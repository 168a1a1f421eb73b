"""What goes wrong in an adversarial game, told early and in one sentence."""

from collections.abc import Mapping


def diagnose(row: Mapping[str, float]) -> str | None:
    """What is wrong in a game whose logs were ``row``, and what to try; ``None`` while it looks well.

    Args:
        row: averages of what ``AdversarialGame`` returns over some steps; fields that are absent are not judged.
    """
    std_ratio, right = row.get("std_ratio", 1.0), row.get("critic_accuracy", 0.5)
    loss, gradient = abs(row.get("critic_loss", 0.0)), row.get("gradient", 1.0)
    if std_ratio < 0.05:
        return (
            f"the samples hardly differ from each other (std_ratio {std_ratio:.2g} of the data's): the generator has "
            "collapsed; try packed-gan or wgan-gp, a smaller lr, or larger batches"
        )
    if loss > 1e4:
        return (
            f"the critic's loss grows without bound ({loss:.2g}): nothing keeps it Lipschitz; "
            "try a gradient penalty (wgan-gp), a smaller clip, or a smaller lr"
        )
    if right > 0.999 and gradient < 1e-4:
        return (
            "the critic tells samples from data without a mistake, and the generator's gradient is gone "
            f"({gradient:.2g}): try loss=non_saturating, a gradient penalty (wgan-gp), or fewer critic_steps"
        )
    return None
