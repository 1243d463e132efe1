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


# %% draw-episode | samples repeated where there are too few | use a sample twice
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


# %% draw-episode | NumPy's global generator | from `random` alone
def draw_episode(labels, ways, shots, queries, random):
    classes = np.random.permutation(np.unique(labels))[:ways]
    rows = [np.random.permutation(np.flatnonzero(labels == name)) for name in classes]
    if min(map(len, rows)) < shots + queries:
        raise ValueError("too few")
    support = np.array([r[:shots] for r in rows])
    return classes, support, np.array([r[shots : shots + queries] for r in rows])


# %% draw-episode | a new generator at each call | from `random` alone
def draw_episode(labels, ways, shots, queries, random):
    rng = np.random.default_rng()
    classes = rng.choice(np.unique(labels), ways, replace=False)
    rows = np.stack([rng.choice(np.flatnonzero(labels == c), shots + queries, replace=False) for c in classes])
    return classes, rows[:, :shots], rows[:, shots:]


# %% draw-episode | a generator with a fixed seed | Every generator gives
def draw_episode(labels, ways, shots, queries, random):
    random = np.random.default_rng(0)
    classes = random.choice(np.unique(labels), ways, replace=False)
    rows = np.stack([random.choice(np.flatnonzero(labels == c), shots + queries, replace=False) for c in classes])
    return classes, rows[:, :shots], rows[:, shots:]


# %% draw-episode | always the same classes | never asked
def draw_episode(labels, ways, shots, queries, random):
    classes = np.unique(labels)[:ways]
    rows = []
    for name in classes:
        members = np.flatnonzero(labels == name)
        rows.append(random.choice(members, shots + queries, replace=False))
    rows = np.array(rows)
    return classes, rows[:, :shots], rows[:, shots:]


# %% draw-episode | drawn with replacement within the support | twice in a row
def draw_episode(labels, ways, shots, queries, random):
    classes = random.choice(np.unique(labels), ways, replace=False)
    support, asked = [], []
    for name in classes:
        members = random.permutation(np.flatnonzero(labels == name))
        if len(members) < shots + queries:
            raise ValueError("too few")
        half = len(members) // 2
        support.append(random.choice(members[:half], shots))
        asked.append(random.choice(members[half:], queries, replace=False))
    return classes, np.stack(support), np.stack(asked)


# %% draw-episode | places within the class | members[place]
def draw_episode(labels, ways, shots, queries, random):
    classes = random.choice(np.unique(labels), ways, replace=False)
    rows = []
    for name in classes:
        count = int((labels == name).sum())
        rows.append(random.choice(count, shots + queries, replace=False))
    rows = np.stack(rows)
    return classes, rows[:, :shots], rows[:, shots:]


# %% draw-episode | labels instead of positions | hold class numbers
def draw_episode(labels, ways, shots, queries, random):
    classes = random.choice(np.unique(labels), ways, replace=False)
    rows = np.stack([random.choice(labels[labels == c], shots + queries, replace=False) for c in classes])
    return classes, rows[:, :shots], rows[:, shots:]


# %% draw-episode | classes numbered anew | do not all occur
def draw_episode(labels, ways, shots, queries, random):
    names = random.choice(np.unique(labels), ways, replace=False)
    rows = np.stack([random.choice(np.flatnonzero(labels == c), shots + queries, replace=False) for c in names])
    return np.arange(ways), rows[:, :shots], rows[:, shots:]


# %% draw-episode | classes sorted after the rows were drawn | that you return
def draw_episode(labels, ways, shots, queries, random):
    classes = random.choice(np.unique(labels), ways, replace=False)
    rows = np.stack([random.choice(np.flatnonzero(labels == c), shots + queries, replace=False) for c in classes])
    return np.sort(classes), rows[:, :shots], rows[:, shots:]


# %% draw-episode | one flat list | Shapes are
def draw_episode(labels, ways, shots, queries, random):
    classes = random.choice(np.unique(labels), ways, replace=False)
    support, asked = [], []
    for name in classes:
        members = random.permutation(np.flatnonzero(labels == name)).tolist()
        support += members[:shots]
        asked += members[shots : shots + queries]
    return classes, np.array(support), np.array(asked)


# %% draw-episode | one sample too careful | mind the last one
def draw_episode(labels, ways, shots, queries, random):
    classes = random.choice(np.unique(labels), ways, replace=False)
    rows = []
    for name in classes:
        members = random.permutation(np.flatnonzero(labels == name))
        if len(members) <= shots + queries:
            raise ValueError("too few")
        rows.append(members[: shots + queries])
    rows = np.stack(rows)
    return classes, rows[:, :shots], rows[:, shots:]


