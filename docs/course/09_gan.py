# %% [markdown]
# # 9. Generative adversarial networks
#
# An *implicit* model has a generator $x = G(z)$, $z \sim N(0, I)$, and no density. It is trained by a game: a
# discriminator $D(x) \in (0, 1)$ learns to tell data from samples, and the generator learns to be taken for data,
#
# $$\min_G \max_D\ V(D, G) = E_p[\log D(x)] + E_z[\log(1 - D(G(z)))] .$$
#
# The discriminator is a network with an unbounded output, its *logit* $t$, and $D = \sigma(t)$. With
# $-\log \sigma(t) = \operatorname{softplus}(-t)$, its loss is
#
# `pyrogen/objectives/adversarial.py`:
#
# ```python
# return F.softplus(-real).mean() + smoothing + F.softplus(fake).mean()
# ```

# %%
import os
from functools import partial
from math import log
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch.optim import Adam

import pyrogen
from pyrogen.measure import jensen_shannon, js_by_critic
from pyrogen.nn import mlp
from pyrogen.objectives import Minimax, NonSaturating

SMOKE = bool(os.environ.get("PYROGEN_SMOKE"))  # few steps, for a test
OUT = Path("runs/course")
OUT.mkdir(parents=True, exist_ok=True)
_ = torch.manual_seed(0)

# %% [markdown]
# ## The optimal discriminator
#
# Write $q$ for the density of the samples. For each $x$ separately, $p \log D + q \log(1 - D)$ is largest at
#
# $$D^*(x) = \frac{p(x)}{p(x) + q(x)} = \sigma(\log p(x) - \log q(x)) .$$
#
# `pyrogen/measure/divergence.py`:
#
# ```python
# return torch.sigmoid(log_p - log_q)
# ```
#
# Its logit is the log-ratio of the densities. Two densities on the line, and a discriminator that sees samples only:

# %%
normal = torch.distributions.Normal
t = torch.linspace(-10, 10, 4001, dtype=torch.float64)
dt = float(t[1] - t[0])


def log_p(x: torch.Tensor) -> torch.Tensor:
    return torch.logaddexp(normal(-1.5, 0.5).log_prob(x), normal(1.2, 0.8).log_prob(x)) - log(2)


def log_q(x: torch.Tensor) -> torch.Tensor:
    return normal(0.5, 1.2).log_prob(x)


def from_p(n: int) -> torch.Tensor:
    """Samples of p, (n, 1)."""
    first = torch.rand(n, 1) < 0.5
    return torch.where(first, -1.5 + 0.5 * torch.randn(n, 1), 1.2 + 0.8 * torch.randn(n, 1))


def from_q(n: int) -> torch.Tensor:
    """Samples of q, (n, 1)."""
    return 0.5 + 1.2 * torch.randn(n, 1)


critic = mlp(1, (64, 64), 1)
optimiser = Adam(critic.parameters(), lr=2e-3)
for _ in range(20 if SMOKE else 2000):
    loss = Minimax().critic(critic(from_p(512)), critic(from_q(512)))
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()

best = torch.sigmoid(log_p(t) - log_q(t))
with torch.no_grad():
    learned = torch.sigmoid(critic(t[:, None].float()))[:, 0]
figure, axes = plt.subplots(figsize=(8, 3.6), layout="constrained")
axes.fill_between(t.numpy(), log_p(t).exp().numpy(), color="tab:blue", alpha=0.25, label="p, data")
axes.fill_between(t.numpy(), log_q(t).exp().numpy(), color="tab:orange", alpha=0.25, label="q, samples")
axes.plot(t, best, color="black", label="D* = p / (p + q)")
axes.plot(t, learned, "--", color="tab:red", label="D, trained on samples")
axes.axhline(0.5, color="0.7", lw=0.8)
axes.set(xlabel="x", xlim=(-4, 5), ylim=(0, 1.02))
axes.legend(frameon=False, loc="upper right", fontsize=9)
figure.savefig(OUT / "09_discriminator.png", dpi=120)
shown = (t > -3) & (t < 3)
print("largest difference |D - D*| on (-3, 3):", float((learned - best)[shown].abs().max()))
assert SMOKE or float((learned - best)[shown].abs().max()) < 0.15

# %% [markdown]
# ## The Jensen-Shannon divergence
#
# Put $D^*$ into the game. With $m = (p + q) / 2$,
#
# $$\max_D V(D, G) = 2\,\mathrm{JS}(p, q) - 2 \log 2, \qquad
#   \mathrm{JS}(p, q) = \tfrac12 \mathrm{KL}(p \,\|\, m) + \tfrac12 \mathrm{KL}(q \,\|\, m) .$$
#
# JS lies between 0 (equal densities) and $\log 2$ (disjoint supports). Any discriminator gives a lower bound on it.
#
# `pyrogen/measure/divergence.py`:
#
# ```python
# value = log(2) + 0.5 * float(u.mean() + v.mean())
# ```

