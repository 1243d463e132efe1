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


# %% inverted-softmax | an ordinary softmax | over the labels
def inverted(similarities, beta):
    e = np.exp(beta * similarities)
    return e / e.sum(axis=1, keepdims=True)


# %% inverted-softmax | no temperature | beta
def inverted(similarities, beta):
    e = np.exp(similarities)
    return e / e.sum(axis=0, keepdims=True)


# %% inverted-softmax | raw similarities over their sum | exponential
def inverted(similarities, beta):
    s = beta * similarities
    return s / s.sum(axis=0, keepdims=True)
