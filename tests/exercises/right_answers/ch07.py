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


# %% pseudo-labels | minus the largest log-probability, no label named
def self_training_loss(logits, threshold):
    best = F.log_softmax(logits, dim=1).amax(dim=1)
    return torch.where(best.exp() >= threshold, -best, torch.zeros_like(best)).mean()


# %% pseudo-labels | the believed ones picked, summed, divided by all
def self_training_loss(logits, threshold):
    with torch.no_grad():
        p = torch.softmax(logits, -1)
        keep, labels = p.amax(-1) >= threshold, p.argmax(-1)
    return F.cross_entropy(logits[keep], labels[keep], reduction="sum") / len(logits)


# %% pseudo-labels | the unsure ones ignored by their label
def self_training_loss(logits, threshold):
    sure, labels = torch.max(logits.data.softmax(1), 1)
    labels[sure < threshold] = -100
    return nn.CrossEntropyLoss(reduction="sum", ignore_index=-100)(logits, labels) / logits.shape[0]


# %% pseudo-labels | a loop over the samples, shape (1,)
def self_training_loss(logits, threshold):
    total = torch.zeros(1)
    for row in logits:
        p = row.softmax(0)
        if p.max() >= threshold:
            total = total - p[int(p.argmax())].log()
    return total / len(logits)


# %% pseudo-labels | one-hot targets, gathered by a product
def self_training_loss(logits, threshold):
    p = logits.softmax(dim=1).detach()
    hard = F.one_hot(p.argmax(dim=1), p.shape[1]) * (p.amax(dim=1, keepdim=True) >= threshold)
    return -(hard * logits.log_softmax(dim=1)).sum() / len(p)
