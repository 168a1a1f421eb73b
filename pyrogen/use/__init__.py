"""Uses of a trained model, one file each: codes, compression, restoration, outliers and others."""

from pyrogen.use.altering import alter, mean_code
from pyrogen.use.augmentation import augment, classification_accuracy, first_per_class
from pyrogen.use.bottleneck import Bottleneck, bottleneck_curve
from pyrogen.use.codes import decode, encode, has_codes, needs_y, reconstruct
from pyrogen.use.compression import bits_per_dim, compress, decompress, grey_levels
from pyrogen.use.debiasing import code_weights, debiasing_weights, evenness
from pyrogen.use.explore import explore
from pyrogen.use.exporting import export, export_weights, to_arviz
from pyrogen.use.interpolation import Interpolation, interpolate
from pyrogen.use.operators import Downsample, Grey, Mask, Noise
from pyrogen.use.outliers import (
    Outliers,
    Residual,
    code_lengths,
    conformal_p_values,
    default_scores,
    find_outliers,
    log_likelihoods,
)
from pyrogen.use.representation import Probe, assign, cluster, cluster_scores, probe
from pyrogen.use.restoration import Restoration, restore

__all__ = [
    "Bottleneck",
    "Downsample",
    "Grey",
    "Interpolation",
    "Mask",
    "Noise",
    "Outliers",
    "Probe",
    "Residual",
    "Restoration",
    "alter",
    "assign",
    "augment",
    "bits_per_dim",
    "bottleneck_curve",
    "classification_accuracy",
    "cluster",
    "cluster_scores",
    "code_lengths",
    "code_weights",
    "compress",
    "conformal_p_values",
    "debiasing_weights",
    "decode",
    "decompress",
    "default_scores",
    "encode",
    "evenness",
    "explore",
    "export",
    "export_weights",
    "find_outliers",
    "first_per_class",
    "grey_levels",
    "has_codes",
    "interpolate",
    "log_likelihoods",
    "mean_code",
    "needs_y",
    "probe",
    "reconstruct",
    "restore",
    "to_arviz",
]
