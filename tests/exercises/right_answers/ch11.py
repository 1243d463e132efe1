"""Right answers to the exercises of chapter 11, written in other ways than the hidden solution.

Each begins with a line ``# %% exercise | the way``.
"""


# %% unseen-means-unseen | the standard library, lists
def split_families(families, count, seed):
    import random

    chosen = set(random.Random(seed).sample(sorted(set(families)), count))
    seen, unseen = [], []
    for position, name in enumerate(families):
        (unseen if name in chosen else seen).append(position)
    return [seen, unseen]


# %% unseen-means-unseen | scikit-learn's group split
def split_families(families, count, seed):
    from sklearn.model_selection import GroupShuffleSplit

    split = GroupShuffleSplit(n_splits=1, test_size=count, random_state=seed)
    return next(split.split(families, groups=families))


# %% unseen-means-unseen | pandas, codes and a torch generator
def split_families(families, count, seed):
    import torch

    codes, names = pd.factorize(families)
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed))
    unseen = torch.isin(torch.tensor(codes), order[:count])
    return torch.nonzero(~unseen).squeeze(1), torch.nonzero(unseen).squeeze(1)


# %% unseen-means-unseen | drawn without replacement, collected family by family
def split_families(families, count, seed):
    rng = np.random.RandomState(seed)
    names = list(dict.fromkeys(families.tolist()))
    unseen = rng.choice(names, size=count, replace=False)
    places = {name: np.where(families == name)[0] for name in names}
    seen = np.concatenate([places[name] for name in names if name not in unseen])
    return seen, np.concatenate([places[name] for name in unseen])


# %% inverted-softmax | SciPy
def inverted(similarities, beta):
    from scipy.special import softmax

    return softmax(beta * similarities, axis=0)


# %% inverted-softmax | torch in float32
def inverted(similarities, beta):
    import torch
    from torch.nn import functional

    s = torch.tensor(similarities, dtype=torch.float32)
    return functional.softmax(beta * s, dim=0)


# %% inverted-softmax | loops, a list of rows
def inverted(similarities, beta):
    import math

    columns = []
    for column in zip(*similarities):
        e = [math.exp(beta * s) for s in column]
        columns.append([value / sum(e) for value in e])
    return [list(row) for row in zip(*columns)]


# %% inverted-softmax | in place, a data frame
def inverted(similarities, beta):
    similarities *= beta
    np.exp(similarities, out=similarities)
    table = pd.DataFrame(similarities)
    return table / table.sum()


# %% inverted-softmax | through logarithms
def inverted(similarities, beta):
    s = np.multiply(similarities, beta)
    return np.exp(s - np.logaddexp.reduce(s, axis=0, keepdims=True))


# %% inverted-softmax | logarithms
def inverted(similarities, beta):
    s = beta * similarities
    return s - np.log(np.exp(s).sum(axis=0))


# %% inverted-softmax | torch's log-softmax
def inverted(similarities, beta):
    import torch

    return torch.log_softmax(beta * torch.as_tensor(similarities), dim=0)
