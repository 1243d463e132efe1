"""Right answers to the exercises of chapter 9, written in other ways than the hidden solution.

Each begins with a line ``# %% exercise | the way``.
"""


# %% draw-episode | lists of plain numbers, shuffled in place
def draw_episode(labels, ways, shots, queries, random):
    classes = sorted(set(labels.tolist()))
    random.shuffle(classes)
    support, asked = [], []
    for name in classes[:ways]:
        members = [n for n, label in enumerate(labels) if label == name]
        if len(members) < shots + queries:
            raise ValueError(f"class {name} is too small")
        random.shuffle(members)
        support.append(members[:shots])
        asked.append(members[shots : shots + queries])
    return [classes[:ways], support, asked]


# %% draw-episode | NumPy's own refusal, tensors
def draw_episode(labels, ways, shots, queries, random):
    classes = random.choice(list(set(labels)), size=ways, replace=False)
    rows = [random.choice(np.where(labels == name)[0], size=shots + queries, replace=False) for name in classes]
    support, asked = torch.tensor(np.array(rows)).split([shots, queries], dim=1)
    return torch.tensor(classes), support, asked


# %% draw-episode | one random number a sample, sorted
def draw_episode(labels, ways, shots, queries, random):
    names = np.unique(labels)
    classes = names[np.argsort(random.random(len(names)))[:ways]]
    luck = random.random(len(labels))
    out = np.empty((ways, shots + queries), dtype=int)
    for k, name in enumerate(classes):
        order = np.argsort(np.where(labels == name, luck, np.inf))[: shots + queries]
        if np.count_nonzero(labels == name) < shots + queries:
            raise ValueError
        out[k] = order
    return classes, out[:, :shots], out[:, shots:]


# %% draw-episode | pandas, sorted classes
def draw_episode(labels, ways, shots, queries, random):
    table = pd.Series(labels)
    classes = np.sort(random.permutation(table.unique())[:ways])
    support = np.zeros((ways, shots), int)
    asked = np.zeros((ways, queries), int)
    for n, name in enumerate(classes):
        drawn = table[table == name].sample(shots + queries, random_state=random).index
        support[n], asked[n] = drawn[:shots], drawn[shots:]
    return classes, support, asked


# %% centroid-as-linear | torch in float32, one-hot product
def as_linear(support, labels):
    x = torch.tensor(support, dtype=torch.float32)
    member = functional.one_hot(torch.tensor(labels)).float()
    means = (member.T @ x) / member.sum(dim=0)[:, None]
    return [2 * means, -means.square().sum(dim=1)]


# %% centroid-as-linear | scikit-learn's centroids, shifted together
def as_linear(support, labels):
    from sklearn.neighbors import NearestCentroid

    m = NearestCentroid().fit(support, labels).centroids_
    biases = -np.einsum("nd,nd->n", m, m)
    return 2 * (m - m.mean(axis=0)), biases - biases.max()


# %% centroid-as-linear | plain loops and lists
def as_linear(support, labels):
    weights, biases = [], []
    for way in range(max(labels) + 1):
        rows = [x for x, label in zip(support, labels) if label == way]
        mean = sum(rows) / len(rows)
        weights.append([2 * v for v in mean])
        biases.append(-sum(v * v for v in mean))
    return weights, biases


# %% centroid-as-linear | pandas, the norm squared
def as_linear(support, labels):
    m = pd.DataFrame(support).groupby(labels).mean().to_numpy()
    return m * 2, -(np.linalg.norm(m, axis=1) ** 2)
