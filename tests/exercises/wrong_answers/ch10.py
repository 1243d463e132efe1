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


# %% inner-loop | tensors in place | in place (-=
def inner_loop(loss, weights, x, y, rate, steps):
    for _ in range(steps):
        slope = grad(loss)(weights, x, y)
        for name, w in weights.items():
            w -= rate * slope[name]
    return weights


# %% inner-loop | a shallow copy, its tensors in place | in place (-=
def inner_loop(loss, weights, x, y, rate, steps):
    new = weights.copy()
    for _ in range(steps):
        slope = grad(loss)(new, x, y)
        for name in new:
            new[name].sub_(rate * slope[name])
    return new


# %% inner-loop | autograd.grad on new leaves | cannot go through
def inner_loop(loss, weights, x, y, rate, steps):
    weights = {name: w.clone().requires_grad_(True) for name, w in weights.items()}
    for _ in range(steps):
        slopes = torch.autograd.grad(loss(weights, x, y), weights.values(), create_graph=True)
        weights = {name: w - rate * s for (name, w), s in zip(weights.items(), slopes)}
    return weights


# %% inner-loop | an optimiser | cannot go through
def inner_loop(loss, weights, x, y, rate, steps):
    new = {name: w.detach().clone().requires_grad_() for name, w in weights.items()}
    optimiser = torch.optim.SGD(new.values(), lr=rate)
    for _ in range(steps):
        optimiser.zero_grad()
        loss(new, x, y).backward()
        optimiser.step()
    return new


# %% inner-loop | autograd.grad without its graph | second order is lost
def inner_loop(loss, weights, x, y, rate, steps):
    for _ in range(steps):
        slopes = torch.autograd.grad(loss(weights, x, y), list(weights.values()))
        weights = {name: w - rate * s for (name, w), s in zip(weights.items(), slopes)}
    return weights


# %% inner-loop | without gradients | second order is lost
def inner_loop(loss, weights, x, y, rate, steps):
    new = dict(weights)
    for _ in range(steps):
        slope = grad(loss)(new, x, y)
        with torch.no_grad():
            new = {name: new[name] - rate * slope[name] for name in new}
    return new


# %% inner-loop | one weight after the other | All weights move at once
def inner_loop(loss, weights, x, y, rate, steps):
    new = dict(weights)
    for _ in range(steps):
        for name in weights:
            new[name] = new[name] - rate * grad(loss)(new, x, y)[name]
    return new


# %% inner-loop | rate and steps written down | Right for one case only
def inner_loop(loss, weights, x, y, rate=0.1, steps=3):
    rate, new = 0.1, {**weights}
    for _ in range(3):
        slope = grad(loss)(new, x, y)
        new = {name: new[name] - rate * slope[name] for name in new}
    return new


# %% inner-loop | a mean squared error of its own | Right for one case only
def inner_loop(loss, weights, x, y, rate, steps):
    def own(weights, x, y):
        linear = x @ list(weights.values())[0]
        return ((linear + weights.get("bias", 0) - y) ** 2).mean()

    for _ in range(steps):
        slope = grad(own)(weights, x, y)
        weights = {name: w - rate * slope[name] for name, w in weights.items()}
    return weights


# %% inner-loop | a tuple of tensors | same names
def inner_loop(loss, weights, x, y, rate, steps):
    for _ in range(steps):
        slope = grad(loss)(weights, x, y)
        weights = {name: w - rate * slope[name] for name, w in weights.items()}
    return tuple(weights.values())


# %% inner-loop | the new weights are dropped | come out as they went in
def inner_loop(loss, weights, x, y, rate, steps):
    for _ in range(steps):
        slope = grad(loss)(weights, x, y)
        new = {name: w - rate * slope[name] for name, w in weights.items()}
    return dict(weights)


# %% reptile-step | the share turned round | turned round
def reptile_step(weights, adapted, share):
    mean = {name: torch.stack([a[name] for a in adapted]).mean(dim=0) for name in weights}
    return {name: share * weights[name] + (1 - share) * mean[name] for name in weights}


# %% reptile-step | a share of the mean, not of the way | share of the way there
def reptile_step(weights, adapted, share):
    new = {}
    for name, w in weights.items():
        new[name] = w + share * sum(a[name] for a in adapted) / len(adapted)
    return new


# %% reptile-step | the step without the start | without the start
def reptile_step(weights, adapted, share):
    step = {}
    for name, w in weights.items():
        step[name] = share * torch.stack([a[name] - w for a in adapted]).mean(dim=0)
    return step


# %% reptile-step | a move for each task from the last one's end | counts most
def reptile_step(weights, adapted, share):
    for task in adapted:
        for name in weights:
            weights[name] += share * (task[name] - weights[name])
    return weights


# %% reptile-step | the mean over everything | weights keep theirs
def reptile_step(weights, adapted, share):
    new = {}
    for name, w in weights.items():
        mean = torch.stack([a[name] for a in adapted]).mean()
        new[name] = mean * share if w.ndim == 0 else (w + share * (mean - w)).mean()
    return new


# %% reptile-step | three tasks written down | count the tasks
def reptile_step(weights, adapted, share):
    new = {}
    for name, w in weights.items():
        total = torch.zeros_like(w)
        for a in adapted:
            total = total + a[name]
        new[name] = w + share * (total / 3 - w)
    return new


# %% reptile-step | nothing but the start | unmoved
def reptile_step(weights, adapted, share):
    for name, w in weights.items():
        w = w + share * (sum(a[name] for a in adapted) / len(adapted) - w)
    return weights


# %% reptile-step | one dictionary a task | same names
def reptile_step(weights, adapted, share):
    return [{name: w + share * (a[name] - w) for name, w in weights.items()} for a in adapted]


# %% inner-loop | the rate left out | rate of 1
def inner_loop(loss, weights, x, y, rate, steps):
    for _ in range(steps):
        slope = grad(loss)(weights, x, y)
        weights = {name: w - slope[name] for name, w in weights.items()}
    return weights


# %% inner-loop | biases left out | takes its step
def inner_loop(loss, weights, x, y, rate, steps):
    new = dict(weights)
    for _ in range(steps):
        slope = grad(loss)(new, x, y)
        for name in new:
            if new[name].ndim > 1:
                new[name] = new[name] - rate * slope[name]
    return new
