"""Plausible wrong answers to the exercises of chapter 1, as a reader would type them in place of the stub.

Each begins with a line ``# %% exercise | the mistake | words that its message must hold``.
"""


# %% accuracy-interval | population standard deviation | ddof=1
def paired_interval(a, b):
    d = np.asarray(a) - np.asarray(b)
    half = stats.t.ppf(0.975, len(d) - 1) * np.std(d) / np.sqrt(len(d))
    return d.mean(), d.mean() - half, d.mean() + half


# %% accuracy-interval | two independent samples | paired
def paired_interval(a, b):
    a, b = np.asarray(a), np.asarray(b)
    mean = a.mean() - b.mean()
    error = np.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b))
    half = stats.t.ppf(0.975, len(a) + len(b) - 2) * error
    return mean, mean - half, mean + half


# %% accuracy-interval | normal quantile | 1.96
def paired_interval(a, b):
    d = np.asarray(a) - np.asarray(b)
    half = 1.96 * d.std(ddof=1) / np.sqrt(len(d))
    return d.mean(), d.mean() - half, d.mean() + half


# %% accuracy-interval | spread of single runs instead of the mean | square root
def paired_interval(a, b):
    d = np.asarray(a) - np.asarray(b)
    half = stats.t.ppf(0.975, len(d) - 1) * d.std(ddof=1)
    return d.mean(), d.mean() - half, d.mean() + half


# %% same-subset | each size drawn on its own | nested
def few_labels(labels, n, seed):
    rng = np.random.default_rng([seed, n])
    chosen = []
    for c in np.unique(labels):
        members = np.flatnonzero(labels == c)
        take = round(n * len(members) / len(labels))
        chosen.extend(rng.choice(members, take, replace=False))
    return np.array(chosen)


# %% same-subset | first n of one permutation | stratified
def few_labels(labels, n, seed):
    return np.random.default_rng(seed).permutation(len(labels))[:n]


# %% same-subset | NumPy's global generator, unseeded | same seed
def few_labels(labels, n, seed):
    place = np.empty(len(labels))
    for c in np.unique(labels):
        members = np.random.permutation(np.flatnonzero(labels == c))
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    return np.argsort(place)[:n]


# %% same-subset | NumPy's global generator, reseeded | global generator
def few_labels(labels, n, seed):
    np.random.seed(seed)
    place = np.empty(len(labels))
    for c in np.unique(labels):
        members = np.random.permutation(np.flatnonzero(labels == c))
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    return np.argsort(place)[:n]


# %% accuracy-interval | 95 % to one side | 90 % interval
def paired_interval(a, b):
    d = np.asarray(a) - np.asarray(b)
    half = stats.t.ppf(0.95, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d))
    return d.mean(), d.mean() - half, d.mean() + half


# %% accuracy-interval | b minus a | sign is turned
def paired_interval(a, b):
    d = np.asarray(b) - np.asarray(a)
    half = stats.t.ppf(0.975, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d))
    return d.mean(), d.mean() - half, d.mean() + half


# %% accuracy-interval | absolute differences | keeps its sign
def paired_interval(a, b):
    d = np.abs(np.asarray(a) - np.asarray(b))
    half = stats.t.ppf(0.975, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d))
    return d.mean(), d.mean() - half, d.mean() + half


# %% accuracy-interval | n degrees of freedom | One degree of freedom too many
def paired_interval(a, b):
    d = np.asarray(a) - np.asarray(b)
    half = stats.t.ppf(0.975, len(d)) * d.std(ddof=1) / np.sqrt(len(d))
    return d.mean(), d.mean() - half, d.mean() + half


# %% accuracy-interval | the quantile for five seeds always | not for three
def paired_interval(a, b):
    d = np.asarray(a) - np.asarray(b)
    half = 2.776 * d.std(ddof=1) / np.sqrt(len(d))
    return d.mean(), d.mean() - half, d.mean() + half


# %% accuracy-interval | low, mean, high | comes first
def paired_interval(a, b):
    d = np.asarray(a) - np.asarray(b)
    half = stats.t.ppf(0.975, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d))
    return d.mean() - half, d.mean(), d.mean() + half


# %% accuracy-interval | the interval only | three numbers
def paired_interval(a, b):
    d = np.asarray(a) - np.asarray(b)
    half = stats.t.ppf(0.975, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d))
    return d.mean() - half, d.mean() + half


# %% accuracy-interval | low and high swapped | changed places
def paired_interval(a, b):
    d = np.asarray(a) - np.asarray(b)
    half = stats.t.ppf(0.025, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d))
    return d.mean(), d.mean() - half, d.mean() + half


# %% same-subset | seed ignored | seed is not used
def few_labels(labels, n, seed):
    order = np.random.default_rng(0).permutation(len(labels))
    place = np.empty(len(labels))
    for c in np.unique(labels):
        members = order[labels[order] == c]
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    return np.argsort(place)[:n]


# %% same-subset | drawn with replacement | distinct
def few_labels(labels, n, seed):
    return np.random.default_rng(seed).integers(0, len(labels), n)


# %% same-subset | a mask | integer indices
def few_labels(labels, n, seed):
    mask = np.zeros(len(labels), dtype=bool)
    mask[np.random.default_rng(seed).permutation(len(labels))[:n]] = True
    return mask


# %% same-subset | the same number from each class | stratified
def few_labels(labels, n, seed):
    rng = np.random.default_rng(seed)
    each = [rng.permutation(np.flatnonzero(labels == c))[: n // 2] for c in np.unique(labels)]
    return np.concatenate(each)


# %% same-subset | classes 0 and 1 only | not for three
def few_labels(labels, n, seed):
    rng = np.random.default_rng(seed)
    zeros, ones = (rng.permutation(np.flatnonzero(labels == c)) for c in (0, 1))
    k = round(n * np.mean(labels == 1))
    return np.concatenate([zeros[: n - k], ones[:k]])
