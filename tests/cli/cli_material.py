"""A directory of things to give to commands: good ones and every kind of bad one, made in a few seconds."""

import io
import json
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import soundfile
import torch
import yaml
from safetensors.torch import load_file, save_file

from audioflow.audio import PRESETS, MelFrontEnd, read_audio, save_mel
from audioflow.corpora import get_corpus, prepare
from audioflow.vocoders import build, read_header

SPEECH = Path(__file__).parents[2] / "data/speech/ru_0235.flac"
CONTRACT = PRESETS["speech-16k"]
MODELS = {
    "wavenet": {"layers": 2, "cycle": 2, "residual_channels": 4, "skip_channels": 4, "cond_channels": 4},
    "glow": {"squeeze": 40, "flows": 2, "channels": 4, "layers": 2, "upsample_taps": 1},
}
RECIPE = {
    "name": "tiny",
    "data": {"corpus": "sample", "segment_frames": 4, "batch_size": 2, "valid_utterances": 1, "valid_seconds": 0.2},
    "mel": "speech-16k",
    "model": {"name": "wavenet", **MODELS["wavenet"]},
    "train": {"steps": 1, "warmup_steps": 1, "log_every": 1, "validate_every": 1, "sample_every": None},
}


class Malicious:
    """Unpickling it makes a file in the working directory."""

    def __reduce__(self):
        return os.mkdir, ("executed",)


def make_material(root):
    """Fill ``root``; the names say what each thing is."""
    wav, rate = read_audio(SPEECH)
    wav = wav[rate : rate + 6400].clone()  # 0.4 s
    mel = MelFrontEnd(CONTRACT)(wav[None])[0]
    _recordings(root, 0.5 * wav.numpy() / float(wav.abs().max()), rate)
    _mels(root, mel)
    _checkpoints(root, wav, mel)
    _recipes(root)
    _occupied(root)


