"""ActNorm and batch norm as flows: where their statistics come from, and when."""

import pytest
import torch
from laws.flow_laws import GARBAGE, close
from laws.models import contract, coupling, perturb
from torch import distributed, multiprocessing

from audioflow.flows import ActNorm, BatchNorm, Chain, Invert, Squeezed, fit_statistics
from audioflow.flows.normalization import channel_statistics
from audioflow.nets.masks import mask_of
from audioflow.vocoders import build


def material(batch=3, channels=3, steps=40, seed=0):
    """Channels of different means and spreads, and a mask with garbage outside."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, channels, steps, dtype=torch.float64, generator=generator)
    x = x * torch.tensor([0.01, 3.0, 50.0])[:channels, None] + torch.tensor([5.0, 0.0, -2.0])[:channels, None]
    mask = mask_of(torch.tensor([steps, steps // 2, 4]), steps, torch.float64)
    return torch.where(mask > 0, x, torch.full_like(x, GARBAGE)), mask


def valid(x, mask):
    """The valid values of each channel, ``[C, N]``."""
    return x.transpose(0, 1)[:, mask[:, 0] > 0]


def check_normal(x, mask, tolerance=1e-9):
    values = valid(x, mask)
    close(values.mean(dim=1), torch.zeros(len(values), dtype=x.dtype), tolerance)
    close(values.var(dim=1, correction=0), torch.ones(len(values), dtype=x.dtype), tolerance)


def test_actnorm_starts_from_the_valid_steps():
    x, mask = material()
    flow = ActNorm(3).double()
    close(flow.to_noise(x, None, mask)[0], x * mask)
    z = flow.initialize(x, None, mask)
    check_normal(z, mask)
    assert torch.equal(flow.to_noise(x, None, mask)[0], z)
    assert not z[1, :, 20:].any()


def test_padding_has_no_say_in_the_start():
    x, mask = material()
    padded, whole = ActNorm(3).double(), ActNorm(3).double()
    padded.initialize(x, None, mask)
    whole.initialize(valid(x, mask)[None])
    for first, second in zip(padded.parameters(), whole.parameters(), strict=True):
        close(first, second, 1e-12)


def test_actnorm_starts_once_also_after_loading():
    x, mask = material()
    flow, loaded = ActNorm(3).double(), ActNorm(3).double()
    flow.initialize(x, None, mask)
    loaded.load_state_dict(flow.state_dict())
    for layer in (flow, loaded):
        assert bool(layer.initialized)
        before = layer.log_scale.clone(), layer.bias.clone()
        z = layer.initialize(7 * x - 2, None, mask)
        assert torch.equal(layer.log_scale, before[0])
        assert torch.equal(layer.bias, before[1])
        close(z, layer.to_noise(7 * x - 2, None, mask)[0])


def test_a_channel_that_does_not_move_keeps_its_scale():
    x, _ = material()
    x = torch.cat([torch.full_like(x[:, :1], 3.0), x[:, 1:]], dim=1)
    flow = ActNorm(3).double()
    z = flow.initialize(x)
    assert flow.log_scale[0] == 0
    close(z[:, 0], torch.zeros_like(z[:, 0]))
    check_normal(z[:, 1:], torch.ones_like(z[:, :1]))


def test_each_layer_of_a_tree_starts_from_what_the_one_before_makes():
    x, mask = material(channels=2)
    seen = []
    norms = [ActNorm(2), ActNorm(4), ActNorm(2)]
    inner = Squeezed(2, Chain([coupling(4, 2, 4), norms[1], coupling(4, 2, 4)]))
    flow = perturb(Chain([norms[0], coupling(2, 1), inner, Invert(Chain([norms[2], coupling(2, 1)]))])).double()
    for norm in norms:
        norm.initialized.fill_(False)
    cond = torch.randn(3, 2, 40, dtype=torch.float64)
    for norm in norms:
        norm.initialize = recording(norm, seen)
    z = flow.initialize(x, cond, mask)
    assert torch.equal(z, flow.to_noise(x, cond, mask)[0])
    assert [norm for norm, *_ in seen] == norms
    for _, out, out_mask in seen:
        check_normal(out, out_mask, 1e-8)


def recording(norm, seen):
    """``norm.initialize`` that notes what comes out."""
    initialize = norm.initialize

    def wrapped(x, cond=None, mask=None, direction="to_noise"):
        out = initialize(x, cond, mask, direction)
        seen.append((norm, out, mask))
        return out

    return wrapped


def test_batch_norm_uses_the_batch_in_training_and_what_it_kept_in_evaluation():
    x, mask = material()
    flow = BatchNorm(3, momentum=0.25, eps=0.0).double()
    z, log_det = flow.to_noise(x, None, mask)
    check_normal(z, mask)
    mean, variance = channel_statistics(x, mask)
    close(log_det, -0.5 * variance.log().sum() * mask.sum(dim=(1, 2)))
    close(flow.running_mean, 0.25 * mean)
    close(flow.running_var, 0.75 + 0.25 * variance)
    flow.eval()
    z, log_det = flow.to_noise(x, None, mask)
    close(z, mask * (x - 0.25 * mean) / (0.75 + 0.25 * variance).sqrt())
    close(log_det, -0.5 * (0.75 + 0.25 * variance).log().sum() * mask.sum(dim=(1, 2)))
    flow.train()
    close(flow.to_data(z, None, mask)[0], x * mask)


def test_the_gradient_knows_that_batch_statistics_follow_the_batch():
    """Scaling the data changes nothing but the log-determinant, by as much as the data were scaled."""
    x, _ = material()
    scale = torch.zeros((), dtype=torch.float64, requires_grad=True)
    z, log_det = BatchNorm(3, eps=0.0).double().to_noise(x * scale.exp())
    gradient = torch.autograd.grad(log_det.sum() - 0.5 * z.square().sum(), scale)[0]
    close(gradient, torch.tensor(-float(x.numel()), dtype=torch.float64), 1e-6)


def test_statistics_of_all_the_data_on_request():
    x, mask = material()
    first, second = BatchNorm(3).double(), BatchNorm(3).double()
    flow = perturb(Chain([first, coupling(3, 1), second])).double().eval()
    cond = torch.randn(3, 2, 40, dtype=torch.float64)
    fit_statistics(flow, [(x, cond, mask)])
    assert not flow.training
    assert first.momentum == second.momentum == 0.1
    z, log_det = flow.to_noise(x, cond, mask)
    z_in_training, log_det_in_training = flow.train().to_noise(x, cond, mask)
    close(z, z_in_training)
    close(log_det, log_det_in_training)


def test_statistics_of_several_batches_are_their_average():
    x, _ = material()
    flow = BatchNorm(3).double()
    fit_statistics(flow, [(part[None], None, None) for part in x[:2]])
    each = [channel_statistics(part[None]) for part in x[:2]]
    close(flow.running_mean, (each[0][0] + each[1][0]) / 2)
    close(flow.running_var, (each[0][1] + each[1][1]) / 2)


def test_a_vocoder_starts_every_actnorm_and_reads_whole_utterances_only():
    torch.manual_seed(0)
    config = {"blocks": 2, "flows": 2, "early_every": 1, "channels": 4, "layers": 1}
    one, other = (build("flowavenet", contract(), config).double() for _ in range(2))
    other.load_state_dict(one.state_dict())
    wav, mel = 0.1 * torch.randn(2, 80, dtype=torch.float64), torch.randn(2, 3, 20, dtype=torch.float64)
    one.initialize(wav, mel, torch.tensor([20, 10]))
    norms = [layer for layer in one.modules() if isinstance(layer, ActNorm)]
    assert norms
    assert all(bool(layer.initialized) for layer in norms)
    wav[1, 40:], mel[1, :, 10:] = GARBAGE, GARBAGE
    other.initialize(wav, mel, torch.tensor([20, 10]))
    for first, second in zip(one.state_dict().values(), other.state_dict().values(), strict=True):
        close(first, second)


def in_a_process(rank, port, folder):
    """One of two processes, with its own part of the data."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    x, mask = material()
    part = slice(0, 1) if rank == 0 else slice(1, 3)
    torch.save(outcome(x[part], mask[part]), f"{folder}/{rank}.pt")
    # The one that ends first shall not take the connection away from the other.
    distributed.barrier()
    distributed.destroy_process_group()


def outcome(x, mask):
    """What ActNorm and batch norm keep of data, what batch norm makes of them, and the gradient that comes back."""
    x = x.requires_grad_()
    act, batch = ActNorm(3).double(), BatchNorm(3).double()
    act.initialize(x, None, mask)
    z, log_det = batch.to_noise(x, None, mask)
    gradient = torch.autograd.grad((z**3).sum() + log_det.sum(), x)[0]
    kept = [act.log_scale, act.bias, batch.running_mean, batch.running_var]
    return {"kept": [value.detach() for value in kept], "z": z.detach(), "gradient": gradient}


@pytest.mark.slow
def test_several_processes_take_the_statistics_of_all(tmp_path, free_port):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=in_a_process, args=(rank, free_port, str(tmp_path))) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    parts = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    whole = outcome(*material())
    for part in parts:
        for value, expected in zip(part["kept"], whole["kept"], strict=True):
            close(value, expected, 1e-12)
    for key in ("z", "gradient"):
        close(torch.cat([part[key] for part in parts]), whole[key])


@pytest.fixture
def free_port():
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
