"""What each number of the page is, and what each logged quantity of the training curves is."""

from collections.abc import Iterable
from dataclasses import dataclass

from pyrogen.report.formatting import score_title, split_space

_OVER_DATA = "from the standard error of the mean over test data"
_REDRAWS = "of the mean over redraws of as many samples and data, "
_JACKKNIFE = _REDRAWS + "from leaving out one row at a time"
_HALVES = _REDRAWS + "from the spread of random halves of both sets"


@dataclass(frozen=True)
class Entry:
    """An explanation of a measure: what is computed, which value is best, what it shows and cannot, its interval."""

    what: str
    best: str
    shows: str
    interval: str = ""


ENTRIES = {
    "log_likelihood": Entry(
        "The mean over test data of the logarithm of the probability (density) that the model gives a datum, in nats.",
        "higher",
        "Whether held-out data are probable under the model, so it exposes data that the model leaves out. It says "
        "little of how samples look, and is comparable only in the same space. A lower bound may understate a model.",
        _OVER_DATA,
    ),
    "bits_per_dim": Entry(
        "The negative log-likelihood of the grey levels in bits, divided by the number of values of a datum.",
        "lower",
        "The same as the log-likelihood, comparable with published values on the same data and grey levels.",
        _OVER_DATA,
    ),
    "elbo": Entry(
        "The evidence lower bound: the mean of log p(x, z) − log q(z | x) over draws of the guide q.",
        "higher",
        "A lower bound on the log-likelihood. Its distance from it is the error of the guide, which is not known.",
        _OVER_DATA,
    ),
    "iwae": Entry(
        "The importance-weighted bound: the mean of log (1/k) Σ p(x, z) / q(z | x) over k draws of the guide.",
        "higher",
        "A lower bound on the log-likelihood, tighter than the ELBO and tighter with more draws.",
        _OVER_DATA,
    ),
    "ais": Entry(
        "The log-likelihood by annealed importance sampling: chains move from the prior over the latent variables to "
        "their posterior, and their weights estimate the integral over the latent variables. To what a model without "
        "observation noise generates, Gaussian noise is added, of the deviation that suits validation data best.",
        "higher",
        "In expectation a lower bound on the log-likelihood, of explicit and implicit models. The gap is its distance "
        "to an upper bound on data drawn from the model; on other data the distance may be larger.",
        _OVER_DATA,
    ),
    "smoothed_log_likelihood": Entry(
        "The log-likelihood of a model to whose data Gaussian noise is added, of one deviation for all models: exact, "
        "or a lower bound by annealed importance sampling.",
        "higher",
        "Explicit and implicit models alike, as densities of one kind. Detail finer than the noise is not seen.",
        _OVER_DATA,
    ),
    "kde": Entry(
        "The mean log-density of test data under a kernel estimate fitted to samples of the model.",
        "higher, but not comparable between models",
        "In more than a few dimensions it depends more on the bandwidth than on the model, and can rank a worse model "
        "first. It is no likelihood of the model and no bound.",
        _OVER_DATA + ", without the error of the kernel estimate itself",
    ),
    "mmd2": Entry(
        "The squared maximum mean discrepancy: mean similarity within the samples plus mean similarity within the data "
        "minus twice the similarity between them, by Gaussian kernels of half, one and two median distances. p is "
        "the share of random relabellings of samples and data that are at least as far apart.",
        "0; it may be slightly negative",
        "Differences of overall shape. It hardly sees fine detail, faults in few samples or copies of training data.",
        _JACKKNIFE,
    ),
    "c2st": Entry(
        "The accuracy on held-out rows of a classifier trained to tell samples from test data. The shaded band holds "
        "95% of the accuracies of guessing.",
        "½, inside the band",
        "Any difference that the classifier can learn. One wrong detail, such as background noise, suffices for an "
        "accuracy near 1, which then says nothing of the rest; copies of training data are not noticed.",
        "from the number of rows, and from how much the folds of the cross-validation share",
    ),
    "verdict": Entry(
        "Tests of copies of training data, of samples off the data, of samples that repeat each other (narrow), and of "
        "parts of the data that are missed, each against held-out data. The kinds found are named, the main one first, "
        "where the p-value, corrected for all tests, is at most .01.",
        "none of these found",
        "Which kind of fault a model has. “None of these found” means that tests of this size saw none: smaller faults "
        "and other kinds remain possible.",
    ),
    "nearest_neighbour": Entry(
        "The mean distance from a sample to the nearest training datum; the ratio divides it by that of test data.",
        "that of test data, a ratio of 1",
        "Only the mean: a share of copies is hidden by samples that are far off. The verdict tests for copies.",
        "from the standard error over samples",
    ),
    "fid": Entry(
        "The Fréchet distance: the squared distance of the means of features plus a distance of their covariances.",
        "0; compare it with that of the training data, as it grows when samples are few",
        "Differences of mean and covariance of features, and no others; copies of training data score best.",
        _REDRAWS + "from what each row contributes (its influence)",
    ),
    "kid": Entry(
        "The squared maximum mean discrepancy of features with a cubic polynomial kernel.",
        "0; it may be slightly negative",
        "Much as FID, but without its bias for few samples. Copies of training data score best.",
        _JACKKNIFE,
    ),
    "inception_score": Entry(
        "The exponential of the mean divergence between the classes predicted of one sample and of all samples.",
        "higher, up to the number of classes",
        "Whether samples are of clear and even classes. It sees neither variety within a class nor copies.",
        "from the standard error over samples",
    ),
    "precision": Entry(
        "The share of samples that lie in the neighbourhood of a datum, as far as its k-th neighbour.",
        "that of the training data",
        "Whether samples are realistic. One good sample, repeated, is precise; outliers among the data inflate it.",
        _HALVES,
    ),
    "recall": Entry(
        "The share of data that lie in the neighbourhood of a sample, as far as its k-th neighbour.",
        "that of the training data",
        "Whether the samples reach all data. A few samples far off inflate it.",
        _HALVES,
    ),
    "density": Entry(
        "The mean number of data whose neighbourhoods hold a sample, divided by k.",
        "that of the training data; samples of too little variety exceed it",
        "Whether samples are realistic; less affected by outliers than precision.",
        _HALVES,
    ),
    "coverage": Entry(
        "The share of data whose neighbourhood, as far as their k-th neighbour, holds a sample.",
        "that of the training data",
        "Whether parts of the data are missed. Copies of training data cover the data well.",
        _HALVES,
    ),
    "swd": Entry(
        "The sliced Wasserstein distance: the mean over random directions of the distance of sorted projections.",
        "that of the training data",
        "Differences of shape along single directions, in the units of the data. It hardly sees rare faults.",
        "over directions only, not over redraws",
    ),
    "ndb": Entry(
        "The number of statistically different bins: clusters of training data that hold another share of samples.",
        "that of the training data",
        "Parts of the data that samples miss or overfill, at the resolution of the clusters.",
    ),
    "fld": Entry(
        "The feature likelihood divergence: minus the log-density of test data under a mixture of Gaussians centred "
        "at samples, whose widths are fitted to training data.",
        "lower",
        "Quality, lost modes and copying in one number: of copies, the gap in its details is far below 0. Narrower "
        "samples than data are not always penalised.",
        _OVER_DATA,
    ),
    "modes": Entry(
        "The number of known modes that samples reach.", "all of them", "Missing modes, not the shape of each."
    ),
    "high_quality": Entry(
        "The share of samples within three standard deviations of a known mode.",
        "that of the true density (the floor); well above it, modes are too narrow",
        "Samples between the modes.",
    ),
    "reverse_kl": Entry(
        "The divergence of the shares of samples by mode from equal shares, in nats.", "0", "Uneven shares of modes."
    ),
    "reconstruction": Entry(
        "The mean squared error per value of test data that were encoded and decoded.",
        "0",
        "What the code loses. It says nothing of samples.",
        _OVER_DATA,
    ),
}

