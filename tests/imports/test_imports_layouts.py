"""ClariNet and WaveFlow, and what is made of them, give the same likelihood and audio."""

import math

import pytest
import torch
from layouts import (
    clarinet_forward,
    clarinet_network,
    clarinet_student,
    two_transposed,
    two_transposed_layers,
    waveflow,
    waveflow_forward,
)

from audioflow.audio import PRESETS
from audioflow.errors import CheckpointError, OptionError
from audioflow.flows.reshape import squeeze
from audioflow.imports import FORMATS, read_checkpoint, read_settings
from audioflow.nets.conditioning import Conditioning
from audioflow.nets.row_order import row_orders
from audioflow.sampling import batch_noise
from audioflow.vocoders import load

CLOSE = {"atol": 1e-4, "rtol": 1e-4}
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def imported(name, state, tmp_path, *settings):
    path = tmp_path / "model.pt"
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}, "global_step": 3}, path)
    chosen = FORMATS[name]
    return chosen.convert(read_checkpoint(path), read_settings(chosen.settings, settings, name))


def material(frames=1, batch=2):
    generator = torch.Generator().manual_seed(1)
    wav = 0.3 * torch.randn(batch, 256 * frames, generator=generator)
    return wav.clamp(-1, 1), torch.rand(batch, 80, frames, generator=generator)


def gaussian(x, mean, log_scale):
    return (-0.5 * ((x - mean) * torch.exp(-log_scale)) ** 2 - log_scale - HALF_LOG_2PI).sum(dim=(1, 2))


def teacher(kernel_size=2):
    torch.manual_seed(0)
    return clarinet_network("", 4, kernel_size) | two_transposed_layers()


def teacher_outputs(state, wav, mel):
    """Mean and log-scale of each sample, from the ones before it."""
    before = torch.nn.functional.pad(wav[:, None, :-1], (1, 0))
    return clarinet_forward(state, "", before, two_transposed(state, mel), cycle=2)


def test_a_clarinet_teacher_scores_alike(tmp_path):
    state, (wav, mel) = teacher(), material(frames=3)
    converted = imported("ksw0306-clarinet", state, tmp_path)
    vocoder = converted.vocoder
    theirs = teacher_outputs(state, wav, mel)
    cond = vocoder.upsampler(vocoder.normalizer(mel))
    torch.testing.assert_close(cond, two_transposed(state, mel), **CLOSE)
    torch.testing.assert_close(
        vocoder.network(wav[:, None], vocoder.network.shares(Conditioning(cond))), theirs, **CLOSE
    )
    torch.testing.assert_close(vocoder.log_prob(wav, mel), gaussian(wav[:, None], *theirs.chunk(2, dim=1)), **CLOSE)
    assert converted.layout == "teacher"
    assert vocoder.contract == PRESETS["clarinet-22k"]


def test_a_clarinet_teacher_sounds_alike(tmp_path):
    state, (_, mel) = teacher(), material(batch=1)
    ours = imported("ksw0306-clarinet", state, tmp_path).vocoder.synthesize(mel, seed=4)
    noise = batch_noise(4, 1, [256], torch.float32, torch.device("cpu"))
    wav = torch.zeros(1, 256)
    for t in range(40):
        mean, log_scale = teacher_outputs(state, wav, mel)[0, :, t]
        wav[:, t] = (mean + torch.exp(log_scale) * noise[0, 0, t]).clamp(-1, 1)
    torch.testing.assert_close(ours[:, :40], wav[:, :40], **CLOSE)
    assert ours[:, :40].abs().amax() > 0.1


def student(flows=3):
    torch.manual_seed(1)
    state = {}
    for flow in range(flows):
        state |= clarinet_network(f"iafs.{flow}.", 3, 3)
    return state


def test_a_clarinet_student_sounds_and_scores_alike(tmp_path):
    torch.save({"state_dict": teacher()}, tmp_path / "teacher.pth")
    state, (_, mel) = student(), material(batch=1)
    converted = imported("ksw0306-clarinet", state, tmp_path, f"teacher={tmp_path / 'teacher.pth'}")
    vocoder = converted.vocoder
    noise = 0.1 * batch_noise(4, 1, [256], torch.float32, torch.device("cpu"))
    theirs_noise = torch.nn.functional.pad(noise, (1, 0))
    cond = torch.nn.functional.pad(two_transposed(teacher(), mel), (0, 1))
    theirs, log_det = clarinet_student(state, theirs_noise, cond, flows=3, cycle=3)
    ours = vocoder.synthesize(mel, seed=4, temperature=0.1)
    assert 0.05 < theirs.abs().amax() < 1
    torch.testing.assert_close(ours, theirs[:, 0, 1:], **CLOSE)
    base = (-0.5 * noise.square() - HALF_LOG_2PI).sum()
    with torch.no_grad():
        torch.testing.assert_close(vocoder.log_prob(ours, mel), base - log_det, atol=1e-2, rtol=1e-4)
    assert converted.layout == "student"


