"""Right answers to the exercises of chapter 16, written in other ways than the hidden solution.

Each begins with a line ``# %% exercise | the way``.
"""


# %% copies-stay-together | a set of drawn names
def in_test(contents, share, seed):
    import random

    names = sorted(set(contents))
    chosen = set(random.Random(seed).sample(names, int(share * len(names))))
    return [bool(each in chosen) for each in contents]


# %% copies-stay-together | a coin for each content
def in_test(contents, share, seed):
    rng, side = np.random.default_rng(seed), {}
    for name in contents:
        if name not in side:
            side[name] = rng.random() < share
    return np.array([side[name] for name in contents])


# %% two-steps-in-one-layer | a diagonal matrix
def one_layer(W, b, mean, scale):
    new = W @ np.diag(1 / scale)
    return [new, b - new.dot(mean)]


# %% two-steps-in-one-layer | asked at 0 and at unit vectors
def one_layer(W, b, mean, scale):
    def score(x):
        return W @ ((x - mean) / scale) + b

    zero = score(np.zeros(len(mean)))
    return np.stack([score(e) - zero for e in np.eye(len(mean))], axis=1), zero
