"""Conditioners: gated stacks, WaveNets, upsamplers, masks."""
