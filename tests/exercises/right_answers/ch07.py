"""Right answers to the exercises of chapter 7, written in other ways than the hidden solution.

Each begins with a line ``# %% exercise | the way``.
"""


# %% mutual-information | SciPy's entropy
def information(p):
    from scipy.stats import entropy

    return entropy(p.mean(0)) - np.mean(entropy(p, axis=1))


# %% mutual-information | torch, float32, a small number in each logarithm
def information(p):
    p = torch.as_tensor(p, dtype=torch.float32)
    mean = p.mean(dim=0)
    return -(mean * (mean + 1e-8).log()).sum() + (p * (p + 1e-8).log()).sum(dim=1).mean()


# %% mutual-information | loops over plain numbers
def information(p):
    import math

    def entropy(q):
        return sum(-x * math.log(x) for x in q if x > 0)

    rows = p.tolist()
    mean = [sum(column) / len(rows) for column in zip(*rows)]
    return entropy(mean) - sum(map(entropy, rows)) / len(rows)


# %% mutual-information | mean divergence from the mean answer, clipped in place
def information(p):
    np.clip(p, 1e-12, 1, out=p)
    return np.array([(p * np.log(p / p.mean(axis=0))).sum() / len(p)])


# %% mutual-information | xlogy
def information(p):
    from scipy.special import xlogy

    mean = np.average(p, axis=0)
    return xlogy(p, p).sum() / p.shape[0] - xlogy(mean, mean).sum()


# %% balanced-pseudo-labels | ranks within the class
def believed(p, share):
    said, sure = p.argmax(axis=1), p.max(axis=1)
    above = (said[:, None] == said) & (sure[:, None] < sure)  # of the same class, and surer
    size = np.bincount(said, minlength=p.shape[1])[said]
    return above.sum(axis=1) < np.ceil(share * size)


# %% balanced-pseudo-labels | pandas, a threshold for each class
def believed(p, share):
    frame = pd.DataFrame({"said": p.argmax(1), "sure": p.max(1)})

    def least(sure):
        return np.sort(sure)[-int(np.ceil(share * len(sure)))]

    return frame["sure"] >= frame.groupby("said")["sure"].transform(least)


# %% balanced-pseudo-labels | plain lists of 0 and 1, a loop from the surest down
def believed(p, share):
    said = [row.index(max(row)) for row in p.tolist()]
    left = {label: int(np.ceil(share * said.count(label))) for label in said}
    keep = [0] * len(said)
    for row in sorted(range(len(said)), key=lambda row: -max(p[row])):
        if left[said[row]]:
            keep[row] = 1
            left[said[row]] -= 1
    return keep


# %% balanced-pseudo-labels | torch, over all classes, also those without answers
def believed(p, share):
    sure, said = torch.as_tensor(p).max(dim=1)
    keep = torch.zeros(len(p), dtype=torch.bool)
    for label in range(p.shape[1]):
        members = torch.nonzero(said == label)[:, 0]
        number = int(np.ceil(share * len(members)))
        keep[members[sure[members].topk(number).indices]] = True
    return keep
