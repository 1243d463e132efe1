"""Right answers to the exercises of chapter 11b, written in other ways than the hidden solution.

Each begins with a line ``# %% exercise | the way``.
"""


# %% attribute-prediction | loops, products
def by_attributes(p, signatures):
    scores = []
    for image in p:
        row = []
        for signature in signatures:
            product = 1.0
            for probability, there in zip(image, signature):
                product *= probability if there else 1 - probability
            row.append(product)
        scores.append(row)
    return scores


# %% attribute-prediction | powers, broadcast
def by_attributes(p, signatures):
    p, s = p[:, None, :], signatures[None]
    return np.prod(p**s * (1 - p) ** (1 - s), axis=-1)


# %% attribute-prediction | torch in float32
def by_attributes(p, signatures):
    p, s = (torch.tensor(part, dtype=torch.float32) for part in (p, signatures))
    loss = functional.binary_cross_entropy(
        p[:, None].expand(-1, len(s), -1), s[None].expand(len(p), -1, -1), reduction="none"
    )
    return -loss.sum(dim=2)
