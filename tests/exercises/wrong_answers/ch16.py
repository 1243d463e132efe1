"""Plausible wrong answers to the exercises of chapter 16, as a reader would type them in place of the stub.

Each begins with a line ``# %% exercise | the mistake | words that its message must hold``.
"""


# %% copies-stay-together | files are drawn | on both sides
def in_test(contents, share, seed):
    return np.random.default_rng(seed).random(len(contents)) < share


# %% copies-stay-together | training and test exchanged | training part
def in_test(contents, share, seed):
    names, which = np.unique(contents, return_inverse=True)
    drawn = np.random.default_rng(seed).permutation(len(names))
    return drawn[which] >= round(share * len(names))


# %% copies-stay-together | the global generator | global generator
def in_test(contents, share, seed):
    np.random.seed(seed)
    names, which = np.unique(contents, return_inverse=True)
    return np.random.permutation(len(names))[which] < round(share * len(names))


# %% copies-stay-together | the seed unused | same split
def in_test(contents, share, seed):
    names, which = np.unique(contents, return_inverse=True)
    return which < round(share * len(names))


# %% copies-stay-together | rows instead of a mask | True or False
def in_test(contents, share, seed):
    names = np.random.default_rng(seed).permutation(np.unique(contents))
    return np.flatnonzero(np.isin(contents, names[: round(share * len(names))]))


# %% two-steps-in-one-layer | multiplied | multiply by the scale
def one_layer(W, b, mean, scale):
    return W * scale, b - W @ mean


# %% two-steps-in-one-layer | the bias kept | still missing
def one_layer(W, b, mean, scale):
    return W / scale, b


# %% two-steps-in-one-layer | the sign | look at the sign
def one_layer(W, b, mean, scale):
    return W / scale, b + (W / scale) @ mean


# %% two-steps-in-one-layer | the old weights for the mean | multiplied by the *new*
def one_layer(W, b, mean, scale):
    return W / scale, b - W @ mean


# %% two-steps-in-one-layer | in place | changed
def one_layer(W, b, mean, scale):
    W /= scale
    return W, b - W @ mean
