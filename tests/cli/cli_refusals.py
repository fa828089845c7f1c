"""The table of what was tried: commands that must be refused, and what the sentence must say.

Paths are those of ``cli_material``; OUT is an empty directory.
"""

RECORDINGS = {
    "missing.wav": "missing.wav does not exist",
    "empty.wav": "empty.wav is empty (0 bytes)",
    "header-only.wav": "header-only.wav holds no samples",
    "truncated.wav": "truncated.wav is truncated",
    "truncated.flac": "truncated.flac cannot be decoded to its end",
    "text.wav": "text.wav is not a sound file",
    "silent.wav": "silent.wav is not fit for use (silent)",
    "nan.wav": "nan.wav holds 1 NaN or infinite samples",
    "short.wav": "short.wav is not fit for use (too-short): 0.013 s",
    "loud.wav": "but full scale is 1; divide them",
    "no-audio": "no-audio has no file that ends in .wav",
    "good.npz --seed 1": "good.npz is not a sound file",
}
RECORDING_COMMANDS = (
    "synthesize wavenet.safetensors {} --out OUT/a.wav",
    "score wavenet.safetensors {}",
    "compare wavenet.safetensors --page OUT/page.html --input {}",
)
INSPECTED = ("empty.wav", "header-only.wav", "truncated.wav", "truncated.flac", "text.wav", "nan.wav", "loud.wav")
PREPARED = {
    "empty.wav": "1 unreadable",
    "header-only.wav": "1 unreadable",
    "truncated.wav": "1 unreadable",
    "truncated.flac": "1 unreadable",
    "text.wav": "1 unreadable",
    "silent.wav": "1 silent",
    "nan.wav": "1 nan",
    "short.wav": "1 too-short",
    "clipped.wav": "1 clipped",
}
MELS = {
    "bands.npz": "bands.npz has 40 mel bands, but its contract has 80",
    "other-contract.npz": "hop_length 160 instead of 200",
    "nan.npz": "NaN or infinite values",
    "transposed.npz": "transposed.npz is transposed",
    "bare.npy": "name its contract (--mel PRESET)",
    "bare.npy --mel speech-16": "did you mean 'speech-16k'?",
    "bare.npy --mel vocos-24k": "bare.npy has 80 mel bands, but its contract has 100",
    "bare-transposed.npy --mel speech-16k": "bare-transposed.npy is transposed",
    "good.npz --mel vocos-24k": "was made by another mel front-end: sample_rate 16000 instead of 24000",
    "good.wav --mel speech-16": "did you mean 'speech-16k'?",
    "pickled.npy --mel speech-16k": "holds pickled objects, which can run code",
    "truncated.npz": "truncated.npz is damaged, truncated or no mel file",
    "empty.npz": "empty.npz is damaged, truncated or no mel file",
    "text.npz": "text.npz is damaged, truncated or no mel file",
    "no-mel.npz": "no array named 'mel'",
    "no-contract.npz": "does not say which front-end made it",
    "missing.npz": "missing.npz does not exist",
    "wavenet.safetensors": "no array named 'mel'",
}
CHECKPOINTS = {
    "missing.safetensors": "missing.safetensors does not exist",
    "empty-run": "neither best.safetensors nor last.safetensors is there",
    "foreign.safetensors": "is a safetensors file of another program",
    "truncated.safetensors": "is not a whole safetensors file",
    "broken-header.safetensors": "is not a whole safetensors file",
    "empty.safetensors": "is not a whole safetensors file",
    "text.safetensors": "is not a whole safetensors file",
    "pickle.safetensors": "pickled checkpoints are not read",
    "pickle.pt": "pickled checkpoints are not read",
    "version.safetensors": "has format version 99, but this audioflow reads version 1",
    "damaged.safetensors": "has a damaged header",
}
LOADED = {
    "nan-weights.safetensors": "holds NaN or infinite values",
    "unknown-model.safetensors": "did you mean 'wavenet'?",
    "odd-config.safetensors": "layers",
    "other-config.safetensors": "do not fit its own config",
    "weight-missing.safetensors": "do not fit its own config",
    "good-mel.safetensors": "holds no audioflow vocoder",
    "good.wav": "is not a whole safetensors file",
}
CHECKPOINT_COMMANDS = (
    "synthesize {} good.wav --out OUT/a.wav",
    "score {} good.wav",
    "compare {} --input good.wav --page OUT/page.html",
)
RECIPES = {
    "missing.yaml": "missing.yaml does not exist",
    "tiny.yml": "did you mean 'tiny.yaml'",
    "modle.yaml": "modle is not a field of a recipe; did you mean 'model'",
    "no-train.yaml": "train is missing",
    "bad.yaml": "bad.yaml is not valid YAML at line 2",
    "tabs.yaml": "tabs.yaml is not valid YAML at line 2",
    "list.yaml": "list.yaml is a list",
    "empty.yaml": "empty.yaml is empty",
    "binary.yaml": "is not UTF-8 text",
    "foreign": "foreign is a directory",
    "tiny.yaml model.residual_chanels=32": "did you mean 'residual_channels'",
    "tiny.yaml modle.layers=3": "did you mean 'model'",
    "tiny.yaml train.minutes=-1": "train.minutes is -1, but should be greater than 0",
    "tiny.yaml train.minutes=.nan": "train.minutes is nan",
    "tiny.yaml train.steps=many": "train.steps is 'many', but should be a valid integer",
    "tiny.yaml model.layers=2.5": "model.layers is 2.5, but should be a valid integer",
    "tiny.yaml train.betas=3": "train.betas is 3",
    "tiny.yaml train=3": "train is 3",
    "tiny.yaml train.steps": "should read field=value",
    "tiny.yaml =3": "should read field=value",
    "tiny.yaml train.steps=[": "is not valid YAML; quote it",
    "tiny.yaml data.corpus.x=3": "which is 'sample', not a section",
    "tiny.yaml model.name=wavnet": "did you mean 'wavenet'",
    "tiny.yaml mel=speech-16": "did you mean 'speech-16k'",
    "tiny.yaml data.corpus=sampel data.prepared=OUT/p": "did you mean 'sample'?",
    "tiny.yaml data.corpus=folder data.prepared=OUT/p": "data.root in a recipe",
    "tiny.yaml data.prepared=foreign": "foreign holds other things",
    "tiny.yaml data.prepared=/proc/p": "/proc/p cannot be written to",
    "tiny.yaml --device gpu": "'gpu' is not one of",
    "tiny.yaml --devices 0": "0 is not in the range",
}
OPTIONS = {
    "frobnicate": "there are prepare, train",
    "trian tiny.yaml --out OUT/r": "did you mean 'train'?",
    "train tiny.yaml": "Missing option '--out'",
    "synthesize wavenet.safetensors good.wav": "Missing option '--out'",
    "synthesize wavenet.safetensors --out OUT/a.wav": "Missing argument 'INPUT...'",
    "synthesize wavenet.safetensors good.wav --out OUT/a.wav --engine parallel": "no engine 'parallel'; use auto or",
    "synthesize wavenet.safetensors good.wav --out OUT/a.wav --temperature -1": "-1.0 is not in the range",
    "synthesize wavenet.safetensors good.wav --out OUT/a.wav --temperature nan": "nan is not a finite number",
    "synthesize wavenet.safetensors good.wav --out OUT/a.wav --temperature inf": "inf is not a finite number",
    "synthesize wavenet.safetensors good.wav --out OUT/a.wav --seed -1": "-1 is not in the range",
    "synthesize wavenet.safetensors good.wav --out OUT/a.wav --speaker 1": "this model has no speakers",
    "synthesize wavenet.safetensors good.wav --out OUT/a.wav --match-mel -1": "-1 is not in the range 0<=x<=1000",
    "synthesize wavenet.safetensors good.wav --out OUT/a.wav --match-mel 99999999": "is not in the range 0<=x<=1000",
    "synthesize wavenet.safetensors good.wav --out OUT/a.wav --match-mel 2.5": "'2.5' is not a valid integer",
    "synthesize wavenet.safetensors good.wav --out OUT/a.wav --device tpu": "'tpu' is not one of",
    "score wavenet.safetensors good.wav --seed 99999999999999999999": "is not in the range",
    "score wavenet.safetensors good.wav --speaker 1": "this model has no speakers",
    "compare wavenet.safetensors --speaker 0": "this model has no speakers",
    "compare wavenet.safetensors wavenet.safetensors": "named twice",
    "compare wavenet.safetensors --engines cpu,warp": "has an engine 'warp'; there are cached, cpu,",
    "compare wavenet.safetensors --seconds nan": "nan is not a finite number",
    "compare wavenet.safetensors --match-mel -1": "-1 is not in the range 0<=x<=1000",
    "compare wavenet.safetensors --naive-seconds inf": "inf is not a finite number",
    "demo --out OUT/d --minutes -1": "-1.0 is not in the range",
    "demo --out OUT/d --minutes inf": "inf is not a finite number",
    "info speech-16": "did you mean 'speech-16k'?",
    "info empty-run": "neither a prepared corpus nor a training run",
    "info no-audio": "neither a prepared corpus nor a training run",
    "info pickled.npy": "holds pickled objects",
    "info truncated.npz": "is damaged, truncated",
    "info modle.yaml": "did you mean 'model'",
    "prepare sampel --out OUT/p": "did you mean 'sample'?",
    "prepare nowhere --out OUT/p": "nowhere is neither a directory that exists nor one of the corpora",
    "prepare no-audio --out OUT/p": "There is no audio below",
    "prepare good.wav --out OUT/p": "good.wav is a file, not a directory",
    "prepare folder --out OUT/p": "needs the option 'root'",
    "prepare festvox-ru --root twins --out OUT/p": "is no unpacked festvox-ru",
    "prepare twins --out OUT/p --mel speech-16": "did you mean 'speech-16k'?",
    "prepare twins --out OUT/p --workers 0": "0 is not in the range",
}
IMPORTS = {
    "nvidia-waveglov pickle.pt --out OUT/i": "did you mean 'nvidia-waveglow'?",
    "nvidia-waveglow pickle.pt --out OUT/i": "holds no model",
    "nvidia-waveglow pickle.safetensors --out OUT/i": "is not a file that torch.save wrote",
    "nvidia-waveglow missing.pt --out OUT/i": "missing.pt does not exist",
    "nvidia-waveglow pickle.pt --out file": "file is a file, but a directory is needed",
    "nvidia-waveglow pickle.pt --out OUT/i mle=x": "did you mean 'mel'?",
    "nvidia-waveglow pickle.pt --out OUT/i mel": "should read field=value",
}
OUTPUTS = {
    "synthesize wavenet.safetensors good.wav --out taken.wav": "taken.wav is there already",
    "synthesize wavenet.safetensors good.wav --out folder.wav --overwrite": "folder.wav is a directory",
    "synthesize wavenet.safetensors good.wav --out file": "file is a file, but a directory is needed",
    "synthesize wavenet.safetensors good.wav --out file/a.wav": "file is a file, but a directory is needed",
    "synthesize wavenet.safetensors good.wav --out /proc/a.wav": "/proc cannot be written to",
    "synthesize wavenet.safetensors good.wav --out OUT/a.mp3": "sound is written as .wav or .flac",
    "synthesize wavenet.safetensors good.wav stereo.wav --out OUT/a.wav": "is one file, but there are 2 inputs",
    "synthesize wavenet.safetensors good.wav twins/good.wav --out OUT/a": "would both become",
    "synthesize wavenet.safetensors good.wav --out good.wav --overwrite": "good.wav is itself an input",
    "synthesize wavenet.safetensors twins --out twins --overwrite": "twins/good.wav is itself an input",
    "synthesize wavenet.safetensors twins/good.wav stereo.wav --out . --overwrite": "is itself an input",
    "compare wavenet.safetensors --page taken.html": "taken.html is there already",
    "compare wavenet.safetensors --page folder.html --overwrite": "folder.html is a directory",
    "compare wavenet.safetensors --page file/page.html": "file is a file, but a directory is needed",
    "compare wavenet.safetensors --page /proc/page.html": "/proc cannot be written to",
    "compare wavenet.safetensors --page wavenet.safetensors --overwrite": "is itself an input",
    "compare wavenet.safetensors --input good.wav --page good.wav --overwrite": "is itself an input",
    "compare wavenet.safetensors --picture taken.html": "taken.html is there already",
    "train tiny.yaml --out file": "file is a file, but a directory is needed",
    "train tiny.yaml --out file/run": "file/run cannot be written to",
    "train tiny.yaml --out /proc/run": "/proc/run cannot be written to",
    "train tiny.yaml --out foreign": "foreign holds other files and no run",
    "demo --out file": "file is a file, but a directory is needed",
    "demo --out foreign": "foreign holds other things",
    "demo --out website": "website holds other things (index.html)",
    "prepare sample --out file": "file is a file, but a directory is needed",
    "prepare sample --out /proc/p": "/proc/p cannot be written to",
    "prepare sample --out foreign": "foreign holds other things",
    "prepare twins --out twins/prepared": "lies inside the corpus",
    "prepare twins --out prepared --mel nvidia-16k": "n_fft 1024 instead of 800",
    "prepare corpora/good.wav --out prepared --mel speech-16k": "name another directory or remove it",
}


def refusals():
    """Every row: the command line and what its sentence must hold."""
    rows = []
    for command in RECORDING_COMMANDS:
        sound_only = {name: said for name, said in RECORDINGS.items() if "npz" not in name or "score" in command}
        rows += [(command.format(name), said) for name, said in sound_only.items()]
    rows += [(f"info {name}", RECORDINGS[name]) for name in INSPECTED]
    rows += [(f"prepare corpora/{name} --out OUT/p --mel speech-16k", said) for name, said in PREPARED.items()]
    rows += [(f"synthesize wavenet.safetensors {name} --out OUT/a.wav", said) for name, said in MELS.items()]
    for command in CHECKPOINT_COMMANDS:
        rows += [(command.format(name), said) for name, said in {**CHECKPOINTS, **LOADED}.items()]
    rows += [(f"info {name}", said) for name, said in CHECKPOINTS.items() if not name.startswith("missing")]
    rows += [(f"train {name} --out OUT/run", said) for name, said in RECIPES.items()]
    rows += [(f"import {words}", said) for words, said in IMPORTS.items()]
    return rows + list(OPTIONS.items()) + list(OUTPUTS.items())
