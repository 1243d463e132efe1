"""Plausible wrong answers to the exercises of chapter 3, as a reader would type them in place of the stub.

Each begins with a line ``# %% exercise | the mistake | words that its message must hold``.
"""


# %% freeze-the-backbone | head frozen together with the backbone | head is frozen together with the backbone
def freeze_backbone(model):
    for parameter in model.parameters():
        parameter.requires_grad = False
    model.backbone.eval()
    model.backbone.train = lambda mode=True: model.backbone
    return model


# %% freeze-the-backbone | gradients switched off, batch norm forgotten | Switched-off gradients do not stop it
def freeze_backbone(model):
    model.backbone.requires_grad_(False)
    return model


# %% freeze-the-backbone | batch norm in eval mode until the next model.train() | model.train() switches
def freeze_backbone(model):
    model.backbone.requires_grad_(False)
    model.backbone.eval()
    return model


# %% freeze-the-backbone | eval mode only | weights of the backbone moved
def freeze_backbone(model):
    model.backbone.eval()
    model.backbone.train = lambda mode=True: model.backbone
    return model


# %% freeze-the-backbone | statistics pinned by momentum 0, batch still used | the other pictures of the batch
def freeze_backbone(model):
    model.backbone.requires_grad_(False)
    for module in model.backbone.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.0
            module.num_batches_tracked = None
    return model


# %% probe-without-peeking | scaler fitted on all rows | scaler
def fit_probe(train, validation, test, candidates):
    scaler = StandardScaler().fit(np.vstack([train[0], validation[0], test[0]]))

    def fit(c):
        return LogisticRegression(C=c, max_iter=1000).fit(scaler.transform(train[0]), train[1])

    best = max(candidates, key=lambda c: fit(c).score(scaler.transform(validation[0]), validation[1]))
    probe = make_pipeline(scaler, fit(best))
    return probe, probe.score(*test)


# %% probe-without-peeking | C chosen on the test rows | chosen on the test rows
def fit_probe(train, validation, test, candidates):
    probes = [make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000)).fit(*train) for c in candidates]
    probe = max(probes, key=lambda p: p.score(*test))
    return probe, probe.score(*test)


# %% probe-without-peeking | C chosen on the training rows | chosen on the training rows
def fit_probe(train, validation, test, candidates):
    probes = [make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000)).fit(*train) for c in candidates]
    probe = max(probes, key=lambda p: p.score(*train))
    return probe, probe.score(*test)


# %% probe-without-peeking | validation accuracy reported | accuracy you return
def fit_probe(train, validation, test, candidates):
    probes = [make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000)).fit(*train) for c in candidates]
    probe = max(probes, key=lambda p: p.score(*validation))
    return probe, probe.score(*validation)


# %% freeze-the-backbone | requires_grad set on the module | no requires_grad
def freeze_backbone(model):
    model.backbone.requires_grad = False
    model.backbone.eval()
    model.backbone.train = lambda mode=True: model.backbone
    return model


# %% freeze-the-backbone | convolutions only | Part of the backbone still learns
def freeze_backbone(model):
    for module in model.backbone.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.requires_grad_(False)
    model.backbone.eval()
    model.backbone.train = lambda mode=True: model.backbone
    return model


# %% freeze-the-backbone | the whole model in eval mode for good | dropout
def freeze_backbone(model):
    model.backbone.requires_grad_(False)
    model.eval()
    model.train = lambda mode=True: model
    return model


# %% freeze-the-backbone | the backbone instead of the model | Return the model itself
def freeze_backbone(model):
    model.backbone.requires_grad_(False)
    model.backbone.eval()
    model.backbone.train = lambda mode=True: model.backbone
    return model.backbone


# %% freeze-the-backbone | batch norm's weights set anew | Freezing itself
def freeze_backbone(model):
    model.backbone.requires_grad_(False)
    for module in model.backbone.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.fill_(2.0)
    model.backbone.eval()
    model.backbone.train = lambda mode=True: model.backbone
    return model


# %% probe-without-peeking | the pipeline refitted on train and validation | fitted again
def fit_probe(train, validation, test, candidates):
    probes = [make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000)).fit(*train) for c in candidates]
    probe = max(probes, key=lambda p: p.score(*validation))
    x, y = np.vstack([train[0], validation[0]]), np.concatenate([train[1], validation[1]])
    probe.fit(x, y)
    return probe, probe.score(*test)


# %% probe-without-peeking | the classifier refitted on train and validation, the scaler not | fitted again
def fit_probe(train, validation, test, candidates):
    probes = [make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000)).fit(*train) for c in candidates]
    probe = max(probes, key=lambda p: p.score(*validation))
    x, y = np.vstack([train[0], validation[0]]), np.concatenate([train[1], validation[1]])
    probe[-1].fit(probe[0].transform(x), y)
    return probe, probe.score(*test)


# %% probe-without-peeking | classes weighted | learns on the training rows
def fit_probe(train, validation, test, candidates):
    def probe(c):
        head = LogisticRegression(C=c, class_weight="balanced", max_iter=1000)
        return make_pipeline(StandardScaler(), head).fit(*train)

    best = max([probe(c) for c in candidates], key=lambda p: p.score(*validation))
    return best, best.score(*test)


# %% probe-without-peeking | candidates of its own | candidates that are given
def fit_probe(train, validation, test, candidates):
    candidates = [0.0001, 0.01, 1.0, 100.0]
    probes = [make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000)).fit(*train) for c in candidates]
    probe = max(probes, key=lambda p: p.score(*validation))
    return probe, probe.score(*test)


# %% probe-without-peeking | cross-validation in the training rows | LogisticRegressionCV
def fit_probe(train, validation, test, candidates):
    import warnings

    from sklearn.linear_model import LogisticRegressionCV

    with warnings.catch_warnings(action="ignore"):
        probe = make_pipeline(StandardScaler(), LogisticRegressionCV(Cs=candidates, max_iter=1000)).fit(*train)
    return probe, probe.score(*test)


# %% probe-without-peeking | the accuracy only | two things
def fit_probe(train, validation, test, candidates):
    probes = [make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000)).fit(*train) for c in candidates]
    return max(p.score(*validation) for p in probes)
