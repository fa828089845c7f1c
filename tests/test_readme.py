"""What the README and the headers of the recipes tell people to do can be done."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from click import Context, UsageError

import audioflow
from audioflow.audio import PRESETS
from audioflow.cli.main import COMMANDS, main
from audioflow.training import load_recipe
from audioflow.vocoders import VOCODERS, build

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", *sorted(ROOT.glob("docs/*.md")))]
RECIPES = sorted((ROOT / "recipes").rglob("*.yaml"))
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(text, language):
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def shell_lines(text):
    lines = (shlex.split(line, comments=True) for block in blocks(text, "sh") for line in block.splitlines())
    return [line for line in lines if line]


def commands():
    """Each ``audioflow ...`` of the documents and the recipes, as words after ``audioflow``."""
    found = [line for path in DOCUMENTS for line in shell_lines(path.read_text(encoding="utf-8"))]
    for path in RECIPES:
        header = [line.removeprefix("#") for line in path.read_text(encoding="utf-8").splitlines() if line[:1] == "#"]
        found += [shlex.split(line) for line in header if re.match(r" {3}(audioflow|torchrun) ", line)]
    return [words[words.index("audioflow") + 1 :] for words in found if "audioflow" in words]


def parse(verb, arguments):
    """Read a command line as the command does; nothing is run."""
    command = main.get_command(Context(main), verb)
    context = command.make_context(verb, [argument.replace("~", "/home") for argument in arguments])
    return context.params


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_commands_can_be_given(words):
    parameters = parse(words[0], words[1:])
    if words[0] == "train":
        path = ROOT / parameters["recipe"]
        load_recipe(path, parameters["overrides"])


def test_a_wrong_command_is_seen():
    with pytest.raises(UsageError, match="--sed"):
        parse("synthesize", ["runs/wavenet", "a.wav", "--out", "b.wav", "--sed", "1"])


def test_every_verb_is_shown():
    assert {line[1] for line in shell_lines(README) if line[0] == "audioflow"} == set(COMMANDS)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_recipe_says_how_it_is_started(path):
    verb = "train" if load_recipe(path).distill is None else "distill"
    assert any(words[:2] == [verb, str(path.relative_to(ROOT))] for words in commands())


def test_make_has_the_targets():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = {line[1] for path in DOCUMENTS for line in shell_lines(path.read_text("utf-8")) if line[0] == "make"}
    assert named >= {"demo", "test"}
    for target in named:
        assert re.search(rf"^{target}:.*## ", makefile, flags=re.MULTILINE), target


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
        if not target.startswith("https://"):
            assert (path.parent / target).exists(), target


def test_files_in_commands_are_there():
    for words in commands():
        for word in words:
            if word.startswith(("recipes/", "data/")):
                assert (ROOT / word).exists(), word


def test_every_model_is_in_the_table():
    table = dict(re.findall(r"^\| `(\w+)` \|(.*)\|$", README, flags=re.MULTILINE))
    assert set(table) == set(VOCODERS)
    for name, vocoder in VOCODERS.items():
        assert all(f"`{engine}`" in table[name] for engine in vocoder.engines)


@pytest.mark.parametrize("document", ["README.md", "docs/mel.md"])
def test_the_mel_tables_have_the_numbers(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([\w-]+-\d+k)` \|(.* (?:centered|half_hop)) \|$", text, flags=re.MULTILINE))
    assert list(rows) == list(PRESETS)
    for name, contract in PRESETS.items():
        cells = [cell.strip() for cell in rows[name].split("|")]
        assert cells[:4] == [
            str(contract.sample_rate),
            f"{contract.n_fft} / {contract.hop_length} / {contract.win_length}",
            str(contract.n_mels),
            f"{contract.f_min:g}–{contract.f_max:g}",
        ]
        assert cells[4].startswith(contract.mel_scale)
        assert cells[-2:] == [f"{contract.compression}, {contract.floor:g}", contract.framing]


def test_the_python_example_runs(tmp_path, monkeypatch, capsys):
    (example,) = blocks(README, "python")
    vocoder = build("wavenet", PRESETS["speech-16k"], {"layers": 2, "residual_channels": 4, "skip_channels": 4})
    monkeypatch.chdir(tmp_path)
    vocoder.save("runs/wavenet/best.safetensors")
    shutil.copy(ROOT / "data" / "speech" / "ru_0003.flac", "speech.flac")
    exec(compile(example, "README.md", "exec"), {})  # noqa: S102 - our own text
    assert capsys.readouterr().out.endswith(" nats per sample\n")
    assert Path("again.wav").stat().st_size == 44 + 2 * 1600
    assert audioflow.load("runs/wavenet").contract == PRESETS["speech-16k"]
