"""Plausible wrong answers to the exercises of chapter 8, as a reader would type them in place of the stub.

Each begins with a line ``# %% exercise | the mistake | words that its message must hold``.
"""


# %% transfer-verdict | the mean decides | no verdict
def verdict_of(with_source, without):
    difference = np.mean(with_source) - np.mean(without)
    return "helps" if difference > 0 else "hurts"


# %% transfer-verdict | not paired | paired
def verdict_of(with_source, without):
    a, b = np.asarray(with_source), np.asarray(without)
    half = 1.96 * np.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b))
    difference = a.mean() - b.mean()
    return "helps" if difference > half else "hurts" if difference < -half else "within noise"


# %% transfer-verdict | normal instead of t | Student
def verdict_of(with_source, without):
    d = np.subtract(with_source, without)
    half = 1.96 * d.std(ddof=1) / np.sqrt(len(d))
    return "helps" if d.mean() > half else "hurts" if d.mean() < -half else "within noise"


# %% transfer-verdict | signs exchanged | other way round
def verdict_of(with_source, without):
    from tl_helpers.stats import interval

    _, low, high = interval(np.subtract(without, with_source))
    return "helps" if low > 0 else "hurts" if high < 0 else "within noise"


# %% other-proportions | times the target's shares only | source's shares
def answers_for(p, source, target):
    p = p * np.asarray(target)
    return p / p.sum(axis=1, keepdims=True)


# %% other-proportions | rows do not sum to 1 | sum to 1
def answers_for(p, source, target):
    return p * (np.asarray(target) / np.asarray(source))


# %% other-proportions | ratio turned round | more frequent
def answers_for(p, source, target):
    p = p * (np.asarray(source) / np.asarray(target))
    return p / p.sum(axis=1, keepdims=True)
