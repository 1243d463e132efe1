"""Right answers to the exercises of chapter 1, written in other ways than the hidden solution.

Each begins with a line ``# %% exercise | the way``.
"""


# %% accuracy-interval | SciPy's paired test, as a list
def paired_interval(a, b):
    test = stats.ttest_rel(a, b)
    interval = test.confidence_interval(0.95)
    return [np.mean(a) - np.mean(b), interval.low, interval.high]


# %% accuracy-interval | standard library and float32
def paired_interval(a, b):
    import statistics

    import torch

    difference = [x - y for x, y in zip(a.tolist(), b.tolist())]
    mean = statistics.fmean(difference)
    error = statistics.stdev(difference) / len(difference) ** 0.5
    low, high = stats.t.interval(0.95, len(difference) - 1, mean, error)
    return torch.tensor([mean, low, high])


# %% accuracy-interval | the standard error from a covariance matrix
def paired_interval(a, b):
    n = len(a)
    cov = np.cov(a, b)
    error = np.sqrt((cov[0, 0] + cov[1, 1] - 2 * cov[0, 1]) / n)
    half = -stats.t(df=n - 1).ppf(0.025) * error
    mean = np.mean(a) - np.mean(b)
    return np.array([mean, mean - half, mean + half])


# %% same-subset | always the class that lags most behind its share
def few_labels(labels, n, seed):
    rng = np.random.default_rng(seed)
    names, counts = np.unique(labels, return_counts=True)
    waiting = {c: list(rng.permutation(np.flatnonzero(labels == c))) for c in names}
    taken, chosen = np.zeros(len(names)), []
    for k in range(1, n + 1):
        c = int(np.argmax(k * counts / len(labels) - taken))
        chosen.append(int(waiting[names[c]].pop()))
        taken[c] += 1
    return chosen


# %% same-subset | sorted by rank within the class, with pandas and a torch generator
def few_labels(labels, n, seed):
    import torch

    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(labels), generator=generator).numpy()
    table = pd.DataFrame({"row": order, "label": labels[order]})
    rank = table.groupby("label").cumcount() + 0.5
    table["place"] = rank / table.groupby("label")["row"].transform("size")
    return torch.tensor(table.sort_values("place", kind="stable")["row"].to_numpy()[:n])
