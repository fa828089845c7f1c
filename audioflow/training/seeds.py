"""A seed for every random choice of a run, derived from what the choice is for: nothing to save or restore."""

import hashlib

import torch


def seed_for(*what: int | str) -> int:
    """Give a 63-bit seed for one purpose, such as ``seed_for(recipe_seed, "noise", step, rank)``.

    Example:
        >>> seed_for(0, "noise", 1) == seed_for(0, "noise", 1), seed_for(0, "noise", 1) == seed_for(0, "noise", 2)
        (True, False)
    """
    digest = hashlib.sha256("/".join(map(str, what)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator_for(*what: int | str) -> torch.Generator:
    """Give a generator on the CPU with the seed of one purpose."""
    return torch.Generator().manual_seed(seed_for(*what))
