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


# %% discriminative-rates | a frozen part in the middle is no step | not counted as a step
def rate_groups(parts, lr, decay):
    trained = [[p for p in part.parameters() if p.requires_grad] for part in parts]
    trained = [params for params in trained if params]
    return [{"params": params, "lr": lr * decay**n} for n, params in enumerate(reversed(trained))][::-1]


# %% discriminative-rates | a step for each tensor | not per tensor
def rate_groups(parts, lr, decay):
    groups = []
    for part in reversed(parts):
        for p in reversed(list(part.parameters())):
            if p.requires_grad:
                groups.append({"params": [p], "lr": lr * decay ** len(groups)})
    return groups[::-1]


# %% discriminative-rates | weights without biases | weights and biases
def rate_groups(parts, lr, decay):
    top = len(parts) - 1
    return [
        {"params": [p.weight], "lr": lr * decay ** (top - n)} for n, p in enumerate(parts) if p.weight.requires_grad
    ]


# %% discriminative-rates | from the head down | in order from input to head
def rate_groups(parts, lr, decay):
    groups = [
        {"params": [p for p in part.parameters() if p.requires_grad], "lr": lr * decay**n}
        for n, part in enumerate(reversed(parts))
    ]
    return [group for group in groups if group["params"]]


# %% discriminative-rates | decay fixed at one half | Right for lr
def rate_groups(parts, lr, decay):
    top = len(parts) - 1
    groups = [
        {"params": [p for p in part.parameters() if p.requires_grad], "lr": lr / 2 ** (top - n)}
        for n, part in enumerate(parts)
    ]
    return [group for group in groups if group["params"]]


# %% discriminative-rates | a dictionary of rates | list of groups
def rate_groups(parts, lr, decay):
    return {n: lr * decay ** (len(parts) - 1 - n) for n in range(len(parts))}


# %% discriminative-rates | less by a fixed amount each step | The rates of the trainable parts
def rate_groups(parts, lr, decay):
    top = len(parts) - 1
    groups = [
        {"params": [p for p in part.parameters() if p.requires_grad], "lr": lr * (1 - decay * (top - n) / top)}
        for n, part in enumerate(parts)
    ]
    return [group for group in groups if group["params"]]


# %% l2-sp | the start not detached | detach the start
def l2_sp_penalty(parameters, start, alpha):
    return alpha / 2 * sum(((p - s) ** 2).sum() for p, s in zip(parameters, start))


# %% l2-sp | distance not squared | square each difference
def l2_sp_penalty(parameters, start, alpha):
    return alpha / 2 * sum((p - s.detach()).norm() for p, s in zip(parameters, start))


# %% l2-sp | absolute instead of squared differences | square each difference
def l2_sp_penalty(parameters, start, alpha):
    return alpha / 2 * sum((p - s.detach()).abs().sum() for p, s in zip(parameters, start))


# %% l2-sp | squares the root of the sum of squares | NaN
def l2_sp_penalty(parameters, start, alpha):
    return alpha / 2 * torch.sqrt(sum(((p - s.detach()) ** 2).sum() for p, s in zip(parameters, start))) ** 2


# %% l2-sp | differences stored in the weights | in place
def l2_sp_penalty(parameters, start, alpha):
    total = 0.0
    for p, s in zip(parameters, start):
        p.data -= s.detach()
        total = total + (p**2).sum()
    return alpha / 2 * total


# %% l2-sp | a number without gradient | as a tensor
def l2_sp_penalty(parameters, start, alpha):
    return alpha / 2 * sum(((p - s) ** 2).sum().item() for p, s in zip(parameters, start))
