"""Plausible wrong answers to the exercises of chapter 11b, as a reader would type them in place of the stub.

Each begins with a line ``# %% exercise | the mistake | words that its message must hold``.
"""


# %% attribute-prediction | only what is there | lacks count
def by_attributes(p, signatures):
    return np.log(p) @ signatures.T


# %% attribute-prediction | a sum instead of a product | are multiplied
def by_attributes(p, signatures):
    return p @ signatures.T + (1 - p) @ (1 - signatures).T


# %% attribute-prediction | a mean | You average
def by_attributes(p, signatures):
    fits = np.where(signatures[None] == 1, p[:, None], 1 - p[:, None])
    return np.log(fits).mean(axis=2)


# %% attribute-prediction | rounded first | round the probabilities
def by_attributes(p, signatures):
    return ((p > 0.5)[:, None] == signatures[None]).sum(axis=2)


# %% attribute-prediction | normalised over classes | divide by a sum
def by_attributes(p, signatures):
    scores = np.where(signatures[None] == 1, p[:, None], 1 - p[:, None]).prod(axis=2)
    return scores / scores.sum(axis=1, keepdims=True)


# %% attribute-prediction | classes by images | turned round
def by_attributes(p, signatures):
    return signatures @ np.log(p).T + (1 - signatures) @ np.log(1 - p).T


# %% attribute-prediction | there and not there exchanged | are exchanged
def by_attributes(p, signatures):
    return np.log(1 - p) @ signatures.T + np.log(p) @ (1 - signatures).T


# %% attribute-prediction | a loss, not a score | sign is turned
def by_attributes(p, signatures):
    return -(np.log(p) @ signatures.T + np.log(1 - p) @ (1 - signatures).T)
