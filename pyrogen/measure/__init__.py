"""Measures, one file each: from a model or its samples to a ``Score``."""

from pyrogen.measure.ais import ais
from pyrogen.measure.annealing import Annealing
from pyrogen.measure.c2st import c2st
from pyrogen.measure.coverage import mode_count_scores, mode_scores, stacked_modes
from pyrogen.measure.divergence import (
    CriticBudget,
    jensen_shannon,
    js_by_critic,
    sliced_wasserstein,
    w1_by_critic,
    w1_exact,
)
from pyrogen.measure.evaluate import evaluate, evaluate_run
from pyrogen.measure.features import Classifier, feature_scores, get_classifier
from pyrogen.measure.features.fld import fld
from pyrogen.measure.features.ndb import Bins, ndb
from pyrogen.measure.fid import density_coverage, fid, inception_score, kid, precision_recall
from pyrogen.measure.intervals import over_seeds, paired_difference
from pyrogen.measure.kde import kde_score
from pyrogen.measure.mmd import mmd2
from pyrogen.measure.reconstruction import reconstruction_score
from pyrogen.measure.samples import in_chunks, sample_scores
from pyrogen.measure.verdict import Judge, Test, Verdict, judge_samples, nearest_neighbour

__all__ = [
    "Annealing",
    "Bins",
    "Classifier",
    "CriticBudget",
    "Judge",
    "Test",
    "Verdict",
    "ais",
    "c2st",
    "density_coverage",
    "evaluate",
    "evaluate_run",
    "feature_scores",
    "fid",
    "fld",
    "get_classifier",
    "in_chunks",
    "inception_score",
    "jensen_shannon",
    "js_by_critic",
    "judge_samples",
    "kde_score",
    "kid",
    "mmd2",
    "mode_count_scores",
    "mode_scores",
    "ndb",
    "nearest_neighbour",
    "over_seeds",
    "paired_difference",
    "precision_recall",
    "reconstruction_score",
    "sample_scores",
    "sliced_wasserstein",
    "stacked_modes",
    "w1_by_critic",
    "w1_exact",
]
