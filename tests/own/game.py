"""An implicit model of a class, which generator and critic are given."""

import torch
from torch import nn

import pyrogen


class Given(nn.Module):
    """A network of x and a class."""

    def __init__(self, network, inputs, classes):
        super().__init__()
        self.network, self.told = network, nn.Embedding(classes, inputs)

    def forward(self, x, y):
        return self.network(x.flatten(1) + self.told(y)).float()


class Conditional(nn.Module):
    def __init__(self, shape, classes):
        super().__init__()
        dims, self.classes = torch.Size(shape).numel(), classes
        make = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, dims))
        self.generator = Given(nn.Sequential(make, nn.Unflatten(1, shape)), 4, classes)
        self.critic = Given(nn.Sequential(nn.Linear(dims, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1)), dims, classes)

    def prior(self, n):
        return torch.randn(n, 4)

    @torch.no_grad()
    def sample(self, n, y=None):
        training = self.training
        self.eval()
        x = self.generator(self.prior(n), torch.randint(self.classes, (n,)) if y is None else y)
        self.train(training)
        return x


def make(data):
    model = Conditional(data.shape, len(data.classes))
    return model, pyrogen.AdversarialGame(model.generator, model.critic, model.prior)
