"""Plausible wrong answers to the exercises of chapter 4, as a reader would type them in place of the stub.

Each begins with a line ``# %% exercise | the mistake | words that its message must hold``.
"""


# %% discriminative-rates | the early parts get the high rates | the wrong way round
def rate_groups(parts, lr, decay):
    return [
        {"params": [p for p in part.parameters() if p.requires_grad], "lr": lr * decay**n}
        for n, part in enumerate(parts)
        if any(p.requires_grad for p in part.parameters())
    ]


# %% discriminative-rates | frozen parts are handed to the optimiser | ask for no gradient
def rate_groups(parts, lr, decay):
    top = len(parts) - 1
    return [{"params": list(part.parameters()), "lr": lr * decay ** (top - n)} for n, part in enumerate(parts)]


# %% discriminative-rates | the head trains at a reduced rate, too | The head trains at lr itself
def rate_groups(parts, lr, decay):
    groups = [
        {"params": [p for p in part.parameters() if p.requires_grad], "lr": lr * decay ** (len(parts) - n)}
        for n, part in enumerate(parts)
    ]
    return [group for group in groups if group["params"]]


# %% discriminative-rates | one common rate | decay has no effect
def rate_groups(parts, lr, decay):
    groups = [{"params": [p for p in part.parameters() if p.requires_grad], "lr": lr} for part in parts]
    return [group for group in groups if group["params"]]


# %% l2-sp | plain weight decay | towards 0
def l2_sp_penalty(parameters, start, alpha):
    return alpha / 2 * sum((p**2).sum() for p in parameters)


# %% l2-sp | the half is missing | twice
def l2_sp_penalty(parameters, start, alpha):
    return alpha * sum(((p - s.detach()) ** 2).sum() for p, s in zip(parameters, start))


# %% l2-sp | the mean instead of the sum | sum over all weights
def l2_sp_penalty(parameters, start, alpha):
    return alpha / 2 * sum(((p - s.detach()) ** 2).mean() for p, s in zip(parameters, start))


# %% l2-sp | no gradient left | no gradient
def l2_sp_penalty(parameters, start, alpha):
    return alpha / 2 * sum(((p.detach() - s) ** 2).sum() for p, s in zip(parameters, start))