WAVEFLOWS = [(), ("rows=8", "permutation=bipartite"), ("rows=32", "height_cycle=2", "permutation=bipartite")]


@pytest.mark.parametrize("settings", WAVEFLOWS, ids=" ".join)
@pytest.mark.parametrize("fused", [False, True])
def test_waveflow_scores_and_sounds_alike(settings, fused, tmp_path):
    torch.manual_seed(0)
    state, (wav, mel) = waveflow(), material()
    vocoder = imported("l0sg-waveflow", fuse(state) if fused else state, tmp_path, *settings).vocoder
    chosen = read_settings(FORMATS["l0sg-waveflow"].settings, settings, "l0sg-waveflow")
    how = (chosen.rows, chosen.height_cycle, chosen.permutation == "bipartite")
    noise, log_det = waveflow_forward(state, wav, mel, *how)
    theirs = (-0.5 * noise.square() - HALF_LOG_2PI).sum(dim=(1, 2)) + log_det
    torch.testing.assert_close(vocoder.log_prob(wav, mel), theirs, **CLOSE)

    drawn = vocoder.synthesize(mel, seed=5, temperature=0.1)
    assert 0.05 < drawn.abs().amax() < 1
    wanted = squeeze(0.1 * batch_noise(5, 1, [256] * 2, torch.float32, torch.device("cpu")), chosen.rows)
    order = row_orders(chosen.rows, vocoder.config["flows"] + 1, chosen.permutation)[-1]
    torch.testing.assert_close(waveflow_forward(state, drawn, mel, *how)[0], wanted[:, order], **CLOSE)


def fuse(state):
    """The conditioning layers of each flow as one, as the project does for its fast synthesis."""
    kept = {name: tensor for name, tensor in state.items() if "filter_gate_conv_c" not in name}
    for flow in range(4):
        net = f"flows.{flow}.coupling.net"
        parts = [f"{net}.res_blocks.{number}.filter_gate_conv_c" for number in range(3)]
        folded = [state[f"{p}.weight_g"] * torch.nn.functional.normalize(state[f"{p}.weight_v"], dim=1) for p in parts]
        kept[f"{net}.fused_filter_gate_conv_c.weight"] = torch.cat(folded)
        kept[f"{net}.fused_filter_gate_conv_c.bias"] = torch.cat([state[f"{p}.bias"] for p in parts])
    return kept


@pytest.mark.parametrize(("name", "make"), [("ksw0306-clarinet", teacher), ("l0sg-waveflow", waveflow)])
def test_what_was_imported_is_written_and_loaded(name, make, tmp_path):
    vocoder, (wav, mel) = imported(name, make(), tmp_path).vocoder, material()
    vocoder.save(tmp_path / "ours.safetensors")
    again = load(tmp_path / "ours.safetensors")
    assert again.config == vocoder.config
    with torch.no_grad():
        torch.testing.assert_close(again.log_prob(wav, mel), vocoder.log_prob(wav, mel))


REFUSED = {
    "no teacher": ("ksw0306-clarinet", student, (), OptionError, "teacher=FILE"),
    "blocks": ("ksw0306-clarinet", teacher, ("blocks=3",), OptionError, "set blocks=NUMBER"),
    "another mel": (
        "ksw0306-clarinet",
        teacher,
        ("mel=vocos-24k",),
        OptionError,
        "but vocos-24k has 100",
    ),
    "another hop": ("ksw0306-clarinet", teacher, ("mel=speech-16k",), OptionError, "makes 256 samples of a frame"),
    "three taps": (
        "ksw0306-clarinet",
        lambda: teacher() | clarinet_network("", 4, 3),
        (),
        CheckpointError,
        "of 2 taps",
    ),
    "no upsampler": ("ksw0306-clarinet", lambda: clarinet_network("", 4, 2), (), CheckpointError, "upsample_conv.0"),
    "too many rows": ("l0sg-waveflow", waveflow, ("rows=4096",), OptionError, "rows is '4096'"),
    "a teacher as waveflow": ("l0sg-waveflow", teacher, (), CheckpointError, "is no WaveFlow"),
    "a waveflow as teacher": ("ksw0306-clarinet", waveflow, (), CheckpointError, "is no ClariNet"),
    "one layer more": (
        "l0sg-waveflow",
        lambda: waveflow() | {"flows.0.coupling.proj.weight": torch.ones(1)},
        (),
        CheckpointError,
        "flows.0.coupling.proj.weight",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_in_a_sentence(case, tmp_path):
    name, make, settings, error, words = REFUSED[case]
    with pytest.raises(error) as caught:
        imported(name, make(), tmp_path, *settings)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
