"""Flows that run slot by slot: the engine that keeps what it has computed gives what the specification gives."""

import pytest
import torch
from laws.flow_laws import close
from laws.models import FLOWS, MAFS, make_flow, perturb, row_net

from audioflow.flows import IAF, MAF, Chain, FactorOut, Invert, Permutation, Squeezed
from audioflow.nets.uncached import Uncached
from audioflow.sampling.slots import SLOT_ENGINES, uncached


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", [*MAFS, "iaf-made", "iaf-causal", "maf-stack", "permutation", "nested"])
def test_naive_is_cached_both_ways(name):
    flow, case = make_flow(name), FLOWS[name]
    steps = 4 * flow.time_multiple
    x, cond = normal(2, case.channels, steps), normal(2, case.cond_channels, steps, seed=1)
    mask = torch.ones(2, 1, steps, dtype=torch.float64)
    mask[1, :, steps // 2 :] = 0
    naive = SLOT_ENGINES["naive"](flow)
    for there, back in ((flow.to_data, naive.to_data), (flow.to_noise, naive.to_noise)):
        for first, second in zip(there(x, cond, mask), back(x, cond, mask), strict=True):
            close(second, first, 1e-9)


def tree():
    """Autoregressive flows in every kind of branch, one of them twice."""
    torch.manual_seed(0)
    twice = MAF(row_net(2, [1]))
    prior = MAF(row_net(2, [1]))
    return perturb(
        Chain(
            [twice, Invert(FactorOut(1, MAF(row_net(1, [1])))), Permutation([1, 0]), twice, IAF(row_net(2, [1])), prior]
        )
    ).double()


def networks(flow):
    return [module.network for module in flow.modules() if isinstance(module, MAF)]


def test_the_whole_tree_is_rebuilt_around_the_same_weights():
    flow = tree()
    naive = uncached(flow)
    assert all(isinstance(network, Uncached) for network in networks(naive))
    assert not any(isinstance(network, Uncached) for network in networks(flow)), "the flow itself was changed"
    assert {id(weight) for weight in naive.parameters()} == {id(weight) for weight in flow.parameters()}
    assert len(naive.bijections) == len(flow.bijections)
    assert naive.sequential == flow.sequential
    assert [naive.reach(way) for way in ("to_data", "to_noise")] == [flow.reach(way) for way in ("to_data", "to_noise")]
    z, cond = normal(2, 2, 5), normal(2, 2, 5, seed=1)
    close(naive.to_data(z, cond)[0], flow.to_data(z, cond)[0], 1e-9)


def test_naive_has_the_gradients_of_cached():
    flow = Squeezed(3, MAF(row_net(3, [1, 2]))).double()
    flow = perturb(flow)
    z, cond = normal(1, 1, 12).requires_grad_(), normal(1, 2, 12, seed=1)
    flow.inner.network.condition = None
    gradients = [torch.autograd.grad(each.to_data(z, cond)[0].square().sum(), z)[0] for each in (flow, uncached(flow))]
    close(*gradients, 1e-9)


def test_an_engine_that_forgets_is_caught():
    flow = make_flow("maf-rows-dilated")
    step = flow.network.step

    def forgetful(state, previous):
        for rows in state.past:
            while len(rows) > 1:
                rows.popleft()
        return step(state, previous)

    flow.network.step = forgetful
    z, cond = normal(1, 9, 5), normal(1, 2, 5, seed=1)
    with pytest.raises(AssertionError):
        close(flow.to_data(z, cond)[0], uncached(flow).to_data(z, cond)[0], 1e-9)
