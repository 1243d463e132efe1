"""Plausible wrong answers to the exercises of chapter 10, as a reader would type them in place of the stub.

Each begins with a line ``# %% exercise | the mistake | words that its message must hold``.
"""


# %% inner-loop | detached | second order is lost
def inner_loop(loss, weights, x, y, rate, steps):
    from torch.func import grad

    for _ in range(steps):
        slope = grad(loss)(weights, x, y)
        weights = {name: w - rate * slope[name].detach() for name, w in weights.items()}
    return weights


# %% inner-loop | one step only | number of steps
def inner_loop(loss, weights, x, y, rate, steps):
    from torch.func import grad

    slope = grad(loss)(weights, x, y)
    return {name: w - rate * slope[name] for name, w in weights.items()}


# %% inner-loop | the slope of the start, again and again | anew
def inner_loop(loss, weights, x, y, rate, steps):
    from torch.func import grad

    slope = grad(loss)(weights, x, y)
    for _ in range(steps):
        weights = {name: w - rate * slope[name] for name, w in weights.items()}
    return weights


# %% inner-loop | up the hill | downhill
def inner_loop(loss, weights, x, y, rate, steps):
    from torch.func import grad

    for _ in range(steps):
        slope = grad(loss)(weights, x, y)
        weights = {name: w + rate * slope[name] for name, w in weights.items()}
    return weights


# %% inner-loop | in place | changes the dictionary
def inner_loop(loss, weights, x, y, rate, steps):
    from torch.func import grad

    for _ in range(steps):
        slope = grad(loss)(weights, x, y)
        for name in weights:
            weights[name] = weights[name] - rate * slope[name]
    return weights


# %% reptile-step | away from the tasks | towards
def reptile_step(weights, adapted, share):
    return {name: w - share * (sum(a[name] for a in adapted) / len(adapted) - w) for name, w in weights.items()}


# %% reptile-step | sum instead of mean | mean over the tasks
def reptile_step(weights, adapted, share):
    return {name: w + share * sum(a[name] - w for a in adapted) for name, w in weights.items()}


# %% reptile-step | all the way | only a share
def reptile_step(weights, adapted, share):
    return {name: sum(a[name] for a in adapted) / len(adapted) for name in weights}


# %% reptile-step | the last task only | every task
def reptile_step(weights, adapted, share):
    for a in adapted:
        new = {name: w + share * (a[name] - w) for name, w in weights.items()}
    return new
