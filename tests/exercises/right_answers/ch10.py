"""Right answers to the exercises of chapter 10, written in other ways than the hidden solution.

Each begins with a line ``# %% exercise | the way``.
"""


# %% inner-loop | autograd.grad with its graph
def inner_loop(loss, weights, x, y, rate, steps):
    names = list(weights)
    for _ in range(steps):
        values = [weights[name] for name in names]
        slopes = torch.autograd.grad(loss(weights, x, y), values, create_graph=True)
        weights = {name: w - rate * s for name, w, s in zip(names, values, slopes)}
    return weights


# %% inner-loop | autograd.grad, plain tensors made to follow their gradient
def inner_loop(loss, weights, x, y, rate, steps):
    now = {n: w if w.requires_grad else w.clone().requires_grad_() for n, w in weights.items()}
    while steps:
        slopes = torch.autograd.grad(loss(now, x, y), tuple(now.values()), create_graph=True)
        now = dict(zip(now, [w - rate * s for w, s in zip(now.values(), slopes)]))
        steps -= 1
    return now


# %% inner-loop | clones changed in place
def inner_loop(loss, weights, x, y, rate, steps):
    new = {name: w.clone() for name, w in weights.items()}
    for _ in range(steps):
        slope = grad(loss)(new, x, y)
        for name in new:
            new[name] -= rate * slope[name]
    return new


# %% inner-loop | recursion, with the value of the loss beside
def inner_loop(loss, weights, x, y, rate, steps):
    if steps == 0:
        return dict(weights)
    slope, _ = torch.func.grad_and_value(loss)(weights, x, y)
    new = {name: torch.sub(weights[name], slope[name], alpha=rate) for name in slope}
    return inner_loop(loss, new, x, y, rate, steps - 1)


# %% inner-loop | reduce and a tree map
def inner_loop(loss, weights, x, y, rate, steps):
    from torch.utils._pytree import tree_map

    slope_at = functools.partial(grad(loss), x=x, y=y)
    step = lambda now, _: tree_map(lambda w, s: w - rate * s, now, slope_at(now))
    return functools.reduce(step, range(steps), weights.copy())


# %% reptile-step | in place, as with an optimiser
def reptile_step(weights, adapted, share):
    for name in weights:
        mean = torch.stack([a[name] for a in adapted]).mean(dim=0)
        weights[name] += share * (mean - weights[name])
    return weights


# %% reptile-step | lerp
def reptile_step(weights, adapted, share):
    new = {}
    for name, w in weights.items():
        new[name] = torch.lerp(w, torch.stack([a[name] for a in adapted]).mean(0), share)
    return new


# %% reptile-step | one task after the other, differences from the old start
def reptile_step(weights, adapted, share):
    new = dict(weights)
    for task in adapted:
        for name in weights:
            new[name] = new[name] + share / len(adapted) * (task[name] - weights[name])
    return new


# %% reptile-step | NumPy, the first task's weights summed into
def reptile_step(weights, adapted, share):
    total = adapted[0]
    for task in adapted[1:]:
        for name in total:
            total[name].add_(task[name])
    return {name: (1 - share) * w.numpy() + share * total[name].numpy() / len(adapted) for name, w in weights.items()}


# %% reptile-step | a pseudo-gradient, in float32
def reptile_step(weights, adapted, share):
    slope = {name: sum((w - a[name]).float() for a in adapted) / len(adapted) for name, w in weights.items()}
    return {name: weights[name].float().sub(slope[name], alpha=share) for name in slope}
