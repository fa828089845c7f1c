"""Sound files, resampling, mel front-ends and their files, companding, dequantisation."""

from audioflow.audio.checks import AudioLimits, AudioProblem, check_audio
from audioflow.audio.companding import mu_law_decode, mu_law_encode
from audioflow.audio.contract import PRESETS, MelContract, get_contract
from audioflow.audio.convert import compatibility, convert_mel
from audioflow.audio.dequantize import AMPLITUDE_STEP, dequantize, quantize
from audioflow.audio.emphasis import deemphasize, emphasize
from audioflow.audio.envelope import band_centres, band_magnitudes, bin_frequencies, interpolation_over_bins
from audioflow.audio.filterbank import mel_filterbank
from audioflow.audio.mel import MelFrontEnd, compress, decompress, frames_of
from audioflow.audio.mel_files import load_bare_mel, load_mel, save_mel
from audioflow.audio.resampling import resample
from audioflow.audio.torchaudio_shim import torchaudio
from audioflow.audio.wav import SOUND_SUFFIXES, AudioFacts, probe, read_audio, write_audio

__all__ = [
    "AMPLITUDE_STEP",
    "PRESETS",
    "SOUND_SUFFIXES",
    "AudioFacts",
    "AudioLimits",
    "AudioProblem",
    "MelContract",
    "MelFrontEnd",
    "band_centres",
    "band_magnitudes",
    "bin_frequencies",
    "check_audio",
    "compatibility",
    "compress",
    "convert_mel",
    "decompress",
    "deemphasize",
    "dequantize",
    "emphasize",
    "frames_of",
    "get_contract",
    "interpolation_over_bins",
    "load_bare_mel",
    "load_mel",
    "mel_filterbank",
    "mu_law_decode",
    "mu_law_encode",
    "probe",
    "quantize",
    "read_audio",
    "resample",
    "save_mel",
    "torchaudio",
    "write_audio",
]
