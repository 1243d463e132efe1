"""Right answers to the exercises of chapter 2, written in other ways than the hidden solution.

Each begins with a line ``# %% exercise | the way``.
"""


# %% split-without-leakage | scikit-learn's group split, twice, as lists
def split_groups(groups, seed):
    from sklearn.model_selection import GroupShuffleSplit

    rows = np.arange(len(groups))
    rest, test = next(GroupShuffleSplit(1, test_size=0.2, random_state=seed).split(rows, groups=groups))
    again = GroupShuffleSplit(1, test_size=0.25, random_state=seed)
    train, validation = next(again.split(rest, groups=groups[rest]))
    return [rest[train].tolist(), rest[validation].tolist(), test.tolist()]


# %% split-without-leakage | rows counted group by group, with the standard library's generator
def split_groups(groups, seed):
    import random

    names = sorted(set(groups.tolist()))
    random.Random(seed).shuffle(names)
    parts, seen = ([], [], []), 0
    for name in names:
        rows = [k for k, group in enumerate(groups) if group == name]
        parts[0 if seen < 0.6 * len(groups) else 1 if seen < 0.8 * len(groups) else 2].extend(rows)
        seen += len(rows)
    return tuple(torch.tensor(part) for part in parts)


# %% grey-to-backbone | torchvision, bicubic, channels first repeated
def to_backbone(grey, size):
    x = tvf.resize(grey.expand(-1, 3, -1, -1), [size, size], tvf.InterpolationMode.BICUBIC, antialias=True)
    return tvf.normalize(x.float() / 255, [0.5] * 3, [0.5] * 3).clamp(-1, 1)


# %% grey-to-backbone | nearest neighbours by indexing, in one formula
def to_backbone(grey, size):
    rows = torch.arange(size) * grey.shape[2] // size
    columns = torch.arange(size) * grey.shape[3] // size
    x = grey[:, :, rows][:, :, :, columns].float() / 127.5 - 1
    return torch.cat([x, x, x], dim=1)


# %% grey-to-backbone | corners aligned
def to_backbone(grey, size):
    x = (grey.to(torch.float32) / 255 - 0.5) * 2
    x = nn.functional.interpolate(x, size=size, mode="bilinear", align_corners=True)
    return x.repeat(1, 3, 1, 1)


# %% grey-to-backbone | shorter side resized, then the middle cut out
def to_backbone(grey, size):
    x = tvf.center_crop(tvf.resize(grey.float() / 255, [size], antialias=True), [size, size])
    return torch.concatenate([(x - 0.5) / 0.5] * 3, dim=1)
