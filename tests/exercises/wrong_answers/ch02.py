"""Plausible wrong answers to the exercises of chapter 2, as a reader would type them in place of the stub.

Each begins with a line ``# %% exercise | the mistake | words that its message must hold``.
"""


# %% split-without-leakage | rows shuffled, groups ignored | rows of one group
def split_groups(groups, seed):
    order = np.random.default_rng(seed).permutation(len(groups))
    a, b = int(0.6 * len(order)), int(0.8 * len(order))
    return order[:a], order[a:b], order[b:]


# %% split-without-leakage | overlapping slices | same row
def split_groups(groups, seed):
    order = np.random.default_rng(seed).permutation(len(groups))
    n = len(order)
    return order[: int(0.75 * n)], order[int(0.5 * n) : int(0.75 * n)], order[-int(0.75 * n) :]


# %% split-without-leakage | unseeded | same seed
def split_groups(groups, seed):
    order = np.random.permutation(np.unique(groups))
    a, b = int(0.6 * len(order)), int(0.8 * len(order))
    return tuple(np.flatnonzero(np.isin(groups, part)) for part in (order[:a], order[a:b], order[b:]))


# %% split-without-leakage | group numbers returned instead of rows | row numbers
def split_groups(groups, seed):
    order = np.random.default_rng(seed).permutation(np.unique(groups))
    a, b = int(0.6 * len(order)), int(0.8 * len(order))
    return order[:a], order[a:b], order[b:]


# %% grey-to-backbone | not divided by 255 | divide by 255
def to_backbone(grey, size):
    x = grey.float()
    x = torch.nn.functional.interpolate(x, size=(size, size), mode="bilinear", antialias=True)
    return ((x - 0.5) / 0.5).repeat(1, 3, 1, 1)


# %% grey-to-backbone | not normalised | normalis
def to_backbone(grey, size):
    x = grey.float() / 255
    x = torch.nn.functional.interpolate(x, size=(size, size), mode="bilinear", antialias=True)
    return x.repeat(1, 3, 1, 1)


# %% grey-to-backbone | normalised before scaling | wrong order
def to_backbone(grey, size):
    x = (grey.float() - 0.5) / 0.5 / 255
    x = torch.nn.functional.interpolate(x, size=(size, size), mode="bilinear", antialias=True)
    return x.repeat(1, 3, 1, 1)


# %% grey-to-backbone | channels last | channels last
def to_backbone(grey, size):
    x = grey.float() / 255
    x = torch.nn.functional.interpolate(x, size=(size, size), mode="bilinear", antialias=True)
    return ((x - 0.5) / 0.5).repeat(1, 3, 1, 1).permute(0, 2, 3, 1)


# %% grey-to-backbone | rows and columns swapped | rows and columns
def to_backbone(grey, size):
    x = grey.float().permute(0, 1, 3, 2) / 255
    x = torch.nn.functional.interpolate(x, size=(size, size), mode="bilinear", antialias=True)
    return ((x - 0.5) / 0.5).repeat(1, 3, 1, 1)


# %% grey-to-backbone | one channel | three channels
def to_backbone(grey, size):
    x = grey.float() / 255
    x = torch.nn.functional.interpolate(x, size=(size, size), mode="bilinear", antialias=True)
    return (x - 0.5) / 0.5
