"""Plausible wrong answers to the exercises of chapter 12, as a reader would type them in place of the stub.

Each begins with a line ``# %% exercise | the mistake | words that its message must hold``.
"""


# %% kept-above-chance | raw accuracies | by guessing
def kept_above_chance(before, after, classes):
    return 100 * after / before


# %% kept-above-chance | points lost | nothing was lost
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


# %% averaged-weights | share turned round | share 0
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
