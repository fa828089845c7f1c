import torch

from audioflow.nets.masks import mask_of
from audioflow.nets.periodicity import CONTEXT, Periodicity


def test_it_learns_what_a_band_shows():
    generator = torch.Generator().manual_seed(0)
    mels = [torch.randn(6, 80, generator=generator) for _ in range(8)]
    # Whether a frame's neighbours are loud in one band.
    wanted = [(torch.nn.functional.avg_pool1d(mel[None, 2:3], 3, 1, 1)[0, 0] > 0).float() for mel in mels]
    net = Periodicity(6, 16)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert net.fit(mels, wanted, steps=800) < 0.2
    found = torch.cat([net(mel[None])[0, 0] for mel in mels])
    assert ((found > 0.5) == (torch.cat(wanted) > 0.5)).float().mean() > 0.93
    assert any(not torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not any(parameter.requires_grad for parameter in net.parameters())


def test_frames_see_their_neighbours_and_no_others():
    net, mel = Periodicity(4, 5).double(), torch.zeros(1, 4, 20, dtype=torch.float64)
    plain = net(mel)
    mel[0, :, 10] = 3.0
    changed = (net(mel) != plain)[0, 0].nonzero()[:, 0]
    assert changed.min() >= 10 - CONTEXT and changed.max() <= 10 + CONTEXT and len(changed) > 1
    assert ((plain > 0) & (plain < 1)).all()


def test_a_padded_row_is_the_row_alone():
    net, mel = Periodicity(4, 5).double(), torch.randn(2, 4, 9, dtype=torch.float64)
    together = net(mel, mask_of(torch.tensor([9, 6]), 9, torch.float64))
    torch.testing.assert_close(together[1:, :, :6], net(mel[1:, :, :6]))
