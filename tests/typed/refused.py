"""What a user must not write: each marked line is an error for a type checker, and no other is."""

import torch
from torch import nn

import pyrogen

data = pyrogen.load("digits")
game = pyrogen.implicit.GAN(data.shape, 8)
step = pyrogen.AdversarialGame(game.generator, game.critic, game.prior)

pyrogen.fitt(step, data.train, steps=1)  # error: no such name
pyrogen.explicit.VAEE(data.shape)  # error: no such name in a room
print(pyrogen.trainer)  # error: no such room
pyrogen.fit(step, data.train)  # error: how many steps?
pyrogen.fit(step, data.train, steps="many")  # error: not a number
pyrogen.fit(game, data, steps=1)  # error: a whole data set, not a split
pyrogen.save("runs", model=game)  # error: at which step?
pyrogen.save("runs", t=1, model=torch.zeros(2))  # error: a tensor has no state
print(pyrogen.evaluate(game, data)["c2st"].valeu)  # error: no such field
pyrogen.compare(own={"net": nn.Linear(2, 2)})  # error: it does not sample
pyrogen.AdversarialGame(game.generator, game.critic, torch.zeros(8))  # error: a prior is a function
data.train.reed()  # error: no such method
