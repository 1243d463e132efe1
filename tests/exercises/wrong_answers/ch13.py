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
    return list(stream)[-size:]


# %% reservoir-sampling | a coin for each item | same chance
def reservoir(stream, size, seed):
    random, kept = np.random.default_rng(seed), []
    for item in stream:
        if len(kept) < size:
            kept.append(item)
        elif random.random() < 0.5:
            kept[random.integers(0, size)] = item
    return kept


# %% reservoir-sampling | the global generator | default_rng
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


# %% a-step-that-does-not-hurt | always taken out | agree
def corrected(g, r):
    return g - (g @ r) / (r @ r) * r


# %% a-step-that-does-not-hurt | divided by the wrong length | at right angles
def corrected(g, r):
    return g if g @ r >= 0 else g - (g @ r) / (g @ g) * r


# %% a-step-that-does-not-hurt | the step left out | no step at all
def corrected(g, r):
    return g if g @ r >= 0 else np.zeros_like(g)


# %% a-step-that-does-not-hurt | the buffer's step instead | only vetoes
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
