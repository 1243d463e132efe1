"""Right answers to the exercises of chapter 3, written in other ways than the hidden solution.

Each begins with a line ``# %% exercise | the way``.
"""


# %% freeze-the-backbone | model.train() extended
def freeze_backbone(model):
    usual = model.train

    def train(mode=True):
        usual(mode)
        model.backbone.eval()
        return model

    for parameter in model.backbone.parameters():
        parameter.requires_grad = False
    model.train = train
    return model.train()


# %% freeze-the-backbone | a subclass of its own class
def freeze_backbone(model):
    class Frozen(type(model)):
        def train(self, mode=True):
            super().train(mode)
            self.backbone.train(False)
            return self

    model.__class__ = Frozen
    for _, parameter in model.named_parameters():
        parameter.requires_grad_(False)
    model.head.requires_grad_(True)
    return model


# %% freeze-the-backbone | a hook before each forward pass
def freeze_backbone(model):
    model.backbone.requires_grad_(False)
    model.register_forward_pre_hook(lambda module, args: module.backbone.eval() and None)
    return model


# %% freeze-the-backbone | batch norm replaced by torchvision's frozen one
def freeze_backbone(model):
    from torchvision.ops import FrozenBatchNorm2d

    for name, module in list(model.backbone.named_children()):
        if isinstance(module, torch.nn.BatchNorm2d):
            frozen = FrozenBatchNorm2d(module.num_features, module.eps)
            frozen.load_state_dict(module.state_dict())
            setattr(model.backbone, name, frozen)
    model.backbone.requires_grad_(False)
    return model


# %% probe-without-peeking | a list
def fit_probe(train, validation, test, candidates):
    best, winner = -1.0, None
    for c in candidates:
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000))
        probe.fit(train[0], train[1])
        accuracy = np.mean(probe.predict(validation[0]) == validation[1])
        if accuracy > best:
            best, winner = accuracy, probe
    return [winner, np.mean(winner.predict(test[0]) == test[1])]


# %% probe-without-peeking | one pipeline, set and cloned
def fit_probe(train, validation, test, candidates):
    from sklearn.pipeline import Pipeline

    steps = [("scale", StandardScaler()), ("classify", LogisticRegression(max_iter=1000))]
    probe = Pipeline(steps)
    scores = [clone(probe).set_params(classify__C=c).fit(*train).score(*validation) for c in candidates]
    probe.set_params(classify__C=candidates[int(np.argmax(scores))]).fit(*train)
    return probe, np.float32(probe.score(*test))


# %% probe-without-peeking | steps fitted one after another, in float32
def fit_probe(train, validation, test, candidates):
    scaler = StandardScaler().fit(train[0].astype(np.float32))
    x = scaler.transform(train[0].astype(np.float32))
    heads = [LogisticRegression(C=c, max_iter=1000).fit(x, train[1]) for c in candidates]
    head = max(heads, key=lambda h: h.score(scaler.transform(validation[0]), validation[1]))
    probe = make_pipeline(scaler, head)
    return probe, torch.tensor(probe.score(*test))