LOGGED = {
    "loss": "what training minimises; without adversarial terms in nats per datum, lower is better",
    "valid_loss": "the loss of validation data, by which weights are chosen",
    "elbo": "the evidence lower bound, in nats per datum",
    "distortion": "minus log p(x | codes), in nats per datum",
    "rate": "minus log p(codes), in nats per datum",
    "perplexity": "the effective number of codes in use",
    "critic_loss": "the critic's loss on a batch; its level is not comparable between models",
    "generator_loss": "the generator's loss, which depends on the critic of that step: lower is not better samples",
    "critic_accuracy": "the share of real and generated data that the critic tells apart; at ½ it cannot, at 1 it "
    "is certain, and the generator may learn no more",
    "std_ratio": "the standard deviation of generated data divided by that of real data; 1 is right, near 0 the "
    "samples have collapsed",
    "gradient": "the norm of the generator's gradient; near 0 the generator no longer learns",
    "penalty": "the weighted penalty on the critic's slope",
}


def entries(names: Iterable[str]) -> dict[str, tuple[str, Entry]]:
    """The explanations of scores by the name of the measure: its title and entry, each once, in order of the list."""
    wanted = {split_space(name)[0] for name in names}
    return {name: (score_title(name), entry) for name, entry in ENTRIES.items() if name in wanted}