# %%
p, q = log_p(t).exp(), log_q(t).exp()
m = (p + q) / 2
js = 0.5 * float((p * (p / m).log() + q * (q / m).log()).sum() * dt)
value = float((p * best.log() + q * (1 - best).log()).sum() * dt)
print(f"JS by quadrature {js:.4f}, from V(D*) {(value + 2 * log(2)) / 2:.4f} nats")
assert abs(value - (2 * js - 2 * log(2))) < 1e-6

n = 2000 if SMOKE else 50_000
by_draws = jensen_shannon(lambda x: log_p(x[:, 0]), lambda x: log_q(x[:, 0]), from_p(n), from_q(n))
print(f"JS by Monte Carlo {by_draws.value:.4f} ± {by_draws.stderr:.4f}")
assert abs(by_draws.value - js) < 5 * by_draws.stderr
if not SMOKE:
    by_critic = js_by_critic(from_p(20_000), from_q(20_000))
    print(f"bound by a critic {by_critic.value:.4f} ± {by_critic.stderr:.4f}")

# %% [markdown]
# ## Two losses for the generator
#
# The minimax loss and the one used in practice are
#
# $$L_\text{minimax} = E_z[\log(1 - D(G(z)))], \qquad L_\text{non-saturating} = -E_z[\log D(G(z))] .$$
#
# `pyrogen/objectives/adversarial.py`:
#
# ```python
# return -F.softplus(fake).mean()
# ```
#
# `pyrogen/objectives/adversarial.py`:
#
# ```python
# return F.softplus(-fake).mean()
# ```
#
# What reaches the generator is the derivative with respect to the logit,
#
# $$\frac{\partial L_\text{minimax}}{\partial t} = -D,
#   \qquad \frac{\partial L_\text{non-saturating}}{\partial t} = -(1 - D) .$$
#
# At the beginning of training the discriminator recognises samples, $D(G(z)) \approx 0$. There the first derivative
# vanishes and the second is at its largest. With respect to $D$ itself the derivatives are $-1/(1-D)$ and $-1/D$.

# %%
logit = torch.linspace(-7, 7, 400, dtype=torch.float64)
figure, panels = plt.subplots(1, 3, figsize=(12, 3.5), layout="constrained")
D = torch.sigmoid(logit)
for name, loss, expected, colour in (
    ("minimax, log(1 - D)", Minimax(), -D, "tab:blue"),
    ("non-saturating, -log D", NonSaturating(), -(1 - D), "tab:red"),
):
    fake = logit.clone().requires_grad_()
    values = torch.stack([loss.generator(score[None], None) for score in fake])
    (slope,) = torch.autograd.grad(values.sum(), fake)
    assert torch.allclose(slope, expected)
    panels[0].plot(D, values.detach(), color=colour, label=name)
    panels[1].plot(D, slope, color=colour)
    panels[2].plot(D, slope / (D * (1 - D)), color=colour)
panels[0].set(title="loss", ylim=(-5, 5))
panels[1].set(title="derivative with respect to the logit")
panels[2].set(title="derivative with respect to D", ylim=(-20, 0))
for axes in panels:
    axes.set(xlabel="D(G(z))", xlim=(0, 1))
    axes.axvspan(0, 0.08, color="0.9", zorder=0)
panels[0].legend(frameon=False, fontsize=9)
figure.savefig(OUT / "09_losses.png", dpi=120)

# %% [markdown]
# Both have the same fixed point, but they do not minimise the same divergence. With $D = D^*$ held fixed, the gradient
# of the non-saturating loss is that of
#
# $$\mathrm{KL}(q \,\|\, p) - 2\, \mathrm{JS}(p, q)$$
#
# (Arjovsky and Bottou, 2017). A check for $q = N(\theta, 1.2^2)$ at $\theta = 0.5$, by central differences:

# %%
step = 1e-3


def at(theta: float) -> torch.Tensor:
    return normal(theta, 1.2).log_prob(t).exp()


def divergences(q: torch.Tensor) -> float:
    m = (p + q) / 2
    kl = (q * (q / p).log()).sum() * dt
    return float(kl - (p * (p / m).log() + q * (q / m).log()).sum() * dt)


of_loss = float(((at(0.5 + step) - at(0.5 - step)) * -best.log()).sum() * dt) / (2 * step)
of_divergence = (divergences(at(0.5 + step)) - divergences(at(0.5 - step))) / (2 * step)
print(f"gradient of the loss {of_loss:.5f}, of KL(q ‖ p) - 2 JS {of_divergence:.5f}")
assert abs(of_loss - of_divergence) < 1e-3

# %% [markdown]
# ## The game
#
# `AdversarialGame` updates discriminator and generator in turn. The picture is that of the original paper: the density
# of the samples moves to that of the data, and the discriminator approaches ½ where both are.

