"""What the tests of engines give to them."""

import copy

import torch

from audioflow.nets.conditioning import Conditioning
from audioflow.nets.group_head import GroupLaw
from audioflow.nets.wavenet import CausalWaveNet

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
GROUP_HOP, GROUP_COND = 4, 5


def engine_material(vocoder, batch, steps, hop=None):
    """Conditioning at the rate of samples, or of frames of ``hop`` samples; level, noise, voices; float64."""
    normal = generator_of_normals()
    channels = vocoder.config["cond_channels"]
    cond = Conditioning(normal(batch, channels, steps))
    if hop:
        cond = Conditioning(normal(batch, channels, steps // hop), normal(hop, 3), normal(batch, channels, 1))
    level, noise = normal(batch, 1, steps) - 3, normal(batch, vocoder.noise_channels, steps)
    numbers = torch.tensor([1, 0] * batch)[:batch] if vocoder.config["speakers"] else None
    return {"cond": cond, "level": level, "noise": noise, "speaker": vocoder._voices(numbers, batch)}


def group_model(law, samples, hidden=(), channels=20, cond=GROUP_COND, **options):
    """A network of random weights, float64, whose samples stay of the order of one, and its law."""
    torch.manual_seed(samples)
    group = GroupLaw(law, samples, hidden).double() if samples > 1 else law
    settings = {"kernel_size": 2, "front_kernel_size": 2, "linear_taps": 2, **options}
    network = CausalWaveNet(
        samples, group.parameter_channels, cond, layers=5, cycle=3, channels=channels, skip_channels=13, **settings
    ).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        if network.linear is not None:
            network.linear.weight.div_(samples)
        if samples > 1:
            for parameter in group.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    return network, group


def group_material(law, batch, steps, frames=True):
    """The same for a network of :func:`group_model`."""
    normal = generator_of_normals()
    frame_count = steps // GROUP_HOP
    cond = Conditioning(normal(batch, GROUP_COND, frame_count), normal(GROUP_HOP, 3) / 2, normal(batch, GROUP_COND, 1))
    level, noise = torch.zeros(batch, 1, steps, dtype=torch.float64), normal(batch, law.noise_channels, steps)
    return {"cond": cond if frames else Conditioning(cond.samples()), "level": level, "noise": noise, "limit": 64.0}


def utterance(given, row):
    """The same for one utterance of the batch."""

    def alone(value):
        if isinstance(value, Conditioning):
            return value.utterances(slice(row, row + 1))
        return value[row : row + 1] if isinstance(value, torch.Tensor) else value

    return {name: alone(value) for name, value in given.items()}


def generator_of_normals():
    generator = torch.Generator().manual_seed(3)
    return lambda *shape: torch.randn(*shape, dtype=torch.float64, generator=generator)


def there(value, dtype):
    """The same on the device of the tests."""
    if isinstance(value, Conditioning):
        return Conditioning(
            *(there(part, dtype) for part in (value.features, value.interpolation, value.time_invariant))
        )
    return value.detach().to(DEVICE, dtype) if isinstance(value, torch.Tensor) else value


def made_by(function, network, law, given, dtype=torch.float32, **options):
    """What an engine for a GPU makes, if there is one; float64."""
    given = {name: there(value, dtype) for name, value in given.items()}
    if isinstance(law, torch.nn.Module):
        law = copy.deepcopy(law).to(DEVICE, dtype)
    made = function(network.to(DEVICE, dtype), law, **given, **options).cpu().double()
    network.to("cpu", torch.float64)
    return made
