"""Diagnosis of adversarial training from its logged scalars: collapse, divergence, vanishing gradients."""

from collections.abc import Mapping


def diagnose(row: Mapping[str, float]) -> str | None:
    """One sentence on a failure that the logs show and its remedies; ``None`` if they show none.

    Args:
        row: means over some steps of the scalars that ``AdversarialGame`` returns; absent ones are not tested.

    Returns:
        A message for the first of these: mode collapse (``std_ratio`` below 0.05), divergence (``critic_loss`` above
        1e4 in absolute value), a vanishing generator gradient (``critic_accuracy`` above 0.999 and ``gradient`` below
        1e-4).
    """
    std_ratio, accuracy = row.get("std_ratio", 1.0), row.get("critic_accuracy", 0.5)
    loss, gradient = abs(row.get("critic_loss", 0.0)), row.get("gradient", 1.0)
    if std_ratio < 0.05:
        return (
            f"the samples have collapsed (std_ratio {std_ratio:.2g}); "
            "try packed-gan, relativistic-gan or wgan-gp, a smaller lr, or larger batches"
        )
    if loss > 1e4:
        return (
            f"the critic's loss diverges ({loss:.2g}): the critic is not Lipschitz; "
            "try a gradient penalty (wgan-gp), a smaller clip, or a smaller lr"
        )
    if accuracy > 0.999 and gradient < 1e-4:
        return (
            "the critic separates samples from data without error, and the generator's gradient has vanished "
            f"({gradient:.2g}): try loss=non_saturating, a gradient penalty (wgan-gp), or fewer critic_steps"
        )
    return None
