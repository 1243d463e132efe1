"""Plausible wrong answers to the exercises of chapter 11, as a reader would type them in place of the stub.

Each begins with a line ``# %% exercise | the mistake | words that its message must hold``.
"""


# %% unseen-means-unseen | concepts instead of families | on both sides
def split_families(families, count, seed):
    order = np.random.default_rng(seed).permutation(len(families))
    return order[count:], order[:count]


# %% unseen-means-unseen | one concept of a family, its relatives lost | left out
def split_families(families, count, seed):
    first = np.sort(np.unique(families, return_index=True)[1])
    order = np.random.default_rng(seed).permutation(first)
    return order[count:], order[:count]


# %% unseen-means-unseen | not shuffled | another seed
def split_families(families, count, seed):
    families = np.asarray(families)
    chosen = np.unique(families)[:count]
    unseen = np.isin(families, chosen)
    return np.flatnonzero(~unseen), np.flatnonzero(unseen)


# %% unseen-means-unseen | the global generator | default_rng
def split_families(families, count, seed):
    families = np.asarray(families)
    np.random.seed(seed)
    unseen = np.isin(families, np.random.permutation(np.unique(families))[:count])
    return np.flatnonzero(~unseen), np.flatnonzero(unseen)


# %% unseen-means-unseen | sides exchanged | seen first
def split_families(families, count, seed):
    families = np.asarray(families)
    chosen = np.random.default_rng(seed).permutation(np.unique(families))[:count]
    unseen = np.isin(families, chosen)
    return np.flatnonzero(unseen), np.flatnonzero(~unseen)


# %% inverted-softmax | an ordinary softmax | hub keeps winning
def inverted(similarities, beta):
    e = np.exp(beta * similarities)
    return e / e.sum(axis=1, keepdims=True)


# %% inverted-softmax | no temperature | beta does nothing
def inverted(similarities, beta):
    e = np.exp(similarities)
    return e / e.sum(axis=0, keepdims=True)


# %% inverted-softmax | raw similarities over their sum | can be negative
def inverted(similarities, beta):
    s = beta * similarities
    return s / s.sum(axis=0, keepdims=True)


# %% unseen-means-unseen | a fixed order, shifted by the seed | only shifted
def split_families(families, count, seed):
    names = np.roll(np.unique(families), seed)
    unseen = np.isin(families, names[:count])
    return np.flatnonzero(~unseen), np.flatnonzero(unseen)


# %% unseen-means-unseen | concepts shuffled, the first families met | you draw concepts
def split_families(families, count, seed):
    shuffled = np.random.default_rng(seed).permutation(families)
    chosen = []
    for name in shuffled:
        if name not in chosen and len(chosen) < count:
            chosen.append(name)
    unseen = np.isin(families, chosen)
    return np.flatnonzero(~unseen), np.flatnonzero(unseen)


# %% unseen-means-unseen | relatives counted | Asked for
def split_families(families, count, seed):
    rng = np.random.default_rng(seed)
    chosen = rng.choice(families, count, replace=False)
    unseen = np.isin(families, chosen)
    return np.flatnonzero(~unseen), np.flatnonzero(unseen)


# %% unseen-means-unseen | masks | a mask
def split_families(families, count, seed):
    chosen = np.random.default_rng(seed).choice(np.unique(families), count, replace=False)
    unseen = np.isin(families, chosen)
    return ~unseen, unseen


# %% unseen-means-unseen | names instead of positions | yours are names
def split_families(families, count, seed):
    names = np.unique(families)
    np.random.default_rng(seed).shuffle(names)
    return names[count:], names[:count]


# %% unseen-means-unseen | numbers of the families | numbers of families
def split_families(families, count, seed):
    order = np.random.default_rng(seed).permutation(len(np.unique(families)))
    return order[count:], order[:count]


# %% unseen-means-unseen | a generator without the seed | The same seed
def split_families(families, count, seed):
    rng = np.random.default_rng()
    unseen = np.isin(families, rng.permutation(np.unique(families))[:count])
    return np.flatnonzero(~unseen), np.flatnonzero(unseen)


# %% unseen-means-unseen | one side only | two lists or arrays
def split_families(families, count, seed):
    chosen = np.random.default_rng(seed).permutation(np.unique(families))[:count]
    return np.flatnonzero(np.isin(families, chosen))


# %% unseen-means-unseen | one family always among them | was in
def split_families(families, count, seed):
    names = np.unique(families)
    drawn = np.random.default_rng(seed).permutation(names[1:])[: count - 1]
    unseen = np.isin(families, [names[0], *drawn])
    return np.flatnonzero(~unseen), np.flatnonzero(unseen)


# %% inverted-softmax | logarithms, over the labels | hub keeps winning
def inverted(similarities, beta):
    s = beta * similarities
    return s - np.log(np.exp(s).sum(axis=1, keepdims=True))


# %% inverted-softmax | divided by the temperature | divide by beta
def inverted(similarities, beta):
    e = np.exp((similarities - similarities.max(axis=0)) / beta)
    return e / e.sum(axis=0)


# %% inverted-softmax | a softmax, then its columns | normalise twice
def inverted(similarities, beta):
    import torch
    from torch.nn import functional

    p = functional.softmax(beta * torch.from_numpy(similarities), dim=1)
    return (p / p.sum(dim=0)).numpy()


# %% inverted-softmax | over everything | a sum of its own
def inverted(similarities, beta):
    e = np.exp(beta * (similarities - similarities.max()))
    return e / e.sum()


# %% inverted-softmax | not divided | not divided by anything
def inverted(similarities, beta):
    out = np.empty_like(similarities)
    for label in range(similarities.shape[1]):
        out[:, label] = np.exp(beta * similarities[:, label])
    return out


# %% inverted-softmax | labels by samples | One row for each sample
def inverted(similarities, beta):
    e = np.exp(beta * similarities).T
    return e / e.sum(axis=1, keepdims=True)


# %% inverted-softmax | distances for similarities | sign is turned
def inverted(similarities, beta):
    distances = 1 - similarities
    e = np.exp(beta * distances)
    return e / e.sum(axis=0)


# %% inverted-softmax | beta written down | not for
def inverted(similarities, beta):
    beta = 4.0
    e = np.exp(beta * similarities)
    return e / e.sum(axis=0)


# %% unseen-means-unseen | shuffled once for all seeds, then shifted | only shifted
def split_families(families, count, seed):
    names = np.random.default_rng(0).permutation(np.unique(families))
    unseen = np.isin(families, np.roll(names, seed)[:count])
    return np.flatnonzero(~unseen), np.flatnonzero(unseen)


# %% unseen-means-unseen | a random place in a fixed order | only shifted
def split_families(families, count, seed):
    names = np.unique(families)
    start = np.random.default_rng(seed).integers(len(names))
    unseen = np.isin(families, np.roll(names, -start)[:count])
    return np.flatnonzero(~unseen), np.flatnonzero(unseen)