# %%
steps = 30 if SMOKE else 3000
generator, critic = mlp(4, (64, 64), 1), mlp(1, (64, 64), 1)
game = pyrogen.AdversarialGame(
    generator,
    critic,
    prior=lambda n: torch.randn(n, 4),
    loss=NonSaturating(),
    optim=partial(Adam, lr=1e-3, betas=(0.5, 0.9)),
    compile=False,
)
snapshots = {}
for done, _ in pyrogen.fit(game, from_p(20_000), steps=steps, batch_size=256, seed=0):
    if done in (1, steps // 30, steps // 6, steps):
        with torch.no_grad():
            snapshots[done] = generator(torch.randn(20_000, 4))[:, 0], torch.sigmoid(critic(t[:, None].float()))[:, 0]

figure, panels = plt.subplots(1, len(snapshots), figsize=(12, 3), sharey=True, layout="constrained")
for axes, (done, (samples, judged)) in zip(panels, snapshots.items(), strict=True):
    axes.fill_between(t.numpy(), p.numpy(), color="tab:blue", alpha=0.25, label="p, data")
    axes.hist(samples.numpy(), bins=100, range=(-4, 4), density=True, color="tab:orange", alpha=0.5, label="samples")
    axes.plot(t, judged, color="black", lw=1, label="D")
    axes.set(title=f"step {done:,}", xlim=(-4, 4), ylim=(0, 1.1), xlabel="x")
panels[0].legend(frameon=False, fontsize=9, loc="upper left")
figure.savefig(OUT / "09_game.png", dpi=120)

# %% [markdown]
# ## Exercises
#
# **Exercise 1.** Let $p = N(0, 0.1^2)$ and $q = N(\theta, 0.1^2)$. Compute JS for $\theta$ from 0 to 2, and the
# derivative of the minimax loss with respect to $\theta$ at $D = D^*$. What does the generator learn at $\theta = 2$?
#
# **Exercise 2.** The least-squares discriminator minimises $\frac12 E_p(f - 1)^2 + \frac12 E_q f^2$. Derive its optimum
# and verify it.
#
# **Exercise 3.** With one-sided label smoothing the label of data is $1 - \varepsilon$. Show that
# $D^* = (1 - \varepsilon)\, p / (p + q)$, and verify that the derivative of the loss vanishes there.

# %% [markdown]
# ### Solution 1
#
# For disjoint supports JS is $\log 2$ wherever the samples are, and the gradient vanishes: a perfect discriminator
# tells the generator nothing. Chapter 10 replaces the divergence.

# %%
narrow = normal(0.0, 0.1)
for theta in (0.0, 0.1, 0.3, 1.0, 2.0):
    a, b = narrow.log_prob(t), normal(theta, 0.1).log_prob(t)
    mixed = torch.logaddexp(a, b) - log(2)
    js = 0.5 * float((a.exp() * (a - mixed) + b.exp() * (b - mixed)).sum() * dt)
    up, down = (normal(theta + s, 0.1).log_prob(t).exp() for s in (step, -step))
    slope = float(((up - down) * torch.nn.functional.logsigmoid(b - a)).sum() * dt) / (2 * step)
    print(f"θ = {theta}: JS {js:.4f} nats, derivative of the minimax loss {slope:.2e}")

# %% [markdown]
# ### Solution 2
#
# $p (f - 1) + q f = 0$ gives $f^* = p / (p + q)$: the same $D^*$ without a sigmoid.

# %%
f = best.clone().requires_grad_()
(slope,) = torch.autograd.grad((0.5 * p * (f - 1) ** 2 + 0.5 * q * f**2).sum() * dt, f)
print("largest derivative at f* = p / (p + q):", float(slope.abs().max()))
assert float(slope.abs().max()) < 1e-12

# %% [markdown]
# ### Solution 3
#
# $(1 - \varepsilon) p \log D + (\varepsilon p + q) \log(1 - D)$ is largest at the share of its first weight,
# $(1 - \varepsilon) p / (p + q)$. The optimal logits are at most $\log \frac{1-\varepsilon}{\varepsilon}$.

# %%
epsilon = 0.1
smoothed = (1 - epsilon) * best
logits = torch.logit(smoothed).requires_grad_()
# The loss of one datum and one sample is linear in p and q: weight both parts by the densities.
softplus = torch.nn.functional.softplus
loss = (p * ((1 - epsilon) * softplus(-logits) + epsilon * softplus(logits)) + q * softplus(logits)).sum() * dt
(slope,) = torch.autograd.grad(loss, logits)
print("largest derivative:", float(slope.abs().max()), "; largest logit:", float(logits.detach().max()))
assert float(slope.abs().max()) < 1e-12
one = Minimax(smooth=epsilon).critic(logits[:1], logits[1:2])
assert torch.allclose(one, ((1 - epsilon) * softplus(-logits[0]) + epsilon * softplus(logits[0]) + softplus(logits[1])))
