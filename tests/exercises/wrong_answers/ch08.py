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


# %% transfer-verdict | normal instead of t | not 1.96
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


# %% transfer-verdict | ddof=0 | std(ddof=1)
def verdict_of(with_source, without):
    from scipy.stats import t

    d = np.asarray(with_source) - np.asarray(without)
    half = t.ppf(0.975, len(d) - 1) * np.std(d) / np.sqrt(len(d))
    low, high = d.mean() - half, d.mean() + half
    return "helps" if low > 0 else "hurts" if high < 0 else "within noise"


# %% transfer-verdict | a one-sided test | that of one side
def verdict_of(with_source, without):
    from scipy.stats import ttest_rel

    if ttest_rel(with_source, without, alternative="greater").pvalue < 0.05:
        return "helps"
    if ttest_rel(with_source, without, alternative="less").pvalue < 0.05:
        return "hurts"
    return "within noise"


# %% transfer-verdict | 99 % | 99 %
def verdict_of(with_source, without):
    _, low, high = stats.interval(np.subtract(with_source, without), confidence=0.99)
    return "helps" if low > 0 else "hurts" if high < 0 else "within noise"


# %% transfer-verdict | a constant margin | decides nothing by itself
def verdict_of(with_source, without):
    difference = np.mean(with_source) - np.mean(without)
    if abs(difference) <= 2.6:
        return "within noise"
    return "helps" if difference > 0 else "hurts"


# %% transfer-verdict | all seeds agree | All seeds show
def verdict_of(with_source, without):
    d = np.subtract(with_source, without)
    return "helps" if (d > 0).all() else "hurts" if (d < 0).all() else "within noise"


# %% transfer-verdict | the quantile of five seeds | do not write it down
def verdict_of(with_source, without):
    d = np.subtract(with_source, without)
    error = d.std(ddof=1) / len(d) ** 0.5
    if abs(d.mean()) < 2.776 * error:
        return "within noise"
    return "helps" if d.mean() > 0 else "hurts"


# %% transfer-verdict | n degrees of freedom | One degree of freedom too many
def verdict_of(with_source, without):
    from scipy.stats import t

    d = np.subtract(with_source, without)
    low, high = t.interval(0.95, len(d), d.mean(), d.std(ddof=1) / np.sqrt(len(d)))
    return "helps" if low > 0 else "hurts" if high < 0 else "within noise"


# %% transfer-verdict | where single seeds fall | single seeds
def verdict_of(with_source, without):
    from scipy.stats import t

    d = np.subtract(with_source, without)
    half = t.ppf(0.975, len(d) - 1) * d.std(ddof=1)
    return "helps" if d.mean() > half else "hurts" if d.mean() < -half else "within noise"


# %% transfer-verdict | mean against one standard deviation | wider than one
def verdict_of(with_source, without):
    d = np.subtract(with_source, without)
    if abs(d.mean()) < d.std(ddof=1):
        return "within noise"
    return "helps" if d.mean() > 0 else "hurts"


# %% transfer-verdict | the sign is lost | keeps its sign
def verdict_of(with_source, without):
    _, low, _ = stats.interval(np.abs(np.subtract(with_source, without)))
    return "helps" if low > 0 else "within noise"


# %% transfer-verdict | never hurts | never says
def verdict_of(with_source, without):
    _, low, _ = stats.paired(with_source, without)
    return "helps" if low > 0 else "within noise"


# %% transfer-verdict | a rank test | clear with five seeds
def verdict_of(with_source, without):
    from scipy.stats import wilcoxon

    d = np.subtract(with_source, without)
    if wilcoxon(d).pvalue > 0.05:
        return "within noise"
    return "helps" if np.median(d) > 0 else "hurts"


# %% transfer-verdict | numbers instead of words | Return one of
def verdict_of(with_source, without):
    _, low, high = stats.paired(with_source, without)
    return int(low > 0) - int(high < 0)


# %% other-proportions | differences added | act as factors
def answers_for(p, source, target):
    moved = p + (np.asarray(target) - np.asarray(source))
    moved = np.clip(moved, 0, None)
    return moved / moved.sum(axis=1, keepdims=True)


# %% other-proportions | columns normalised | sum to 1
def answers_for(p, source, target):
    weighted = p * np.asarray(target) / np.asarray(source)
    return weighted / weighted.sum(axis=0)


# %% other-proportions | two classes written down | not for three
def answers_for(p, source, target):
    odds = p[:, 1] / p[:, 0] * (target[1] / source[1]) / (target[0] / source[0])
    out = np.zeros_like(p)
    out[:, 1] = odds / (1 + odds)
    out[:, 0] = 1 - out[:, 1]
    return out


# %% other-proportions | decisions | decisions
def answers_for(p, source, target):
    best = (p * np.asarray(target) / np.asarray(source)).argmax(axis=1)
    return np.eye(p.shape[1])[best]


# %% other-proportions | most likely classes | One row for each sample
def answers_for(p, source, target):
    return np.argmax(p * np.asarray(target) / np.asarray(source), axis=1)


# %% other-proportions | the source's answers | unchanged
def answers_for(p, source, target):
    factor = np.asarray(target).sum() / np.asarray(source).sum()
    weighted = p * factor
    return weighted / weighted.sum(axis=1, keepdims=True)


# %% other-proportions | the ratio as an exponent | class by class
def answers_for(p, source, target):
    logits = np.log(p) / (np.asarray(target) / np.asarray(source))
    e = np.exp(logits)
    return e / e.sum(axis=1, keepdims=True)
