"""Plausible wrong answers to the exercises of chapter 12, as a reader would type them in place of the stub.

Each begins with a line ``# %% exercise | the mistake | words that its message must hold``.
"""


# %% kept-above-chance | raw accuracies | by guessing
def kept_above_chance(before, after, classes):
    return 100 * after / before


# %% kept-above-chance | points lost | points lost
def kept_above_chance(before, after, classes):
    return before - after


# %% kept-above-chance | a fraction | not as a fraction
def kept_above_chance(before, after, classes):
    chance = 100 / classes
    return (after - chance) / (before - chance)


# %% kept-above-chance | chance of a fraction beside percentages | same unit
def kept_above_chance(before, after, classes):
    chance = 1 / classes
    return 100 * (after - chance) / (before - chance)


# %% kept-above-chance | cut off at 100 | can also gain
def kept_above_chance(before, after, classes):
    chance = 100 / classes
    return min(100.0, 100 * (after - chance) / (before - chance))


# %% averaged-weights | parameters only | statistics
def averaged(before, after, share):
    return {
        n: after[n].clone()
        if "running" in n or not after[n].is_floating_point()
        else (1 - share) * before[n] + share * after[n]
        for n in after
    }


# %% averaged-weights | counters averaged, too | counter
def averaged(before, after, share):
    return {n: (1 - share) * before[n] + share * after[n] for n in after}


# %% averaged-weights | share turned round | turned round
def averaged(before, after, share):
    return {
        n: share * before[n] + (1 - share) * after[n] if after[n].is_floating_point() else after[n].clone()
        for n in after
    }


# %% averaged-weights | in place | changed
def averaged(before, after, share):
    for n in after:
        if after[n].is_floating_point():
            after[n].mul_(share).add_((1 - share) * before[n])
    return after


# %% kept-above-chance | chance of four classes written down | follows from `classes`
def kept_above_chance(before, after, classes):
    chance = 25.0
    above = before - chance
    left = after - chance
    return 100 * left / above


# %% kept-above-chance | before and after exchanged | turned over
def kept_above_chance(before, after, classes):
    chance = 100 / classes
    return (before - chance) / (after - chance) * 100 if after != chance else float("inf")


# %% kept-above-chance | the share lost | share that is lost
def kept_above_chance(before, after, classes):
    chance = 100 / classes
    lost = before - after
    return 100 * lost / (before - chance)


# %% kept-above-chance | chance of one class fewer | What is your chance
def kept_above_chance(before, after, classes):
    chance = 100 / (classes - 1)
    return 100 * (after - chance) / (before - chance)


# %% kept-above-chance | chance taken off above the line only | nothing was lost
def kept_above_chance(before, after, classes):
    chance = 100 / classes
    return 100 * (after - chance) / before


# %% kept-above-chance | whole-number division | rounded on the way
def kept_above_chance(before, after, classes):
    chance = 100 // classes
    return 100 * (after - chance) / (before - chance)


# %% kept-above-chance | points above chance that are left | points above chance
def kept_above_chance(before, after, classes):
    above = after - 100 / classes
    return max(above, 0.0)


# %% averaged-weights | by the counter's name | decide by the type
def averaged(before, after, share):
    new = {}
    for name in before:
        if name.endswith("num_batches_tracked"):
            new[name] = after[name].clone()
        else:
            new[name] = (1 - share) * before[name] + share * after[name]
    return new


# %% averaged-weights | always the middle | does not go by
def averaged(before, after, share):
    new = {}
    for name, tensor in after.items():
        pair = torch.stack([before[name].float(), tensor.float()])
        new[name] = pair.mean(dim=0) if tensor.is_floating_point() else tensor.clone()
    return new


# %% averaged-weights | whole numbers left out | same names
def averaged(before, after, share):
    return {n: torch.lerp(before[n], after[n], share) for n in before if before[n].is_floating_point()}


# %% averaged-weights | the difference added to after | a straight line
def averaged(before, after, share):
    new = {}
    for name, tensor in after.items():
        if tensor.is_floating_point():
            new[name] = tensor + share * (tensor - before[name])
        else:
            new[name] = tensor.clone()
    return new


# %% averaged-weights | a list of tensors | a dictionary from name
def averaged(before, after, share):
    pairs = zip(before.values(), after.values())
    return [(1 - share) * a + share * b if b.is_floating_point() else b for a, b in pairs]


# %% averaged-weights | new tensors in the given dictionary | changed
def averaged(before, after, share):
    new = before
    for name, tensor in after.items():
        if tensor.is_floating_point():
            new[name] = (1 - share) * before[name] + share * tensor
        else:
            new[name] = tensor.clone()
    return new


# %% averaged-weights | a shallow copy, its tensors in place | changed
def averaged(before, after, share):
    new = dict(before)
    for name in new:
        if new[name].is_floating_point():
            new[name].lerp_(after[name], share)
        else:
            new[name] = after[name].clone()
    return new


# %% kept-above-chance | distances from chance, without a sign | below chance
def kept_above_chance(before, after, classes):
    chance = 100 / classes
    return 100 * abs(after - chance) / abs(before - chance)
