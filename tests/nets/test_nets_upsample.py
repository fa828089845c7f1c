"""The upsamplers against their formulas, the mel normaliser, and weight normalisation."""

import numpy as np
import pytest
import torch
from laws.models import perturb
from torch import nn

from audioflow.nets.masks import mask_of
from audioflow.nets.upsample import InterpolatingUpsampler, MelNormalizer, TransposedUpsampler
from audioflow.nets.upsample_published import StretchUpsampler, TransposedUpsampler2d
from audioflow.nets.weight_norm import fold_weight_norm, weight_normed


def mel(frames=9, bands=3, batch=2):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, bands, frames, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize(("hop", "centre"), [(1, 0.0), (4, 0.0), (7, 3.5), (5, 0.0), (10, 5.0)])
def test_a_fresh_interpolator_is_linear_between_the_centres(hop, centre):
    upsampler = InterpolatingUpsampler(3, 2, hop, centre).double()
    features = upsampler.frames(mel()).detach()
    cond = upsampler(mel()).detach()
    assert cond.shape == (2, 2, 9 * hop)
    time = np.arange(hop, 8 * hop)  # beyond the outermost frames there is silence to interpolate with
    for row in range(2):
        for channel in range(2):
            expected = np.interp(time, np.arange(9) * hop + centre, features[row, channel].numpy())
            np.testing.assert_allclose(cond[row, channel, time].numpy(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("hop", [1, 3, 8])
def test_interpolator_is_its_formula(hop):
    upsampler = perturb(InterpolatingUpsampler(3, 2, hop).double())
    features = torch.nn.functional.pad(upsampler.frames(mel()), (1, 1))
    expected = torch.zeros(2, 2, 9 * hop, dtype=torch.float64)
    for frame in range(9):
        for place in range(hop):
            for neighbour in range(3):
                expected[..., frame * hop + place] += (
                    upsampler.weight[place, neighbour] * features[..., frame + neighbour]
                )
    torch.testing.assert_close(upsampler(mel()), expected, atol=1e-12, rtol=1e-12)


def test_interpolator_commutes_with_a_1x1_convolution():
    upsampler = perturb(InterpolatingUpsampler(3, 4, 5).double())
    matrix = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    after = torch.einsum("oi,bit->bot", matrix, upsampler(mel()))
    with torch.no_grad():
        projected = InterpolatingUpsampler(3, 6, 5).double()
        projected.weight.copy_(upsampler.weight)
        projected.frames.weight.copy_(torch.einsum("oi,imk->omk", matrix, upsampler.frames.weight))
        projected.frames.bias.copy_(matrix @ upsampler.frames.bias)
    torch.testing.assert_close(projected(mel()), after, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize(("hop", "taps"), [(1, 4), (4, 4), (5, 1), (7, 2)])
def test_transposed_upsampler_is_its_formula(hop, taps):
    upsampler = TransposedUpsampler(3, 3, hop, taps).double()
    weight, bias = upsampler.upsample.weight, upsampler.upsample.bias
    expected = bias[None, :, None].repeat(2, 1, 9 * hop)
    for frame in range(9):
        for place in range(taps * hop):
            if frame * hop + place < 9 * hop:
                expected[..., frame * hop + place] += mel()[..., frame] @ weight[..., place]
    torch.testing.assert_close(upsampler(mel()), expected, atol=1e-12, rtol=1e-12)


def test_stretch_upsampler_is_its_formula():
    upsampler = perturb(StretchUpsampler(3, 2, [3, 2], context=1).double())
    frames = mel()[..., [0, *range(9), 8]]
    weight = upsampler.frames.weight
    h = torch.stack([torch.einsum("oik,bik->bo", weight, frames[..., f : f + 3]) for f in range(9)], dim=-1)
    for layer, scale in zip(upsampler.smooth, upsampler.scales, strict=True):
        steps = h.shape[-1] * scale
        smooth = torch.zeros(2, 2, steps, dtype=torch.float64)
        for t in range(steps):
            for j in range(-scale, scale + 1):
                if 0 <= t + j < steps:
                    smooth[..., t] += layer.weight[0, 0, j + scale] * h[..., (t + j) // scale]
        h = smooth
    torch.testing.assert_close(upsampler(mel()), h, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize(("overlap", "scale"), [(True, 4), (True, 3), (False, 3)])
def test_transposed_upsampler_2d_is_its_formula(overlap, scale):
    upsampler = perturb(TransposedUpsampler2d([scale], 0.3, overlap=overlap).double())
    weight, cut = upsampler.upsample[0].weight[0, 0], scale // 2 if overlap else 0
    expected = upsampler.upsample[0].bias.expand(2, 3, 9 * scale).clone()
    for frame in range(9):
        for band in range(3):
            for row in range(3):
                for tap in range(weight.shape[1]):
                    to, t = band + row - 1, frame * scale + tap - cut
                    if 0 <= to < 3 and 0 <= t < 9 * scale:
                        expected[:, to, t] += weight[row, tap] * mel()[:, band, frame]
    expected = torch.where(expected > 0, expected, 0.3 * expected)
    torch.testing.assert_close(upsampler(mel()), expected, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize(
    ("upsampler", "after"),
    [
        (InterpolatingUpsampler(3, 2, 4), True),
        (InterpolatingUpsampler(3, 2, 4, context=0), True),
        (TransposedUpsampler(3, 3, 4, 3), False),
        (TransposedUpsampler2d([4]), True),
        (StretchUpsampler(3, 2, [2, 2]), True),
        (StretchUpsampler(3, 2, [4], context=1), True),
    ],
)
def test_the_stated_frame_context_is_enough_and_needed(upsampler, after):
    perturb(upsampler.double())
    whole, context = upsampler(mel(20)), upsampler.frame_context
    first, last = 8, 11

    def piece(carried):
        start, stop = first - carried, last + (carried if after else 0)
        cond = upsampler(mel(20)[..., start:stop])
        return cond[..., carried * 4 : (carried + last - first) * 4]

    wanted = whole[..., first * 4 : last * 4]
    torch.testing.assert_close(piece(context), wanted, atol=1e-12, rtol=1e-12)
    assert not torch.allclose(piece(context - 1), wanted)


def test_transposed_upsampler_2d_without_overlap_needs_no_frame_around():
    upsampler = perturb(TransposedUpsampler2d([2, 2], overlap=False).double())
    assert upsampler.frame_context == 0
    torch.testing.assert_close(upsampler(mel()[..., 3:5]), upsampler(mel())[..., 12:20], atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize(
    "upsampler",
    [
        InterpolatingUpsampler(3, 2, 4),
        TransposedUpsampler(3, 3, 4),
        TransposedUpsampler2d([2, 2]),
        StretchUpsampler(3, 2, [2, 2]),
    ],
)
def test_padding_changes_nothing(upsampler):
    perturb(upsampler.double())
    mask = mask_of(torch.tensor([9, 5]), 9, torch.float64)
    dirty = torch.where(mask > 0, mel(), torch.full_like(mel(), 1e4))
    cond = upsampler(dirty, mask)
    torch.testing.assert_close(cond[1:, :, :20], upsampler(mel()[1:, :, :5]), atol=1e-12, rtol=1e-12)
    assert not cond[1, :, 20:].any()


def test_normalizer_takes_statistics_of_valid_frames_only():
    normalizer = MelNormalizer(3).double()
    values = mel() * torch.tensor([3.0, 0.5, 1.0])[:, None] + 7
    values[:, 2] = -11.5  # a silent band
    mask = mask_of(torch.tensor([9, 4]), 9, torch.float64)
    normalizer.fit(torch.where(mask > 0, values, torch.full_like(values, 1e4)), mask)
    valid = torch.cat([values[0], values[1, :, :4]], dim=1)
    out = torch.cat([normalizer(values, mask)[0], normalizer(values, mask)[1, :, :4]], dim=1)
    torch.testing.assert_close(normalizer.mean, valid.mean(dim=1))
    torch.testing.assert_close(out[:2].std(dim=1, unbiased=False), torch.ones(2, dtype=torch.float64))
    assert normalizer.std[2] == pytest.approx(0.1)
    assert not normalizer(values, mask)[1, :, 4:].any()


def test_weight_norm_has_one_length_per_output_channel_and_folds_once():
    torch.manual_seed(0)
    net = nn.Sequential(
        weight_normed(nn.Conv1d(2, 3, 3)), nn.ReLU(), weight_normed(nn.Conv1d(3, 2, 1)), nn.Conv1d(2, 2, 1)
    )
    perturb(net)
    parts = net[0].parametrizations.weight
    direction = parts.original1 / parts.original1.flatten(1).norm(dim=1)[:, None, None]
    torch.testing.assert_close(net[0].weight, parts.original0 * direction)
    x = torch.randn(1, 2, 8)
    before = net(x)
    assert fold_weight_norm(net) == 2
    torch.testing.assert_close(net(x), before)
    assert not [name for name, _ in net.named_parameters() if "original" in name]
    assert fold_weight_norm(net) == 0
