"""Right answers to the exercises of chapter 12, written in other ways than the hidden solution.

Each begins with a line ``# %% exercise | the way``.
"""


# %% kept-above-chance | in fractions, with the loss taken off
def kept_above_chance(before, after, classes):
    before, after, chance = before / 100, after / 100, 1 / classes
    lost = (before - after) / (before - chance)
    return 100 * (1 - lost)


# %% kept-above-chance | all times the number of classes
def kept_above_chance(before, after, classes):
    above = [classes * accuracy - 100 for accuracy in (before, after)]
    return above[1] / above[0] * 100


# %% kept-above-chance | NumPy's interpolation of a line, not below 0
def kept_above_chance(before, after, classes):
    slope, shift = np.polyfit([100 / classes, before], [0, 100], 1)
    return np.array([max(0, slope * after + shift)])


# %% kept-above-chance | torch in float32
def kept_above_chance(before, after, classes):
    accuracies = torch.tensor([before, after], dtype=torch.float32)
    accuracies -= torch.full((2,), 1 / classes) * 100
    return accuracies[1].div(accuracies[0]).mul(100)


# %% averaged-weights | lerp, counters as they are
def averaged(before, after, share):
    return {
        name: torch.lerp(before[name], tensor, share) if torch.is_floating_point(tensor) else tensor
        for name, tensor in after.items()
    }


# %% averaged-weights | a deep copy, changed in place
def averaged(before, after, share):
    import copy

    new = copy.deepcopy(after)
    for name in new:
        if new[name].dtype.is_floating_point:
            new[name].mul_(share).add_(before[name], alpha=1 - share)
    return new


# %% averaged-weights | an ordered dictionary, from before towards after
def averaged(before, after, share):
    from collections import OrderedDict

    new = OrderedDict()
    for (name, old), fresh in zip(before.items(), after.values()):
        whole = old.dtype in (torch.int64, torch.int32)
        new[name] = fresh.clone() if whole else old + share * (fresh - old)
    return new


# %% averaged-weights | NumPy in between
def averaged(before, after, share):
    new = dict(after)
    for name, tensor in before.items():
        if tensor.dtype == torch.float32:
            ends = np.stack([tensor.numpy(), after[name].numpy()])
            new[name] = torch.from_numpy(np.average(ends, axis=0, weights=[1 - share, share])).float()
    return new
