"""Plausible wrong answers to the exercises of chapter 6, as a reader would type them in place of the stub.

Each begins with a line ``# %% exercise | the mistake | words that its message must hold``.
"""


# %% own-statistics | statistics of all together | mean 0
def own_statistics(x, domain):
    return (x - x.mean(axis=0)) / x.std(axis=0)


# %% own-statistics | only the mean | standard deviation
def own_statistics(x, domain):
    out = np.zeros_like(x)
    for name in np.unique(domain):
        out[domain == name] = x[domain == name] - x[domain == name].mean(axis=0)
    return out


# %% own-statistics | division by zero | constant
def own_statistics(x, domain):
    out = np.zeros_like(x)
    for name in np.unique(domain):
        part = x[domain == name]
        out[domain == name] = (part - part.mean(axis=0)) / np.where(part.std(axis=0) > 0, part.std(axis=0), np.nan)
    return out


# %% own-statistics | rows in another order | order
def own_statistics(x, domain):
    parts = []
    for name in np.unique(domain):
        part = x[domain == name]
        deviation = part.std(axis=0)
        parts.append((part - part.mean(axis=0)) / np.where(deviation > 0, deviation, 1))
    return np.concatenate(parts)


# %% target-proportions | what the classifier says | errors of the classifier
def proportions(confusion, said):
    return said


# %% target-proportions | the matrix the other way round | columns
def proportions(confusion, said):
    found = np.clip(np.linalg.solve(confusion.T, said), 0, None)
    return found / found.sum()


# %% target-proportions | negative shares | negative
def proportions(confusion, said):
    return np.linalg.solve(confusion, said)


# %% own-statistics | variance instead of deviation | standard deviation
def own_statistics(x, domain):
    out = np.zeros_like(x)
    for name in np.unique(domain):
        part = x[domain == name]
        spread = part.var(axis=0)
        out[domain == name] = (part - part.mean(axis=0)) / np.where(spread > 0, spread, 1)
    return out


# %% target-proportions | absolute value instead of clipping | absolute value
def proportions(confusion, said):
    found = np.abs(np.linalg.solve(confusion, said))
    return found / found.sum()


# %% target-proportions | two classes only | not for three
def proportions(confusion, said):
    share = (said[0] - confusion[0, 1]) / (confusion[0, 0] - confusion[0, 1])
    share = min(max(share, 0), 1)
    return np.array([share, 1 - share])
