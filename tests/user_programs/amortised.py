"""Variational autoencoders of several shapes: counts of genes, layers of latents, two modalities, topics."""

from itertools import pairwise

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO
from torch import nn
from torch.distributions import constraints
from torch.nn import functional as F


def mlp(inputs, outputs, hidden=8):
    return nn.Sequential(nn.Linear(inputs, hidden), nn.Softplus(), nn.Linear(hidden, outputs))


def normal(parameters):
    loc, raw = parameters.chunk(2, -1)
    return dist.Normal(loc, F.softplus(raw) + 1e-3).to_event(1)


def gene_counts(genes=7, latent=2):
    """Counts of RNA by cell and gene: negative binomial with too many zeros, and the depth of each cell latent."""
    encoder, depth, decoder = mlp(genes, 2 * latent), mlp(genes, 2), mlp(latent, 2 * genes)

    def model(x):
        pyro.module("decoder", decoder)
        spread = pyro.param("spread", torch.full((genes,), 2.0), constraint=constraints.positive)
        with pyro.plate("cells", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x), latent), 1.0).to_event(1))
            library = pyro.sample("library", dist.LogNormal(torch.full((len(x), 1), 3.0), 1.0).to_event(1))
            share, gate = decoder(z).chunk(2, -1)
            rate = library * share.softmax(-1)
            logits = (rate + 1e-6).log() - spread.log()
            counts = dist.ZeroInflatedNegativeBinomial(total_count=spread, logits=logits, gate_logits=gate)
            pyro.sample("x", counts.to_event(1), obs=x)

    def guide(x):
        pyro.module("encoder", encoder)
        pyro.module("depth", depth)
        with pyro.plate("cells", len(x)):
            pyro.sample("z", normal(encoder((1 + x).log())))
            loc, raw = depth((1 + x).log()).chunk(2, -1)
            pyro.sample("library", dist.LogNormal(loc, F.softplus(raw) + 1e-3).to_event(1))

    rates = torch.rand(10, genes) * 8
    return model, guide, (torch.poisson(rates) * (torch.rand(10, genes) < 0.7),), None


class Layers(nn.Module):
    """Three layers of latents, the guide from the data upwards."""

    def __init__(self, sizes=(9, 4, 3, 2)):
        super().__init__()
        pairs = list(pairwise(sizes))
        self.up = nn.ModuleList(mlp(low, 2 * high) for low, high in pairs)
        self.down = nn.ModuleList(mlp(high, low if i == 0 else 2 * low) for i, (low, high) in enumerate(pairs))
        self.top = sizes[-1]

    def model(self, x):
        pyro.module("down", self.down)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z3", dist.Normal(torch.zeros(len(x), self.top), 1.0).to_event(1))
            for i in (2, 1):
                z = pyro.sample(f"z{i}", normal(self.down[i](z)))
            pyro.sample("x", dist.Bernoulli(logits=self.down[0](z)).to_event(1), obs=x)

    def guide(self, x):
        pyro.module("up", self.up)
        with pyro.plate("data", len(x)):
            z = x
            for i in (1, 2, 3):
                z = pyro.sample(f"z{i}", normal(self.up[i - 1](z)))


def three_layers():
    net = Layers()
    return net.model, net.guide, (torch.bernoulli(torch.full((8, 9), 0.4)),), Trace_ELBO()


class Modalities(nn.Module):
    """An image and a sentence of one latent, either of which may be missing: a product of experts."""

    def __init__(self, pixels=6, words=5, latent=2):
        super().__init__()
        self.latent = latent
        self.see, self.read = mlp(pixels, 2 * latent), mlp(words, 2 * latent)
        self.draw, self.write = mlp(latent, pixels), mlp(latent, words)

    def model(self, batch):
        pyro.module("modalities", self)
        image, words = batch["image"], batch["words"]
        with pyro.plate("data", len(image)):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(image), self.latent), 1.0).to_event(1))
            with poutine.mask(mask=batch["has_image"]):
                pyro.sample("image", dist.Bernoulli(logits=self.draw(z)).to_event(1), obs=image)
            with poutine.mask(mask=batch["has_words"]), poutine.scale(scale=0.5):
                pyro.sample("words", dist.Poisson(self.write(z).exp()).to_event(1), obs=words)

    def guide(self, batch):
        pyro.module("modalities", self)
        precision, weighted = 1.0, 0.0
        for net, name in ((self.see, "image"), (self.read, "words")):
            loc, raw = net(batch[name]).chunk(2, -1)
            weight = batch[f"has_{name}"][:, None] * (-raw).exp()
            precision, weighted = precision + weight, weighted + weight * loc
        with pyro.plate("data", len(batch["image"])):
            pyro.sample("z", dist.Normal(weighted / precision, precision**-0.5).to_event(1))


def modalities():
    net = Modalities()
    image, words = torch.bernoulli(torch.full((8, 6), 0.5)), torch.poisson(torch.ones(8, 5))
    there = {"has_image": torch.arange(8) % 3 > 0, "has_words": torch.arange(8) % 4 > 0}
    return net.model, net.guide, ({"image": image, "words": words, **there},), None


class ProdLDA(nn.Module):
    """Topics as a product of experts, as in Pyro's tutorial, whose number of words is read off the data."""

    def __init__(self, words=12, topics=3):
        super().__init__()
        self.encoder = nn.Sequential(mlp(words, 2 * topics), nn.BatchNorm1d(2 * topics, affine=False))
        self.beta, self.norm = nn.Linear(topics, words, bias=False), nn.BatchNorm1d(words, affine=False)
        self.drop, self.topics = nn.Dropout(0.2), topics

    def model(self, documents):
        pyro.module("lda", self)
        with pyro.plate("documents", len(documents)):
            zeros = documents.new_zeros(len(documents), self.topics)
            theta = pyro.sample("theta", dist.Normal(zeros, 1.0).to_event(1)).softmax(-1)
            rates = self.norm(self.beta(self.drop(theta))).softmax(-1)
            total = int(documents.sum(-1).max())
            pyro.sample("words", dist.Multinomial(total, rates, validate_args=False), obs=documents)

    def guide(self, documents):
        pyro.module("lda", self)
        with pyro.plate("documents", len(documents)):
            loc, log_scale = self.encoder(documents).chunk(2, -1)
            pyro.sample("theta", dist.Normal(loc, (0.5 * log_scale).exp()).to_event(1))


def product_of_experts_topics():
    net = ProdLDA()
    return net.model, net.guide, (torch.poisson(torch.full((10, 12), 1.5)),), Trace_ELBO()


AMORTISED = {
    "gene counts": gene_counts,
    "three-layer VAE": three_layers,
    "multimodal VAE": modalities,
    "ProdLDA": product_of_experts_topics,
}
