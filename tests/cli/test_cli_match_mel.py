"""Audio that is moved to its mel: what is done by default, what is said of it, what comes out."""

import json

import pytest
import soundfile
import torch
from cli_material import CONTRACT, MODELS

from audioflow.audio import MelFrontEnd, read_audio
from audioflow.errors import OptionError
from audioflow.jobs.inputs import read_inputs
from audioflow.jobs.synthesis import synthesize_files
from audioflow.vocoders import build, load

DEFAULT = "default: 8 for models with a front, 0 for others; 0 leaves the model's own draw"


@pytest.fixture(scope="module")
def fronted(material_directory, tmp_path_factory):
    """A checkpoint of a model with a front."""
    torch.manual_seed(0)
    vocoder = build("glow", CONTRACT, {**MODELS["glow"], "front": 8})
    wav, _ = read_audio(material_directory / "good.wav")
    vocoder.initialize(wav[None], MelFrontEnd(CONTRACT)(wav[None]))
    path = tmp_path_factory.mktemp("fronted") / "fronted.safetensors"
    vocoder.save(path)
    return path


def made(result):
    """The facts of one file, printed as JSON."""
    assert result.exit_code == 0, (result.output, result.exception)
    (facts,) = json.loads(result.stdout)
    return facts


@pytest.mark.parametrize(("option", "rounds"), [("", 8), (" --match-mel 0", 0), (" --match-mel 3", 3)])
def test_a_model_with_a_front_matches_unless_told_otherwise(option, rounds, fronted, audioflow, material, tmp_path):
    facts = made(audioflow(f"synthesize {fronted} good.npz --out {tmp_path}/a.wav --seed 2 --json{option}"))
    assert facts["match_mel"] == rounds
    vocoder = load(fronted)
    assert vocoder.recommended_match_mel == 8
    (item,) = read_inputs([material / "good.npz"], CONTRACT)
    wanted = vocoder.synthesize(item.mel[None], seed=2, match_mel=rounds)[0]
    found = torch.from_numpy(soundfile.read(tmp_path / "a.wav", dtype="float32")[0])
    assert (found - wanted).abs().max() < 2**-14


def test_a_model_without_one_gives_its_own_draw(audioflow, tmp_path):
    line = f"synthesize glow.safetensors good.npz --json --out {tmp_path}"
    assert made(audioflow(f"{line}/a.wav"))["match_mel"] == 0
    assert made(audioflow(f"{line}/b.wav --match-mel 0"))["match_mel"] == 0
    assert made(audioflow(f"{line}/c.wav --match-mel 2"))["match_mel"] == 2
    first, second, matched = ((tmp_path / f"{name}.wav").read_bytes() for name in "abc")
    assert first == second != matched


def test_the_text_says_how_many_rounds_there_were(fronted, audioflow, tmp_path):
    assert (
        "x real time, mel matched in 8 rounds" in audioflow(f"synthesize {fronted} good.npz --out {tmp_path}/a").stdout
    )
    plain = audioflow(f"synthesize {fronted} good.npz --out {tmp_path}/b --match-mel 0").stdout
    assert "x real time" in plain and "matched" not in plain


def test_help_says_what_is_done_by_default(audioflow):
    assert DEFAULT in " ".join(audioflow("synthesize --help").stdout.split())


def test_a_number_of_rounds_below_zero_is_refused_before_anything_is_made(material, tmp_path):
    vocoder = load(material / "glow.safetensors")
    items = read_inputs([material / "good.npz"], CONTRACT)
    with pytest.raises(OptionError, match=r"rounds of mel matching are -2; they must be a whole number from 0 on\."):
        synthesize_files(vocoder, items, tmp_path / "a.wav", match_mel=-2)
    assert not any(tmp_path.iterdir())


def test_a_batch_is_matched_as_its_utterances_alone(material, tmp_path):
    vocoder = load(material / "glow.safetensors")
    items = read_inputs([material / "good.npz", material / "corpora" / "stereo.wav" / "stereo.wav"], CONTRACT)
    items[1] = type(items[1])(items[1].path, items[1].mel[:, :20], 4000)
    done = synthesize_files(vocoder, items, tmp_path / "both", match_mel=2)
    assert [one.match_mel for one in done] == [2, 2]
    for item in items:
        synthesize_files(vocoder, [item], tmp_path / "alone", match_mel=2)
    for one in done:
        together, alone = (
            soundfile.read(folder / one.output.name)[0] for folder in (tmp_path / "both", tmp_path / "alone")
        )
        assert abs(together - alone).max() <= 2**-14


def test_comparing_has_one_more_row_unless_told_otherwise(audioflow):
    line = "compare glow.safetensors --input good.wav --engines auto --no-likelihood --json"
    rows = {}
    for option in ("", " --match-mel 2", " --match-mel 0"):
        result = audioflow(line + option)
        assert result.exit_code == 0, (result.output, result.exception)
        rows[option] = [(row["model"], row["engine"], row["match_mel"]) for row in json.loads(result.stdout)["rows"]]
    first = rows[""][1][1]
    assert ("glow", f"{first}, matched 8", 8) in rows[""] and ("Griffin-Lim", "matched 8", 8) in rows[""]
    assert ("glow", f"{first}, matched 2", 2) in rows[" --match-mel 2"]
    assert {match_mel for _, _, match_mel in rows[" --match-mel 0"]} == {0}
