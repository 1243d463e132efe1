"""Right answers to the exercises of chapter 13, written in other ways than the hidden solution.

Each begins with a line ``# %% exercise | the way``.
"""


# %% reservoir-sampling | the standard library, a coin and a place
def reservoir(stream, size, seed):
    import random

    rng, kept = random.Random(seed), []
    for n, item in enumerate(stream, start=1):
        if n <= size:
            kept.append(item)
        elif rng.random() < size / n:
            kept[rng.randrange(size)] = item
    return kept


# %% reservoir-sampling | the largest random keys, in a heap
def reservoir(stream, size, seed):
    import heapq

    rng, heap = np.random.default_rng(seed), []
    for item in stream:
        key = rng.random()
        if len(heap) < size:
            heapq.heappush(heap, (key, item))
        else:
            heapq.heappushpop(heap, (key, item))
    return tuple(item for _, item in heap)


# %% reservoir-sampling | filled by islice, inclusive bounds, an array
def reservoir(stream, size, seed):
    import itertools

    stream, rng = iter(stream), np.random.RandomState(seed)
    kept = list(itertools.islice(stream, size))
    seen = len(kept)
    for item in stream:
        seen += 1
        slot = int(np.floor(rng.uniform() * seen))
        if slot <= size - 1:
            kept[slot] = item
    return np.array(kept)


# %% reservoir-sampling | appended and one taken out, torch's generator
def reservoir(stream, size, seed):
    generator, kept, seen = torch.Generator().manual_seed(seed), [], 0
    for item in stream:
        seen += 1
        kept.append(item)
        if len(kept) > size:
            if torch.rand(1, generator=generator).item() < size / seen:
                del kept[int(torch.randint(size, (1,), generator=generator))]
            else:
                kept.pop()
    return kept


# %% a-step-that-does-not-hurt | the dot product cut off at 0
def corrected(g, r):
    length = max(float(np.dot(r, r)), 1e-12)
    return g - min(float(np.dot(g, r)), 0.0) / length * r


# %% a-step-that-does-not-hurt | a copy, changed in place
def corrected(g, r):
    new = g.copy()
    dot = np.inner(g, r)
    if dot < 0:
        new -= dot / np.inner(r, r) * r
    return new


# %% a-step-that-does-not-hurt | loops, a list
def corrected(g, r):
    dot = sum(a * b for a, b in zip(g, r))
    if not dot < 0:
        return [float(a) for a in g]
    square = sum(b * b for b in r)
    return [a - dot / square * b for a, b in zip(g, r)]


# %% a-step-that-does-not-hurt | torch in float32, a unit vector
def corrected(g, r):
    g, r = torch.tensor(g, dtype=torch.float32), torch.tensor(r, dtype=torch.float32)
    unit = torch.nn.functional.normalize(r, dim=0)
    return g - unit * (g @ unit).clamp(max=0)


# %% a-step-that-does-not-hurt | a projection matrix
def corrected(g, r):
    if g @ r >= 0:
        return np.array(g)
    keep = np.eye(len(g)) - np.outer(r, r) / (r**2).sum()
    return keep @ g
