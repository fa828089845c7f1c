"""Noise: one seed is one sequence, whatever stands beside it."""

import numpy as np
import pytest
import scipy.stats
import torch

from audioflow.sampling import batch_noise, utterance_noise

CPU = torch.device("cpu")


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_a_longer_utterance_begins_with_the_noise_of_the_shorter(channels):
    long = utterance_noise(11, channels, 50)
    assert long.shape == (channels, 50)
    for steps in (1, 7, 49):
        assert torch.equal(utterance_noise(11, channels, steps), long[:, :steps])


def test_noise_is_standard_normal_and_seeds_differ():
    noise = utterance_noise(3, 2, 20_000)
    assert scipy.stats.kstest(noise.flatten().numpy(), "norm").pvalue > 1e-3
    assert abs(np.corrcoef(noise[0], noise[1])[0, 1]) < 0.05
    assert abs(np.corrcoef(noise[0], utterance_noise(4, 2, 20_000)[0])[0, 1]) < 0.05


def test_the_numbers_of_a_seed_never_change():
    # Figures drawn from numpy's Philox once: a change would give other audio for the seeds people have noted down.
    expected = [-1.4035643350339762, 0.8484195143593849, 1.3086802652913172, -1.2232638292156024]
    assert utterance_noise(7, 1, 4)[0].tolist() == pytest.approx(expected, rel=1e-12)


def test_a_batch_holds_the_noise_of_each_seed_and_zeros_after_it():
    noise = batch_noise(5, 2, [4, 9, 1], torch.float64, CPU)
    assert noise.shape == (3, 2, 9)
    for row, steps in enumerate([4, 9, 1]):
        assert torch.equal(noise[row, :, :steps], utterance_noise(5 + row, 2, steps))
        assert not noise[row, :, steps:].any()
    listed = batch_noise([5, 6, 7], 2, [4, 9, 1], torch.float64, CPU)
    assert torch.equal(listed, noise)
    assert torch.equal(batch_noise([6], 2, [9], torch.float64, CPU)[0], noise[1])


def test_float32_noise_is_the_rounded_float64_noise():
    wide = batch_noise(5, 1, [9], torch.float64, CPU)
    assert torch.equal(batch_noise(5, 1, [9], torch.float32, CPU), wide.float())


def test_as_many_seeds_as_utterances():
    with pytest.raises(ValueError, match="2 seeds were given for 3 utterances"):
        batch_noise([1, 2], 1, [3, 3, 3], torch.float32, CPU)


def test_threads_draw_in_inference_mode_too(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    outside = batch_noise(5, 2, [40, 9, 33, 21], torch.float32, CPU)
    with torch.inference_mode():
        inside = batch_noise(5, 2, [40, 9, 33, 21], torch.float32, CPU)
    assert torch.equal(inside, outside) and outside[3, 0, 20] != 0
