"""Plausible wrong answers to the exercises of chapter 9, as a reader would type them in place of the stub.

Each begins with a line ``# %% exercise | the mistake | words that its message must hold``.
"""


# %% draw-episode | support and queries overlap | both in the support and among the queries
def draw_episode(labels, ways, shots, queries, random):
    labels = np.asarray(labels)
    classes = random.choice(np.unique(labels), ways, replace=False)
    members = [np.flatnonzero(labels == name) for name in classes]
    if min(map(len, members)) < shots + queries:
        raise ValueError("too few")
    support = np.stack([random.choice(rows, shots, replace=False) for rows in members])
    asked = np.stack([random.choice(rows, queries, replace=False) for rows in members])
    return classes, support, asked


# %% draw-episode | a class twice | drawn twice
def draw_episode(labels, ways, shots, queries, random):
    labels = np.asarray(labels)
    classes = random.choice(np.unique(labels), ways)
    members = [np.flatnonzero(labels == name) for name in classes]
    if min(map(len, members)) < shots + queries:
        raise ValueError("too few")
    rows = np.stack([random.permutation(m)[: shots + queries] for m in members])
    return classes, rows[:, :shots], rows[:, shots:]


# %% draw-episode | samples repeated where there are too few | ValueError
def draw_episode(labels, ways, shots, queries, random):
    labels = np.asarray(labels)
    classes = random.choice(np.unique(labels), ways, replace=False)
    rows = []
    for name in classes:
        members = random.permutation(np.flatnonzero(labels == name))
        rows.append(np.resize(members, shots + queries))
    rows = np.stack(rows)
    return classes, rows[:, :shots], rows[:, shots:]


# %% draw-episode | always the first samples | never drawn
def draw_episode(labels, ways, shots, queries, random):
    labels = np.asarray(labels)
    classes = random.choice(np.unique(labels), ways, replace=False)
    members = [np.flatnonzero(labels == name)[: shots + queries] for name in classes]
    if min(map(len, members)) < shots + queries:
        raise ValueError("too few")
    rows = np.stack(members)
    return classes, rows[:, :shots], rows[:, shots:]


# %% centroid-as-linear | no bias | Long means win
def as_linear(support, labels):
    means = np.stack([support[labels == way].mean(axis=0) for way in np.unique(labels)])
    return 2 * means, np.zeros(len(means))


# %% centroid-as-linear | right answers, other probabilities | same answers, but other probabilities
def as_linear(support, labels):
    means = np.stack([support[labels == way].mean(axis=0) for way in np.unique(labels)])
    return means, -(means**2).sum(axis=1) / 2


# %% centroid-as-linear | sums for means | sum of its samples
def as_linear(support, labels):
    sums = np.stack([support[labels == way].sum(axis=0) for way in np.unique(labels)])
    return 2 * sums, -(sums**2).sum(axis=1)
