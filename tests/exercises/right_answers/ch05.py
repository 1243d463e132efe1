"""Right answers to the exercises of chapter 5, written in other ways than the hidden solution.

Each begins with a line ``# %% exercise | the way``.
"""


# %% frozen-stages | counting down, as a tuple
def freeze_depths(depth, target, step, epochs):
    found = (depth,)
    while len(found) < epochs:
        left = found[-1] - step
        found += (left if left > target else target,)
    return found


# %% frozen-stages | NumPy, clipped
def freeze_depths(depth, target, step, epochs):
    return np.clip(depth - step * np.arange(epochs), target, None)


# %% frozen-stages | a generator of whole numbers from a tensor
import torch


def freeze_depths(depth, target, step, epochs):
    yield from (depth - step * torch.arange(epochs)).clamp(min=target)


# %% linear-cka | from the similarities of the samples, in float32
import torch


def cka_of(x, y):
    x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)
    x, y = x - x.mean(dim=0, keepdim=True), y - y.mean(dim=0, keepdim=True)
    k, other = x @ x.T, y @ y.T
    return (k * other).sum() / ((k * k).sum().sqrt() * (other * other).sum().sqrt())


# %% linear-cka | with a centring matrix and traces
def cka_of(x, y):
    n = len(x)
    centre = np.eye(n) - 1 / n
    k, other = centre @ x @ x.T @ centre, centre @ y @ y.T @ centre
    return np.array([[np.trace(k @ other) / np.sqrt(np.trace(k @ k) * np.trace(other @ other))]])


# %% linear-cka | from singular vectors
def cka_of(x, y):
    u, s, _ = np.linalg.svd(x - x.mean(0), full_matrices=False)
    v, t, _ = np.linalg.svd(y - y.mean(0), full_matrices=False)
    shared = (s**2)[:, None] * (u.T @ v) ** 2 * (t**2)[None]
    return float(shared.sum() / np.sqrt((s**4).sum() * (t**4).sum()))


# %% linear-cka | centred in place
def cka_of(x, y):
    x -= x.mean(axis=0)
    y -= y.mean(axis=0)
    xy, xx, yy = x.T @ y, x.T @ x, y.T @ y
    return (xy**2).sum() / ((xx**2).sum() * (yy**2).sum()) ** 0.5
