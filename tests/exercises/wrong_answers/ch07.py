"""Plausible wrong answers to the exercises of chapter 7, as a reader would type them in place of the stub.

Each begins with a line ``# %% exercise | the mistake | words that its message must hold``.
"""


# %% mutual-information | minus the mean entropy only | one class
def information(p):
    return (p * np.log(np.where(p > 0, p, 1))).sum(axis=1).mean()


# %% mutual-information | zero times the logarithm of zero | probability of 0
def information(p):
    def entropy(q):
        with np.errstate(all="ignore"):
            return -(q * np.log(q)).sum(axis=-1)

    return entropy(p.mean(axis=0)) - entropy(p).mean()


# %% mutual-information | bits | in bits
def information(p):
    def entropy(q):
        return -(q * np.log2(np.where(q > 0, q, 1))).sum(axis=-1)

    return entropy(p.mean(axis=0)) - entropy(p).mean()


# %% mutual-information | the other way round | sign
def information(p):
    def entropy(q):
        return -(q * np.log(np.where(q > 0, q, 1))).sum(axis=-1)

    return entropy(p).mean() - entropy(p.mean(axis=0))


# %% mutual-information | the entropy of the mean answer only | mean answer alone
def information(p):
    mean = p.mean(axis=0)
    return -(mean * np.log(mean.clip(1e-12))).sum()


# %% mutual-information | the sum of the entropies | sum of the entropies
def information(p):
    from scipy.stats import entropy

    return entropy(p.mean(axis=0)) - entropy(p, axis=1).sum()


# %% mutual-information | classes averaged, samples summed | changed places
def information(p):
    q = np.clip(p, 1e-12, 1)
    mean = q.mean(axis=1)
    return -(mean * np.log(mean)).sum() + (q * np.log(q)).sum(axis=0).mean()


# %% mutual-information | most likely classes counted | how sure the answers are is lost
def information(p):
    hard = np.eye(p.shape[1])[p.argmax(axis=1)]

    def entropy(q):
        q = q[q > 0]
        return -(q * np.log(q)).sum()

    return entropy(hard.mean(axis=0)) - np.mean([entropy(row) for row in hard])


# %% mutual-information | divided by its maximum | another scale
def information(p):
    from scipy.stats import entropy

    n = p.shape[1]
    return entropy(p.mean(axis=0), base=n) - entropy(p, axis=1, base=n).mean()


# %% mutual-information | one number for each answer | one number for all
def information(p):
    q = np.clip(p, 1e-12, 1)
    mean = q.mean(axis=0)
    return (q * (np.log(q) - np.log(mean))).sum(axis=1)


# %% mutual-information | three classes written down | not for 7 over 5
def information(p):
    q = np.clip(p, 1e-12, 1)
    total = 0.0
    for k in range(3):
        mean = q[:, k].mean()
        total += (q[:, k] * np.log(q[:, k])).mean() - mean * np.log(mean)
    return total


# %% mutual-information | the entropies added | You add
def information(p):
    from scipy.stats import entropy

    both = [entropy(p.mean(axis=0)), entropy(p, axis=1).mean()]
    return sum(both)


# %% balanced-pseudo-labels | the surest of all answers | all answers together
def believed(p, share):
    sure = p.max(axis=1)
    keep = np.zeros(len(p), dtype=bool)
    keep[np.argsort(-sure)[: int(np.ceil(share * len(p)))]] = True
    return keep


# %% balanced-pseudo-labels | the share as a threshold | threshold on the probability
def believed(p, share):
    return p.max(axis=1) >= share


# %% balanced-pseudo-labels | rounded down | Round up
def believed(p, share):
    said, sure = p.argmax(axis=1), p.max(axis=1)
    keep = np.zeros(len(p), dtype=bool)
    for label in np.unique(said):
        members = np.flatnonzero(said == label)
        keep[members[np.argsort(-sure[members])][: int(share * len(members))]] = True
    return keep


# %% balanced-pseudo-labels | the least sure | the order is turned
def believed(p, share):
    said, sure = p.argmax(axis=1), p.max(axis=1)
    keep = np.zeros(len(p), dtype=bool)
    for label in np.unique(said):
        members = np.flatnonzero(said == label)
        keep[members[np.argsort(sure[members])][: int(np.ceil(share * len(members)))]] = True
    return keep


# %% balanced-pseudo-labels | every answer ranked for every class | rank every answer
def believed(p, share):
    keep = np.zeros(len(p), dtype=bool)
    for label in range(p.shape[1]):
        keep[np.argsort(-p[:, label])[: int(np.ceil(share * len(p)))]] = True
    return keep


# %% balanced-pseudo-labels | the same number of each class | the same number of each
def believed(p, share):
    said, sure = p.argmax(axis=1), p.max(axis=1)
    keep, number = np.zeros(len(p), dtype=bool), int(np.ceil(share * len(p) / p.shape[1]))
    for label in range(p.shape[1]):
        members = np.flatnonzero(said == label)
        keep[members[np.argsort(-sure[members])][:number]] = True
    return keep


# %% balanced-pseudo-labels | row numbers | Return a mask
def believed(p, share):
    said, sure = p.argmax(axis=1), p.max(axis=1)
    rows = []
    for label in np.unique(said):
        members = np.flatnonzero(said == label)
        rows += list(members[np.argsort(-sure[members])][: int(np.ceil(share * len(members)))])
    return np.sort(rows)


# %% balanced-pseudo-labels | the share forgotten | whatever the share is
def believed(p, share):
    return np.isin(p.argmax(axis=1), np.unique(p.argmax(axis=1)))


# %% balanced-pseudo-labels | three eighths written down | not for 0.5
def believed(p, share):
    said, sure = p.argmax(axis=1), p.max(axis=1)
    keep = np.zeros(len(p), dtype=bool)
    for label in np.unique(said):
        members = np.flatnonzero(said == label)
        keep[members[np.argsort(-sure[members])][: (3 * len(members) + 7) // 8]] = True
    return keep


# %% balanced-pseudo-labels | one more than needed, where nothing is to be rounded | wanted are
def believed(p, share):
    said, sure = p.argmax(axis=1), p.max(axis=1)
    keep = np.zeros(len(p), dtype=bool)
    for label in np.unique(said):
        members = np.flatnonzero(said == label)
        keep[members[np.argsort(-sure[members])][: int(share * len(members)) + 2]] = True
    return keep
