"""What the tests of engines give to them."""

import torch

from audioflow.nets.frame_features import FrameFeatures


def engine_material(vocoder, batch, steps, hop=None):
    """Conditioning at the rate of samples, or of frames of ``hop`` samples; level, noise, voices; float64."""
    generator = torch.Generator().manual_seed(3)
    channels = vocoder.config["cond_channels"]

    def normal(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    cond = normal(batch, channels, steps)
    if hop:
        cond = FrameFeatures(normal(batch, channels, steps // hop), normal(hop, 3), normal(batch, channels, 1))
    level, noise = normal(batch, 1, steps) - 3, normal(batch, vocoder.noise_channels, steps)
    numbers = torch.tensor([1, 0] * batch)[:batch] if vocoder.config["speakers"] else None
    return {"cond": cond, "level": level, "noise": noise, "speaker": vocoder._voices(numbers, batch)}
