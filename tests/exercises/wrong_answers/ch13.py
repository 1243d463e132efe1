"""Plausible wrong answers to the exercises of chapter 13, as a reader would type them in place of the stub.

Each begins with a line ``# %% exercise | the mistake | words that its message must hold``.
"""


# %% reservoir-sampling | off by one | counts itself
def reservoir(stream, size, seed):
    random, kept = np.random.default_rng(seed), []
    for number, item in enumerate(stream):
        if len(kept) < size:
            kept.append(item)
            continue
        slot = random.integers(0, number)
        if slot < size:
            kept[slot] = item
    return kept


# %% reservoir-sampling | everything new gets in | rarer and rarer
def reservoir(stream, size, seed):
    random, kept = np.random.default_rng(seed), []
    for item in stream:
        if len(kept) < size:
            kept.append(item)
        else:
            kept[random.integers(0, size)] = item
    return kept


# %% reservoir-sampling | the first ones | nothing after
def reservoir(stream, size, seed):
    return list(stream)[:size]


# %% reservoir-sampling | the last ones | forgets on purpose
def reservoir(stream, size, seed):
    from collections import deque

    return list(deque(stream, maxlen=size))


# %% reservoir-sampling | a coin for each item | falls as more have come by
def reservoir(stream, size, seed):
    random, kept = np.random.default_rng(seed), []
    for item in stream:
        if len(kept) < size:
            kept.append(item)
        elif random.random() < 0.5:
            kept[random.integers(0, size)] = item
    return kept


# %% reservoir-sampling | the global generator | moves NumPy
def reservoir(stream, size, seed):
    np.random.seed(seed)
    kept = []
    for number, item in enumerate(stream):
        if len(kept) < size:
            kept.append(item)
            continue
        slot = np.random.randint(0, number + 1)
        if slot < size:
            kept[slot] = item
    return kept


# %% reservoir-sampling | the whole stream as numbers | may be anything
def reservoir(stream, size, seed):
    random = np.random.default_rng(seed)
    items = np.fromiter(stream, int)
    return list(random.choice(items, min(size, len(items)), replace=False))


# %% a-step-that-does-not-hurt | always taken out | nothing to repair
def corrected(g, r):
    return g - (g @ r) / (r @ r) * r


# %% a-step-that-does-not-hurt | divided by the wrong length | at right angles
def corrected(g, r):
    return g if g @ r >= 0 else g - (g @ r) / (g @ g) * r


# %% a-step-that-does-not-hurt | the step left out | no step at all
def corrected(g, r):
    return g if g @ r >= 0 else np.zeros_like(g)


# %% a-step-that-does-not-hurt | the buffer's step instead | start from g
def corrected(g, r):
    return g if g @ r >= 0 else r


# %% a-step-that-does-not-hurt | the other sign | twice as much
def corrected(g, r):
    return g if g @ r >= 0 else g + (g @ r) / (r @ r) * r


# %% a-step-that-does-not-hurt | in place | changed
def corrected(g, r):
    if g @ r < 0:
        g -= (g @ r) / (r @ r) * r
    return g


# %% reservoir-sampling | the whole stream in a list | may be endless
def reservoir(stream, size, seed):
    items = list(stream)
    places = np.random.default_rng(seed).permutation(len(items))[:size]
    return [items[place] for place in places]


# %% reservoir-sampling | a key for each item, all of them sorted | may be endless
def reservoir(stream, size, seed):
    random, pairs = np.random.default_rng(seed), []
    for item in stream:
        pairs.append((random.random(), item))
    return [item for _, item in sorted(pairs)[:size]]


# %% reservoir-sampling | always the same seed | keeps the same items
def reservoir(stream, size, seed):
    random, kept = np.random.default_rng(0), []
    for n, item in enumerate(stream, start=1):
        if n <= size:
            kept.append(item)
        elif random.random() < size / n:
            kept[random.integers(size)] = item
    return kept


# %% reservoir-sampling | no seed | same buffer every time
def reservoir(stream, size, seed):
    import random

    rng, kept = random.Random(), []
    for n, item in enumerate(stream):
        slot = n if n < size else rng.randint(0, n)
        if n < size:
            kept.append(item)
        elif slot < size:
            kept[slot] = item
    return kept