def _recordings(root, speech, rate):
    def write(name, samples, **options):
        soundfile.write(root / name, samples, options.pop("rate", rate), **{"subtype": "PCM_16", **options})

    write("good.wav", speech)
    write("stereo.wav", np.stack([speech, 0.5 * speech], axis=1))
    write("8bit.wav", speech, subtype="PCM_U8")
    write("96k.wav", np.repeat(speech, 6), rate=96_000)
    write("clipped.wav", np.clip(8 * speech, -1, 1))
    write("silent.wav", np.zeros(rate // 2))
    write("short.wav", speech[:200])
    write("header-only.wav", speech[:0])
    write("nan.wav", np.where(np.arange(len(speech)) == 7, np.nan, speech), subtype="FLOAT")
    write("loud.wav", 1e4 * speech, subtype="FLOAT")
    whole = (root / "good.wav").read_bytes()
    (root / "truncated.wav").write_bytes(whole[: len(whole) // 2])
    write("good.flac", speech)
    whole = (root / "good.flac").read_bytes()
    (root / "truncated.flac").write_bytes(whole[: len(whole) // 2])
    (root / "empty.wav").touch()
    (root / "text.wav").write_text("This is a diary, not a recording.\n" * 9)
    (root / "no-audio").mkdir()
    (root / "no-audio" / "notes.txt").write_text("nothing to hear")
    for path in list(root.glob("*.wav")) + list(root.glob("*.flac")):
        folder = root / "corpora" / path.name
        folder.mkdir(parents=True)
        (folder / path.name).write_bytes(path.read_bytes())
    both = root / "corpora" / "good-and-bad"
    both.mkdir()
    for name in ("good.wav", "nan.wav", "empty.wav"):
        (both / name).write_bytes((root / name).read_bytes())


def _mels(root, mel):
    half_hop = CONTRACT.model_copy(update={"framing": "half_hop"})
    slower = CONTRACT.model_copy(update={"hop_length": 160})
    save_mel(root / "good.npz", mel, CONTRACT)
    save_mel(root / "good-mel.safetensors", mel, CONTRACT)
    save_mel(root / "half-hop.npz", mel, half_hop)
    save_mel(root / "other-contract.npz", mel, slower)
    contract = np.array(CONTRACT.model_dump_json())
    np.savez(root / "bands.npz", mel=mel[:40].numpy(), mel_contract=contract)
    np.savez(root / "transposed.npz", mel=mel.t().numpy(), mel_contract=contract)
    np.savez(root / "nan.npz", mel=np.full(mel.shape, np.nan, np.float32), mel_contract=contract)
    np.savez(root / "no-mel.npz", spectrum=mel.numpy())
    np.savez(root / "no-contract.npz", mel=mel.numpy())
    np.save(root / "bare.npy", mel.numpy())
    np.save(root / "bare-transposed.npy", mel.t().numpy())
    np.save(root / "pickled.npy", np.array([Malicious()], dtype=object), allow_pickle=True)
    whole = (root / "good.npz").read_bytes()
    (root / "truncated.npz").write_bytes(whole[: len(whole) // 2])
    (root / "empty.npz").touch()
    (root / "text.npz").write_text("not a mel")


def _checkpoints(root, wav, mel):
    for name, config in MODELS.items():
        torch.manual_seed(0)
        vocoder = build(name, CONTRACT, config)
        vocoder.initialize(wav[None], mel[None])
        vocoder.save(root / f"{name}.safetensors")
    good = root / "wavenet.safetensors"
    whole = good.read_bytes()
    (root / "truncated.safetensors").write_bytes(whole[: len(whole) // 2])
    start = 8 + struct.unpack("<Q", whole[:8])[0]
    (root / "nan-weights.safetensors").write_bytes(whole[:start] + b"\xff" * (len(whole) - start))
    (root / "broken-header.safetensors").write_bytes(whole[:40] + b"\x00" * 40 + whole[80:])
    (root / "empty.safetensors").touch()
    (root / "text.safetensors").write_text("weights of gold")
    (root / "empty-run").mkdir()
    (root / "pickle.safetensors").write_bytes(pickle.dumps(Malicious()))
    archive = io.BytesIO()
    torch.save({"weights": Malicious()}, archive)
    (root / "pickle.pt").write_bytes(archive.getvalue())
    save_file({"weight": torch.zeros(3)}, root / "foreign.safetensors", {"format": "pt"})
    _variants(root, good)


def _variants(root, good):
    """Checkpoints whose header and weights are changed one by one."""
    header, tensors = read_header(good), load_file(good)
    metadata = {
        "format": "audioflow-vocoder",
        "version": "1",
        "vocoder": header.vocoder,
        "config": json.dumps(header.config),
        "mel": header.contract.model_dump_json(),
        "folded": json.dumps(header.folded),
        "provenance": "{}",
    }
    changes = {
        "version": {"version": "99"},
        "unknown-model": {"vocoder": "wavnet"},
        "damaged": {"config": "{"},
        "odd-config": {"config": json.dumps({**header.config, "layers": -1})},
        "other-config": {"config": json.dumps({**header.config, "skip_channels": 8})},
    }
    for name, change in changes.items():
        save_file(tensors, root / f"{name}.safetensors", {**metadata, **change})
    tensors.pop(next(iter(tensors)))
    save_file(tensors, root / "weight-missing.safetensors", metadata)


def _recipes(root):
    text = yaml.safe_dump(RECIPE, sort_keys=False)
    (root / "tiny.yaml").write_text(text)
    (root / "modle.yaml").write_text(text.replace("model:", "modle:"))
    (root / "no-train.yaml").write_text(text[: text.index("train:")])
    (root / "bad.yaml").write_text("name: [unclosed\n")
    (root / "tabs.yaml").write_text("name: x\n\tdata: y\n")
    (root / "list.yaml").write_text("- a\n- b\n")
    (root / "empty.yaml").touch()
    (root / "binary.yaml").write_bytes(bytes(range(128, 256)))


def _occupied(root):
    """What is there already and must stay as it is."""
    (root / "taken.wav").write_text("mine")
    (root / "taken.html").write_text("mine")
    (root / "folder.wav").mkdir()
    (root / "folder.html").mkdir()
    (root / "file").write_text("mine")
    foreign = root / "foreign"
    (foreign / "wav").mkdir(parents=True)
    (foreign / ".my-settings").write_text("mine")
    (foreign / "wav" / "good.wav").write_text("mine")
    website = root / "website"
    website.mkdir()
    (website / "index.html").write_text("mine")
    twins = root / "twins"
    twins.mkdir()
    (twins / "good.wav").write_bytes((root / "good.wav").read_bytes())
    prepare(get_corpus("folder", root=twins), root / "prepared", CONTRACT)


def contents(root):
    """All files and folders below ``root``, with their bytes."""
    return {path: path.read_bytes() if path.is_file() else None for path in root.rglob("*")}
