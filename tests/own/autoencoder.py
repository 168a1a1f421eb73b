"""An autoencoder with a step of its own, which no class of the library makes."""

import torch
from torch import nn


class Squeeze(nn.Sequential):
    def __init__(self, shape):
        dims = torch.Size(shape).numel()
        super().__init__(nn.Flatten(), nn.Linear(dims, 4), nn.Linear(4, dims), nn.Unflatten(1, shape))

    def reconstruct(self, x, y=None):
        return self(x)


class Descend:
    def __init__(self, model):
        self.model, self.optimizer = model, torch.optim.Adam(model.parameters())

    def loss(self, x):
        return (self.model(x).float() - x).square().mean()

    def __call__(self, x, *_):
        loss = self.loss(x)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"loss": loss.detach()}

    @torch.no_grad()
    def evaluate(self, x, *_):
        return {"loss": self.loss(x)}

    def state_dict(self):
        return {"weights": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state):
        self.model.load_state_dict(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])


def make(data):
    model = Squeeze(data.shape)
    return model, Descend(model)
