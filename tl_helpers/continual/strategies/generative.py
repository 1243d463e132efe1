"""Generative replay: no old image is kept; a second network learns to make some up."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from tl_helpers.continual.strategies.replay import Replay
from tl_helpers.continual.strategy import MakeModel, Strategy
from tl_helpers.continual.streams import Stream
from tl_helpers.data import Samples
from tl_helpers.models import Classifier


class Autoencoder(nn.Module):
    """A variational autoencoder of images in [0, 1] (Kingma and Welling 2014), one hidden layer on each side."""

    def __init__(self, shape: tuple[int, ...], hidden: int = 400, code: int = 32) -> None:
        super().__init__()
        pixels, self.shape, self.code = int(np.prod(shape)), tuple(shape), code
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(pixels, hidden), nn.ReLU(), nn.Linear(hidden, 2 * code))
        self.decoder = nn.Sequential(nn.Linear(code, hidden), nn.ReLU(), nn.Linear(hidden, pixels))

    def loss(self, x: Tensor, noise: Tensor) -> Tensor:
        r"""Minus the evidence lower bound of images x, float32 (N, C, H, W), with noise from a standard normal, (N, code).

        .. math:: \mathrm{BCE}(\hat x, x) + \tfrac12 \sum_k \left( \mu_k^2 + \sigma_k^2 - \log \sigma_k^2 - 1 \right)

        Summed over pixels, averaged over images; a scalar. The image made from the code :math:`\mu + \sigma \cdot`
        noise is :math:`\hat x`.
        """
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        said = self.decoder(mean + (log_variance / 2).exp() * noise)
        told = functional.binary_cross_entropy_with_logits(said, x.flatten(1), reduction="sum")
        apart = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum()
        return (told + apart) / len(x)

    def images(self, codes: Tensor) -> Tensor:
        """Images of codes, float32 (N, code): uint8, (N, C, H, W)."""
        return (255 * self.decoder(codes).sigmoid()).round().to(torch.uint8).reshape(len(codes), *self.shape)


class GenerativeReplay(Replay):
    """Generative replay (Shin et al. 2017): rehearse made-up images, labelled by the network of before.

    After each experience but the last, a new `Autoencoder` learns its images and the made-up ones of before. It then makes
    up as many as were ever shown, which are rehearsed as `Replay` rehearses its buffer. As there is no telling which
    experience such an image is from, the task scenario is refused.

    Parameters
    ----------
    epochs : int
        The autoencoder's passes over what it learns from: Adam, rate 0.001, batches of 64.
    """

    name = "generative replay"

    def __init__(self, epochs: int = 30) -> None:
        if epochs < 1:
            raise ValueError(f"epochs={epochs}: one or more.")
        Strategy.__init__(self, epochs=epochs)
        self.epochs = epochs

    def before_stream(self, stream: Stream, make_model: MakeModel, seed: int) -> None:
        if stream.scenario == "task":
            raise ValueError(
                "Generative replay cannot say which task an image is from: use the domain or class scenario."
            )
        if stream[0].train.modality != "image":
            raise ValueError(f"{stream.name}: generative replay makes images, not {stream[0].train.modality}s.")
        Strategy.before_stream(self, stream, make_model, seed)
        self._maker: list[Autoencoder] = []

    def after_experience(self, model: Classifier) -> None:
        Strategy.after_experience(self, model)
        if self.now == len(self.stream) - 1:
            return
        new = self.stream[self.now].train
        shown = sum(len(self.stream[number].train) for number in range(self.now + 1))
        old = [] if self.second is None else [self.second.inputs]
        random = torch.Generator().manual_seed(1000 * self.seed + self.now)
        maker = learned(torch.cat([new.inputs, *old]), self.epochs, random)
        with torch.inference_mode():
            made = maker.images(torch.randn(shown, maker.code, generator=random))
        blank = Samples(
            f"made up after {self.now}",
            made,
            torch.zeros(shown, dtype=torch.int64),
            new.classes,
            np.arange(shown),
            extra={"experience": np.zeros(shown, dtype=np.int64)},
        )
        said = np.where(self.stream.allowed(self.now, blank.extra["experience"]), self.logits(model, blank, 0), -np.inf)
        blank.labels.copy_(torch.from_numpy(said.argmax(axis=1)))
        self.second, self._maker = blank, [maker]

    def memory(self) -> int:
        """The autoencoder's weights."""
        return sum(parameter.nbytes for maker in self._maker for parameter in maker.parameters())


def learned(pixels: Tensor, epochs: int, random: torch.Generator) -> Autoencoder:
    """An autoencoder of these images, uint8 (N, C, H, W); trained on the CPU, and all random numbers come from `random`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (), generator=random)))
        maker = Autoencoder(tuple(pixels.shape[1:]))
    x, adam = pixels.float() / 255, torch.optim.Adam(maker.parameters(), lr=1e-3)
    for _ in range(epochs):
        for positions in torch.randperm(len(x), generator=random).split(64):
            noise = torch.randn(len(positions), maker.code, generator=random)
            adam.zero_grad()
            maker.loss(x[positions], noise).backward()
            adam.step()
    return maker.eval()
