"""Plausible wrong answers to the exercises of chapter 5, as a reader would type them in place of the stub.

Each begins with a line ``# %% exercise | the mistake | words that its message must hold``.
"""


# %% frozen-stages | below the target | never below the target
def freeze_depths(depth, target, step, epochs):
    return [depth - epoch * step for epoch in range(epochs)]


# %% frozen-stages | from the input up | only the head
def freeze_depths(depth, target, step, epochs):
    return [min(depth, target + epoch * step) for epoch in range(epochs)]


# %% frozen-stages | one step early | only the head
def freeze_depths(depth, target, step, epochs):
    return [max(target, depth - (epoch + 1) * step) for epoch in range(epochs)]


# %% frozen-stages | step forgotten | `step` stages
def freeze_depths(depth, target, step, epochs):
    return [max(target, depth - epoch) for epoch in range(epochs)]


# %% linear-cka | not centred | Shifting
def cka_of(x, y):
    return np.linalg.norm(y.T @ x) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))


# %% linear-cka | square forgotten | Stretching
def cka_of(x, y):
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    return np.linalg.norm(y.T @ x) / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))


# %% linear-cka | correlation of single features | Turning
def cka_of(x, y):
    k = min(x.shape[1], y.shape[1])
    return float(np.mean([abs(np.corrcoef(x[:, i], y[:, i])[0, 1]) for i in range(k)]))