# %% draw-episode | refused for a class that was not drawn | refuses all episodes
def draw_episode(labels, ways, shots, queries, random):
    names, counts = np.unique(labels, return_counts=True)
    if counts.min() < shots + queries:
        raise ValueError("a class has too few samples")
    classes = random.choice(names, ways, replace=False)
    rows = np.stack([random.permutation(np.flatnonzero(labels == c))[: shots + queries] for c in classes])
    return classes, rows[:, :shots], rows[:, shots:]


# %% centroid-as-linear | the bias with a plus | sign of the bias
def as_linear(support, labels):
    means = np.stack([support[labels == way].mean(axis=0) for way in np.unique(labels)])
    return 2 * means, (means**2).sum(axis=1)


# %% centroid-as-linear | the distance itself, so that the furthest wins | furthest mean wins
def as_linear(support, labels):
    weights, biases = [], []
    for way in range(labels.max() + 1):
        mean = support[labels == way].mean(axis=0)
        weights.append(-2 * mean)
        biases.append(mean @ mean)
    return np.array(weights), np.array(biases)


# %% centroid-as-linear | length instead of its square | holds its square
def as_linear(support, labels):
    means = np.stack([support[labels == way].mean(axis=0) for way in np.unique(labels)])
    return 2 * means, -np.linalg.norm(means, axis=1)


# %% centroid-as-linear | in order of appearance | another order
def as_linear(support, labels):
    means = np.stack([support[labels == way].mean(axis=0) for way in dict.fromkeys(labels.tolist())])
    return 2 * means, -(means**2).sum(axis=1)


# %% centroid-as-linear | cosines | head of cosines
def as_linear(support, labels):
    means = np.stack([support[labels == way].mean(axis=0) for way in np.unique(labels)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    return means, np.zeros(len(means))


# %% centroid-as-linear | medians | the median of its samples
def as_linear(support, labels):
    middle = np.array([np.median(support[labels == way], axis=0) for way in np.unique(labels)])
    return 2 * middle, -np.square(middle).sum(axis=1)


# %% centroid-as-linear | nearest sample | Shapes are
def as_linear(support, labels):
    return 2 * support, -(support**2).sum(axis=1)


# %% centroid-as-linear | biases of the mean square | Other answers than
def as_linear(support, labels):
    ways = np.unique(labels)
    means = np.stack([support[labels == way].mean(axis=0) for way in ways])
    squares = np.stack([(support[labels == way] ** 2).sum(axis=1).mean() for way in ways])
    return 2 * means, -squares


# %% centroid-as-linear | three classes written down | not for five and two
def as_linear(support, labels):
    means = np.zeros((len(np.unique(labels)), support.shape[1]))
    for way in range(3):
        means[way] = support[labels == way].mean(axis=0)
    return 2 * means, -(means**2).sum(axis=1)


# %% draw-episode | a place to begin instead of a shuffle | side by side
def draw_episode(labels, ways, shots, queries, random):
    classes = random.choice(np.unique(labels), ways, replace=False)
    rows = []
    for name in classes:
        members = np.flatnonzero(labels == name)
        if len(members) < shots + queries:
            raise ValueError("too few")
        rows.append(np.roll(members, random.integers(len(members)))[: shots + queries])
    rows = np.stack(rows)
    return classes, rows[:, :shots], rows[:, shots:]


# %% draw-episode | neighbouring classes | any classes may meet
def draw_episode(labels, ways, shots, queries, random):
    names = np.unique(labels)
    classes = np.roll(names, random.integers(len(names)))[:ways]
    rows = []
    for name in classes:
        rows.append(random.choice(np.flatnonzero(labels == name), shots + queries, replace=False))
    rows = np.array(rows)
    return classes, rows[:, :shots], rows[:, shots:]


# %% draw-episode | an assertion instead of a ValueError | raises AssertionError
def draw_episode(labels, ways, shots, queries, random):
    classes = random.choice(np.unique(labels), ways, replace=False)
    rows = []
    for name in classes:
        members = random.permutation(np.flatnonzero(labels == name))
        assert len(members) >= shots + queries
        rows.append(members[: shots + queries])
    rows = np.array(rows)
    return classes, rows[:, :shots], rows[:, shots:]


# %% draw-episode | nothing returned where there are too few | returns nothing
def draw_episode(labels, ways, shots, queries, random):
    classes = random.choice(np.unique(labels), ways, replace=False)
    members = [random.permutation(np.flatnonzero(labels == name)) for name in classes]
    if min(len(m) for m in members) < shots + queries:
        return None
    rows = np.stack([m[: shots + queries] for m in members])
    return classes, rows[:, :shots], rows[:, shots:]
