"""audioflow: neural vocoders built from WaveNets and normalizing flows."""

__version__ = "0.1.0.dev0"
