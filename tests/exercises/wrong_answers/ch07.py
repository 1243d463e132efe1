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


# %% pseudo-labels | NaN when nobody is sure | nobody is sure
def self_training_loss(logits, threshold):
    sure, said = logits.detach().softmax(dim=1).max(dim=1)
    keep = sure >= threshold
    return torch.nn.functional.cross_entropy(logits[keep], said[keep]) * keep.float().mean()


# %% pseudo-labels | detached | No gradient flows
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


# %% pseudo-labels | probabilities as labels | Two slips
def self_training_loss(logits, threshold):
    p = logits.detach().softmax(dim=1)
    each = F.cross_entropy(logits, p, reduction="none")
    return (each * (p.max(dim=1).values >= threshold)).mean()


# %% pseudo-labels | softmax twice | Two slips
def self_training_loss(logits, threshold):
    p = logits.softmax(dim=1)
    sure, said = p.detach().max(dim=1)
    return (F.cross_entropy(p, said, reduction="none") * (sure >= threshold)).mean()


# %% pseudo-labels | logits compared with the threshold | a logit
def self_training_loss(logits, threshold):
    best, said = logits.detach().max(dim=1)
    each = F.cross_entropy(logits, said, reduction="none")
    return torch.where(best >= threshold, each, 0.0).mean()


# %% pseudo-labels | a sum | divide it by the number
def self_training_loss(logits, threshold):
    sure, said = logits.detach().softmax(dim=1).max(dim=1)
    return F.cross_entropy(logits[sure >= threshold], said[sure >= threshold], reduction="sum")


# %% pseudo-labels | the unsure believed | leave out the sure
def self_training_loss(logits, threshold):
    sure, said = logits.detach().softmax(dim=1).max(dim=1)
    said = said.masked_fill(sure >= threshold, -100)
    return F.cross_entropy(logits, said, ignore_index=-100, reduction="sum") / len(logits)


# %% pseudo-labels | softmax over the samples | over the classes
def self_training_loss(logits, threshold):
    p = torch.softmax(logits.detach(), dim=0)
    believed = p.amax(dim=1) >= threshold
    each = F.cross_entropy(logits, logits.argmax(dim=1), reduction="none")
    return (each * believed).sum() / len(logits)


# %% pseudo-labels | weighted by how sure | do not weigh
def self_training_loss(logits, threshold):
    sure, said = logits.detach().softmax(dim=1).max(dim=1)
    weight = torch.where(sure >= threshold, sure, torch.zeros_like(sure))
    return (weight * F.cross_entropy(logits, said, reduction="none")).mean()


# %% pseudo-labels | the label differentiated, straight through | its gradient is not
def self_training_loss(logits, threshold):
    p = logits.softmax(dim=1)
    hard = F.one_hot(p.argmax(dim=1), p.shape[1]).float() + p - p.detach()
    each = -(hard * logits.log_softmax(dim=1)).sum(dim=1)
    return (each * (p.amax(dim=1) >= threshold)).mean()


# %% pseudo-labels | one loss for each sample | scalar tensor
def self_training_loss(logits, threshold):
    sure, said = logits.detach().softmax(dim=1).max(dim=1)
    return F.cross_entropy(logits, said, reduction="none") * (sure >= threshold)


# %% mutual-information | the entropies added | You add
def information(p):
    from scipy.stats import entropy

    both = [entropy(p.mean(axis=0)), entropy(p, axis=1).mean()]
    return sum(both)


# %% pseudo-labels | probabilities averaged | averages probabilities
def self_training_loss(logits, threshold):
    sure, said = logits.softmax(dim=1).max(dim=1)
    keep = (sure >= threshold).float()
    return F.nll_loss(logits.softmax(dim=1), said, reduction="none").mul(keep).mean()


# %% pseudo-labels | the sign turned | sign is turned
def self_training_loss(logits, threshold):
    log_p = logits.log_softmax(dim=1)
    best = log_p.max(dim=1).values
    return (best * (best.detach().exp() >= threshold)).mean()
