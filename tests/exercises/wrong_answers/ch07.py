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


# %% mutual-information | bits | nats
def information(p):
    def entropy(q):
        return -(q * np.log2(np.where(q > 0, q, 1))).sum(axis=-1)

    return entropy(p.mean(axis=0)) - entropy(p).mean()


# %% mutual-information | the other way round | sign
def information(p):
    def entropy(q):
        return -(q * np.log(np.where(q > 0, q, 1))).sum(axis=-1)

    return entropy(p).mean() - entropy(p.mean(axis=0))


# %% pseudo-labels | everybody is believed | at least
def self_training_loss(logits, threshold):
    return torch.nn.functional.cross_entropy(logits, logits.argmax(dim=1))


# %% pseudo-labels | mean over the believed only | all target samples
def self_training_loss(logits, threshold):
    sure, said = logits.detach().softmax(dim=1).max(dim=1)
    keep = sure >= threshold
    if not keep.any():
        return logits.sum() * 0
    return torch.nn.functional.cross_entropy(logits[keep], said[keep])


# %% pseudo-labels | NaN when nobody is sure | nobody
def self_training_loss(logits, threshold):
    sure, said = logits.detach().softmax(dim=1).max(dim=1)
    keep = sure >= threshold
    return torch.nn.functional.cross_entropy(logits[keep], said[keep]) * keep.float().mean()


# %% pseudo-labels | detached | gradient
def self_training_loss(logits, threshold):
    logits = logits.detach()
    sure, said = logits.softmax(dim=1).max(dim=1)
    each = torch.nn.functional.cross_entropy(logits, said, reduction="none")
    return ((sure >= threshold).float() * each).mean()


# %% pseudo-labels | threshold ignored | does not go by
def self_training_loss(logits, threshold):
    sure, said = logits.detach().softmax(dim=1).max(dim=1)
    each = torch.nn.functional.cross_entropy(logits, said, reduction="none")
    return ((sure >= 0.9).float() * each).mean()
