"""Right answers to the exercises of chapter 8, written in other ways than the hidden solution.

Each begins with a line ``# %% exercise | the way``.
"""


# %% transfer-verdict | SciPy's paired test and its p-value
def verdict_of(with_source, without):
    from scipy.stats import ttest_rel

    test = ttest_rel(with_source, without)
    if test.pvalue >= 0.05:
        return "within noise"
    return "helps" if test.statistic > 0 else "hurts"


# %% transfer-verdict | standard library, quantile from SciPy
def verdict_of(with_source, without):
    import statistics

    from scipy.stats import t

    gains = [float(a) - float(b) for a, b in zip(with_source, without)]
    mean = statistics.mean(gains)
    half = t.isf(0.025, len(gains) - 1) * statistics.stdev(gains) / len(gains) ** 0.5
    for name, value in {"helps": mean - half, "hurts": -(mean + half)}.items():
        if value > 0:
            return name
    return "within noise"


# %% transfer-verdict | the package's paired interval
def verdict_of(with_source, without):
    mean, low, high = stats.paired(with_source, without)
    if low <= 0 <= high:
        return "within noise"
    return ["hurts", "helps"][int(mean > 0)]


# %% transfer-verdict | pandas, differences in place, a string of NumPy
def verdict_of(with_source, without):
    from scipy.stats import t

    with_source -= without
    d = pd.Series(with_source)
    low, high = t.interval(0.95, len(d) - 1, loc=d.mean(), scale=d.sem())
    return np.array(["hurts", "within noise", "helps"])[1 + int(low > 0) - int(high < 0)]


# %% transfer-verdict | np.where
def verdict_of(with_source, without):
    from scipy.stats import ttest_1samp

    low, high = ttest_1samp(np.asarray(with_source) - np.asarray(without), 0).confidence_interval(0.95)
    return np.where(low > 0, "helps", np.where(high < 0, "hurts", "within noise"))


# %% other-proportions | in logarithms, with a softmax
def answers_for(p, source, target):
    from scipy.special import softmax

    return softmax(np.log(p) + np.log(target) - np.log(source), axis=1)


# %% other-proportions | a loop over rows, lists
def answers_for(p, source, target):
    rows = []
    for row in p:
        weighted = [a * t / s for a, s, t in zip(row, source, target)]
        rows.append([w / sum(weighted) for w in weighted])
    return rows


# %% other-proportions | in place
def answers_for(p, source, target):
    p *= target
    p /= source
    p /= p.sum(1)[:, None]
    return p


# %% other-proportions | torch in float32, a diagonal matrix
def answers_for(p, source, target):
    import torch

    p, source, target = (torch.tensor(a, dtype=torch.float32) for a in (p, source, target))
    return torch.nn.functional.normalize(p @ torch.diag(target / source), p=1, dim=1)


# %% other-proportions | likelihoods first, scikit-learn's normalisation
def answers_for(p, source, target):
    from sklearn.preprocessing import normalize

    likelihood = p / np.asarray(source)[None, :]
    return normalize(np.einsum("nc,c->nc", likelihood, target), norm="l1")
