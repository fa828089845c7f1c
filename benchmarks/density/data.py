"""What the densities are of: toys in two dimensions, digits, frames of speech. Everything is drawn with fixed seeds."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Generator, Tensor

from audioflow.audio import PRESETS, MelFrontEnd, read_audio
from audioflow.corpora import SPLITS, PreparedCorpus, get_corpus

TOY_SIZES = (20_000, 5_000, 20_000)
DIGIT_SIZES = (1_200, 200, 397)
NOISE_OF_MEL = 0.05
"""Standard deviation of the noise on log-mels, natural-log units (0.4 dB): many values of the top bands lie exactly on
the floor of the front-end, where a density would grow without bound."""


@dataclass(frozen=True)
class Data:
    """Vectors ``[N, D]`` in float32, standardised by the mean and deviation of each training value.

    Attributes:
        description: where they come from and what was done to them.
        train: what is trained on.
        valid: what decides which step's weights are kept.
        test: what the likelihood is of.
        limit: the likelihood of the law that they are drawn from, nats, where it is known.
    """

    description: str
    train: Tensor
    valid: Tensor
    test: Tensor
    limit: float | None = None

    @property
    def features(self) -> int:
        return self.train.shape[1]

    def gaussian(self) -> float:
        """Held-out nats of a Gaussian with the mean and the full covariance of the training vectors."""
        train = self.train.double()
        law = torch.distributions.MultivariateNormal(train.mean(0), train.T.cov())
        return float(law.log_prob(self.test.double()).mean())


def load(name: str, corpus: Path | None) -> Data:
    """Make a data set, or read it; ``corpus`` is a prepared one for ``mel``, ``None`` the bundled speech."""
    if name == "digits":
        return digits()
    if name == "mel":
        return mel_of_sample() if corpus is None else mel_of_corpus(corpus)
    return toy(name)


def moons(count: int, generator: Generator) -> Tensor:
    """Two half circles, one in the other, with a deviation of 0.1."""
    angle = math.pi * torch.rand(count, generator=generator)
    upper = torch.rand(count, generator=generator) < 0.5
    x = torch.where(upper, angle.cos(), 1 - angle.cos())
    y = torch.where(upper, angle.sin(), 0.5 - angle.sin())
    return torch.stack([x, y], dim=1) + 0.1 * torch.randn(count, 2, generator=generator)


def pinwheel(count: int, generator: Generator) -> Tensor:
    """Five blades, each a stretched Gaussian bent by an angle that grows with the distance."""
    radial, across = (torch.randn(count, 2, generator=generator) * torch.tensor([0.3, 0.1])).T
    blade = torch.randint(5, (count,), generator=generator)
    radial = radial + 1
    angle = 2 * math.pi / 5 * blade + 0.25 * radial.exp()
    x = radial * angle.cos() - across * angle.sin()
    return torch.stack([x, radial * angle.sin() + across * angle.cos()], dim=1)


def checkerboard(count: int, generator: Generator) -> Tensor:
    """The black squares of a board of 4 x 4 with squares of side 1: an area of 8."""
    column = torch.randint(4, (count,), generator=generator)
    row = 2 * torch.randint(2, (count,), generator=generator) + column % 2
    return torch.stack([column, row], dim=1) - 2 + torch.rand(count, 2, generator=generator)


TOYS: dict[str, tuple[Callable[[int, Generator], Tensor], int]] = {
    "moons": (moons, 11),
    "pinwheel": (pinwheel, 12),
    "checkerboard": (checkerboard, 13),
}
NAMES = (*TOYS, "digits", "mel")


def toy(name: str) -> Data:
    draw, seed = TOYS[name]
    parts = draw(sum(TOY_SIZES), torch.Generator().manual_seed(seed)).split(TOY_SIZES)
    # The density of a checkerboard is 1/8 on its squares, and standardising multiplies it by the deviations.
    limit = parts[0].std(0).log().sum().item() - math.log(8) if name == "checkerboard" else None
    return standardised((draw.__doc__ or "").strip(" ."), parts, limit)


def digits() -> Data:
    generator = torch.Generator().manual_seed(14)
    images = torch.from_numpy(load_digits().data)[torch.randperm(sum(DIGIT_SIZES), generator=generator)]
    share = (images + torch.rand(images.shape, generator=generator, dtype=images.dtype)) / 17
    description = (
        "scikit-learn's digits, 8 x 8 values of 0 to 16: uniform noise of one step, scaled to (0.05, 0.95), logit"
    )
    return standardised(description, (0.05 + 0.9 * share).logit().split(DIGIT_SIZES))


def mel_of_sample() -> Data:
    """Frames of the bundled speech."""
    front_end = MelFrontEnd(PRESETS["speech-16k"])
    utterances = sorted(get_corpus("sample").utterances(), key=lambda one: one.id)
    mels = [front_end(read_audio(one.path, front_end.contract.sample_rate)[0][None])[0] for one in utterances]
    return mel("the bundled speech", [mels[:-2], mels[-2:-1], mels[-1:]])


def mel_of_corpus(directory: Path) -> Data:
    """Frames of a prepared corpus, by its own split."""
    corpus = PreparedCorpus(directory)
    return mel(corpus.name, [[corpus.load(entry)[1] for entry in corpus.entries(split)] for split in SPLITS])


def mel(name: str, splits: Sequence[Sequence[Tensor]]) -> Data:
    generator = torch.Generator().manual_seed(15)
    parts = [torch.cat(list(mels), dim=1).T.double() for mels in splits]
    noisy = [part + NOISE_OF_MEL * torch.randn(part.shape, generator=generator, dtype=part.dtype) for part in parts]
    counts = ", ".join(str(len(mels)) for mels in splits)
    description = (
        f"log-mel frames (natural log) of {name}, {counts} utterances to train, choose and test, plus Gaussian noise "
        f"of deviation {NOISE_OF_MEL}"
    )
    return standardised(description, noisy)


def standardised(description: str, parts: Sequence[Tensor], limit: float | None = None) -> Data:
    mean, deviation = parts[0].mean(0), parts[0].std(0)
    train, valid, test = (((part - mean) / deviation).float() for part in parts)
    return Data(description, train, valid, test, limit)
