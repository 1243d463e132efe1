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


# %% l2-sp | all weights in one vector
def l2_sp_penalty(parameters, start, alpha):
    now = torch.cat([p.flatten() for p in parameters])
    with torch.no_grad():
        then = torch.cat([s.flatten() for s in start])
    return 0.5 * alpha * torch.dot(now - then, now - then)


# %% l2-sp | a loop with the summed squared error, shape (1,)
def l2_sp_penalty(parameters, start, alpha):
    total = torch.zeros(1)
    for k in range(len(parameters)):
        total = total + nn.functional.mse_loss(parameters[k], start[k].clone().detach(), reduction="sum")
    return total * alpha / 2


# %% l2-sp | squared norms
def l2_sp_penalty(parameters, start, alpha):
    return torch.stack([torch.linalg.vector_norm(p - s.data) ** 2 for p, s in zip(parameters, start)]).sum() * (
        alpha / 2
    )