# %% reservoir-sampling | always the same place makes room | make room among all
def reservoir(stream, size, seed):
    random, kept = np.random.default_rng(seed), []
    for n, item in enumerate(stream, start=1):
        if len(kept) < size:
            kept.append(item)
        elif random.random() < size / n:
            kept[-1] = item
    return kept


# %% reservoir-sampling | one place too many | bounds that you draw between
def reservoir(stream, size, seed):
    import random

    rng, kept = random.Random(seed), []
    for n, item in enumerate(stream, start=1):
        if len(kept) < size:
            kept.append(item)
            continue
        slot = rng.randint(0, n)
        if slot < size:
            kept[slot] = item
    return kept


# %% reservoir-sampling | with replacement | different ones are kept
def reservoir(stream, size, seed):
    random, kept = np.random.default_rng(seed), []
    for n, item in enumerate(stream, start=1):
        if n <= size:
            kept.append(item)
            continue
        for place in range(size):
            if random.random() < 1 / n:
                kept[place] = item
    return kept


# %% reservoir-sampling | a short stream padded | kept whole
def reservoir(stream, size, seed):
    random, kept = np.random.default_rng(seed), [None] * size
    for n, item in enumerate(stream):
        slot = n if n < size else random.integers(n + 1)
        if slot < size:
            kept[slot] = item
    return [-1 if item is None else item for item in kept]


# %% reservoir-sampling | the oldest makes room | as likely to make room
def reservoir(stream, size, seed):
    random, kept = np.random.default_rng(seed), []
    for n, item in enumerate(stream, start=1):
        if n <= size:
            kept.append(item)
        elif random.random() < size / n:
            kept = kept[1:] + [item]
    return kept


# %% a-step-that-does-not-hurt | g itself where they agree | Copy it
def corrected(g, r):
    dot = g @ r
    if dot >= 0:
        return g
    return g - dot / (r @ r) * r


# %% a-step-that-does-not-hurt | the condition turned round | in conflict
def corrected(g, r):
    new = g.copy()
    dot = g @ r
    if dot > 0:
        new -= dot / (r @ r) * r
    return new


# %% a-step-that-does-not-hurt | number by number | number by number
def corrected(g, r):
    new = np.zeros_like(g)
    for k in range(len(g)):
        if g[k] * r[k] >= 0:
            new[k] = g[k]
    return new


# %% a-step-that-does-not-hurt | both gradients averaged | is replay
def corrected(g, r):
    if np.dot(g, r) >= 0:
        return g.copy()
    return np.mean([g, r], axis=0)


# %% a-step-that-does-not-hurt | not divided by r's length | length 1 only
def corrected(g, r):
    dot = np.dot(g, r)
    new = np.array(g)
    if dot < 0:
        new = new - dot * r
    return new


# %% a-step-that-does-not-hurt | mirrored | turns the step round
def corrected(g, r):
    dot = g @ r
    if dot >= 0:
        return g.copy()
    unit = r / np.linalg.norm(r)
    return g - 2 * (g @ unit) * unit


# %% a-step-that-does-not-hurt | the removed part | one that has to go
def corrected(g, r):
    if g @ r < 0:
        return (g @ r) / (r @ r) * r
    return g.copy()


# %% a-step-that-does-not-hurt | stretched to the old length | its length is not
def corrected(g, r):
    dot = g @ r
    if dot >= 0:
        return g.copy()
    left = g - dot / (r @ r) * r
    return left * np.linalg.norm(g) / np.linalg.norm(left)


# %% a-step-that-does-not-hurt | zero divided by zero | r of zeros
def corrected(g, r):
    with np.errstate(invalid="ignore"):
        share = np.minimum(g @ r, 0) / (r @ r)
    return g - share * r


# %% a-step-that-does-not-hurt | a single number | stays of that shape
def corrected(g, r):
    dot = g @ r
    return g.sum() if dot >= 0 else (g - dot / (r @ r) * r).sum()


# %% reservoir-sampling | new ones with probability 1 / n | too rarely: with
def reservoir(stream, size, seed):
    random, kept = np.random.default_rng(seed), []
    for n, item in enumerate(stream, start=1):
        if n <= size:
            kept.append(item)
        elif random.random() < 1 / n:
            kept[random.integers(size)] = item
    return kept
