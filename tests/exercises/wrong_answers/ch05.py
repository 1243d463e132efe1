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


# %% frozen-stages | absolute value instead of clipping | frozen again
def freeze_depths(depth, target, step, epochs):
    return [target + abs(depth - target - epoch * step) for epoch in range(epochs)]


# %% frozen-stages | stops before a shorter last step | stops before
def freeze_depths(depth, target, step, epochs):
    found = [depth]
    for _ in range(epochs - 1):
        found.append(found[-1] - step if found[-1] - step >= target else found[-1])
    return found


# %% frozen-stages | ends when the target is reached | One number for each epoch
def freeze_depths(depth, target, step, epochs):
    return list(range(depth, target - 1, -step))[:epochs]


# %% frozen-stages | the last depth only | list with one number
def freeze_depths(depth, target, step, epochs):
    return max(target, depth - (epochs - 1) * step)


# %% linear-cka | the mean of all numbers taken out | Shifting
def cka_of(x, y):
    x, y = x - x.mean(), y - y.mean()
    return np.linalg.norm(y.T @ x) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))


# %% linear-cka | rows centred | Shifting
def cka_of(x, y):
    x, y = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    return np.linalg.norm(y.T @ x) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))


# %% linear-cka | canonical correlation | canonical
def cka_of(x, y):
    x, y = np.linalg.qr(x - x.mean(axis=0))[0], np.linalg.qr(y - y.mean(axis=0))[0]
    return np.linalg.norm(y.T @ x) ** 2 / 3


# %% linear-cka | a distance | is a similarity
def cka_of(x, y):
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    return 1 - np.linalg.norm(y.T @ x) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))


# %% linear-cka | the root of all | square root of CKA
def cka_of(x, y):
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    return np.linalg.norm(y.T @ x) / np.sqrt(np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))


# %% linear-cka | a number for each feature | one number for the two sets
def cka_of(x, y):
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    return (x.T @ y).max(axis=1) / np.linalg.norm(x, axis=0)
