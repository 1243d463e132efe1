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
