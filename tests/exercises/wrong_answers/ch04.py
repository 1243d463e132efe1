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


# %% slanted-triangle | it starts at 0 | starts at peak / ratio
def slanted_triangle(step, steps, peak, share, ratio):
    top = share * steps
    return peak * (step / top if step <= top else (steps - step) / (steps - top))


# %% slanted-triangle | no way up | begins at the peak
def slanted_triangle(step, steps, peak, share, ratio):
    return peak * (1 + (1 - step / steps) * (ratio - 1)) / ratio


# %% slanted-triangle | relative to the peak | not multiplied by the peak
def slanted_triangle(step, steps, peak, share, ratio):
    top = share * steps
    p = step / top if step <= top else (steps - step) / (steps - top)
    return (1 + p * (ratio - 1)) / ratio


# %% slanted-triangle | the authors' share, whatever is asked | The peak 0.004 is due
def slanted_triangle(step, steps, peak, share, ratio):
    top = 0.1 * steps
    p = step / top if step <= top else (steps - step) / (steps - top)
    return peak * (1 + p * (ratio - 1)) / ratio


# %% slanted-triangle | as steep down as up | On the way down
def slanted_triangle(step, steps, peak, share, ratio):
    top = share * steps
    p = step / top if step <= top else max(0, 2 - step / top)
    return peak * (1 + p * (ratio - 1)) / ratio


# %% slanted-triangle | a curve on the way up | At step 10 the rate should be
def slanted_triangle(step, steps, peak, share, ratio):
    top = share * steps
    p = (step / top) ** 2 if step <= top else (steps - step) / (steps - top)
    return peak * (1 + p * (ratio - 1)) / ratio


# %% slanted-triangle | all rates at once | Return one number
def slanted_triangle(step, steps, peak, share, ratio):
    return [peak] * steps
