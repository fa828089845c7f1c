"""Contracts: presets, recipes' spellings, differences, ranges."""

import math

import pytest
from pydantic import ValidationError

from audioflow.audio import PRESETS, MelContract, get_contract
from audioflow.errors import MelError


def test_presets_are_the_families_numbers():
    table = {
        name: (c.sample_rate, c.n_fft, c.hop_length, c.win_length, c.f_min, c.f_max, c.n_mels, c.compression, c.floor)
        for name, c in PRESETS.items()
    }
    assert table == {
        "nvidia-22k": (22050, 1024, 256, 1024, 0, 8000, 80, "ln", 1e-5),
        "hifigan-22k": (22050, 1024, 256, 1024, 0, 8000, 80, "ln", 1e-5),
        "nvidia-16k": (16000, 800, 200, 800, 0, 8000, 80, "ln", 1e-5),
        "speech-16k": (16000, 1024, 200, 800, 0, 8000, 80, "ln", 1e-5),
        "vocos-24k": (24000, 1024, 256, 1024, 0, 12000, 100, "ln", 1e-7),
        "bigvgan-24k": (24000, 1024, 256, 1024, 0, 12000, 100, "ln", 1e-5),
        "espnet-24k": (24000, 2048, 300, 1200, 80, 7600, 80, "log10", 1e-10),
        "r9y9-22k": (22050, 1024, 256, 1024, 125, 7600, 80, "log10", 1e-10),
        "clarinet-22k": (22050, 1024, 256, 1024, 125, 7600, 80, "log10", 1e-4),
    }
    half_hop = {name for name, contract in PRESETS.items() if contract.framing == "half_hop"}
    assert half_hop == {"hifigan-22k", "bigvgan-24k"}
    assert {name for name, contract in PRESETS.items() if contract.mel_scale == "htk"} == {"vocos-24k"}


@pytest.mark.parametrize("name", list(PRESETS))
def test_presets_are_valid_and_survive_json(name):
    contract = PRESETS[name]
    assert MelContract.model_validate(contract.model_dump()) == contract
    assert MelContract.model_validate_json(contract.model_dump_json()) == contract


def test_a_contract_written_without_a_ceiling_is_read():
    fields = PRESETS["nvidia-22k"].model_dump()
    assert fields.pop("ceiling") is None
    assert MelContract.model_validate(fields) == PRESETS["nvidia-22k"]


def test_contracts_cannot_be_changed():
    with pytest.raises(ValidationError):
        PRESETS["nvidia-22k"].n_mels = 40


def test_differences_name_field_and_both_values():
    changed = PRESETS["nvidia-22k"].model_copy(update={"hop_length": 200, "compression": "log10"})
    found = PRESETS["nvidia-22k"].differences(changed)
    assert found == ["hop_length 256 instead of 200", "compression ln instead of log10"]
    assert changed.differences(changed) == []


def test_get_contract_takes_names_fields_and_presets_with_changes():
    nvidia = PRESETS["nvidia-22k"]
    assert get_contract("nvidia-22k") == nvidia
    assert get_contract(nvidia) is nvidia
    assert get_contract(nvidia.model_dump()) == nvidia
    changed = get_contract({"preset": "nvidia-22k", "hop_length": 300, "f_max": 7600})
    assert changed.differences(nvidia) == ["hop_length 300 instead of 256", "f_max 7600.0 instead of 8000.0"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("nvidia-22", ["nvidia-22'", "did you mean 'nvidia-22k'"]),
        ("zzz", ["nvidia-22k", "espnet-24k"]),
        ({"preset": "vocos"}, ["did you mean 'vocos-24k'"]),
        ({"preset": "nvidia-22k", "hop_lenght": 3}, ["'hop_lenght'", "did you mean 'hop_length'"]),
        ({"preset": "nvidia-22k", "hop_length": -1}, ["hop_length", "-1"]),
        ({"preset": "nvidia-22k", "hop_length": 2000}, ["hop_length 2000", "win_length"]),
        ({"preset": "nvidia-22k", "win_length": 2048}, ["win_length 2048", "n_fft 1024"]),
        ({"preset": "nvidia-22k", "f_max": 12000}, ["12000", "11025"]),
        ({"preset": "nvidia-22k", "f_min": 9000}, ["9000", "8000"]),
        ({"preset": "nvidia-22k", "floor": 0}, ["floor", "0"]),
        ({"preset": "nvidia-22k", "gain": math.inf}, ["gain", "inf"]),
        ({"preset": "nvidia-22k", "ceiling": -12}, ["ceiling -12.0", "not above -11.5", "silence"]),
        ({"preset": "nvidia-22k", "power": 3}, ["power", "3"]),
        ({"preset": "nvidia-22k", "framing": "left"}, ["framing", "left"]),
        ({"sample_rate": 16000}, ["'n_fft' is missing"]),
    ],
)
def test_wrong_contracts_are_refused_in_a_sentence(given, words):
    with pytest.raises(MelError) as error:
        get_contract(given)
    message = str(error.value)
    assert "\n" not in message
    assert [word for word in words if word not in message] == []
