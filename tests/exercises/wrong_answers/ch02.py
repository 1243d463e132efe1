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


# %% split-without-leakage | seed ignored | seed is not used
def split_groups(groups, seed):
    order = np.unique(groups)
    a, b = int(0.6 * len(order)), int(0.8 * len(order))
    return tuple(np.flatnonzero(np.isin(groups, part)) for part in (order[:a], order[a:b], order[b:]))


# %% split-without-leakage | 80, 10 and 10 % | 60, 20 and 20
def split_groups(groups, seed):
    order = np.random.default_rng(seed).permutation(np.unique(groups))
    a, b = int(0.8 * len(order)), int(0.9 * len(order))
    return tuple(np.flatnonzero(np.isin(groups, part)) for part in (order[:a], order[a:b], order[b:]))


# %% split-without-leakage | no validation part | three arrays
def split_groups(groups, seed):
    order = np.random.default_rng(seed).permutation(np.unique(groups))
    a = int(0.8 * len(order))
    return tuple(np.flatnonzero(np.isin(groups, part)) for part in (order[:a], order[a:]))


# %% split-without-leakage | masks instead of rows | row numbers
def split_groups(groups, seed):
    order = np.random.default_rng(seed).permutation(np.unique(groups))
    a, b = int(0.6 * len(order)), int(0.8 * len(order))
    return tuple(np.isin(groups, part) for part in (order[:a], order[a:b], order[b:]))


# %% split-without-leakage | NumPy's global generator, reseeded | global generator
def split_groups(groups, seed):
    np.random.seed(seed)
    order = np.random.permutation(np.unique(groups))
    a, b = int(0.6 * len(order)), int(0.8 * len(order))
    return tuple(np.flatnonzero(np.isin(groups, part)) for part in (order[:a], order[a:b], order[b:]))


# %% grey-to-backbone | tiled instead of resized | tiled
def to_backbone(grey, size):
    times = -(-size // min(grey.shape[2:]))
    x = grey.repeat(1, 3, times, times)[:, :, :size, :size].float() / 255
    return (x - 0.5) / 0.5


# %% grey-to-backbone | edges continued, middle cut out | cuts a piece
def to_backbone(grey, size):
    x = (grey.float() / 255 - 0.5) / 0.5
    if size <= grey.shape[2]:
        return tvf.center_crop(x, [size, size]).repeat(1, 3, 1, 1)
    return nn.functional.interpolate(x, (size, size), mode="bilinear").repeat(1, 3, 1, 1)


# %% grey-to-backbone | padded with black | padding
def to_backbone(grey, size):
    x = tvf.center_crop(grey, [size, size]).float() / 255
    return ((x - 0.5) / 0.5).repeat(1, 3, 1, 1)


# %% grey-to-backbone | stretched to each batch's own range | dim picture
def to_backbone(grey, size):
    x = grey.float()
    x = (x - x.min()) / (x.max() - x.min())
    x = nn.functional.interpolate(x, (size, size), mode="bilinear", antialias=True)
    return ((x - 0.5) / 0.5).repeat(1, 3, 1, 1)


# %% grey-to-backbone | reshaped | no longer the same
def to_backbone(grey, size):
    n, _, height, width = grey.shape
    x = grey.float().flatten(1) / 255
    x = nn.functional.interpolate(x[:, None], size * size, mode="linear").reshape(n, 1, size, size)
    return ((x - 0.5) / 0.5).repeat(1, 3, 1, 1)


# %% grey-to-backbone | statistics of ImageNet | Black should become
def to_backbone(grey, size):
    x = nn.functional.interpolate(grey.float() / 255, (size, size), mode="bilinear", antialias=True)
    return tvf.normalize(x.repeat(1, 3, 1, 1), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


# %% grey-to-backbone | one side given | both sides
def to_backbone(grey, size):
    x = nn.functional.interpolate(grey.float() / 255, scale_factor=size / grey.shape[3], mode="bilinear")
    return ((x - 0.5) / 0.5).repeat(1, 3, 1, 1)
