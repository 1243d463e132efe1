"""Right answers to the exercises of chapter 4, written in other ways than the hidden solution.

Each begins with a line ``# %% exercise | the way``.
"""


# %% discriminative-rates | one group a tensor
def rate_groups(parts, lr, decay):
    top = len(parts) - 1
    return [
        {"params": [p], "lr": lr * decay ** (top - n)}
        for n, part in enumerate(parts)
        for p in part.parameters()
        if p.requires_grad
    ]


# %% discriminative-rates | generators, a bare tensor, from the head down and turned
def rate_groups(parts, lr, decay):
    groups, rate = [], torch.tensor(lr, dtype=torch.float64)
    for part in parts[::-1]:
        groups += [{"params": p, "lr": float(rate), "name": n} for n, p in part.named_parameters() if p.requires_grad]
        rate = rate * decay
    yield from reversed(groups)


# %% discriminative-rates | frozen parts leave an empty group, in a tuple
def rate_groups(parts, lr, decay):
    return tuple(
        {"params": filter(lambda p: p.requires_grad, part.parameters()), "lr": lr * decay**steps}
        for part, steps in zip(parts, range(len(parts) - 1, -1, -1))
    )


# %% slanted-triangle | two points and a straight line between
def slanted_triangle(step, steps, peak, share, ratio):
    return np.interp(step, [0, share * steps, steps], [peak / ratio, peak, peak / ratio])


# %% slanted-triangle | as the paper writes it, as a tensor
def slanted_triangle(step, steps, peak, share, ratio):
    cut = int(steps * share)
    p = step / cut if step < cut else 1 - (step - cut) / (cut * (1 / share - 1))
    return torch.tensor(peak * (1 + p * (ratio - 1)) / ratio, dtype=torch.float64)
