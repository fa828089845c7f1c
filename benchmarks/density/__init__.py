"""Density estimation of vectors: audioflow's flows beside those of zuko, nflows and normflows."""
