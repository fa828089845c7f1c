"""Rules that the sources keep: who may import whom, and what no file may do."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "audioflow"
FILES = sorted(PACKAGE.rglob("*.py"))
PICKLES = {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
HARMLESS = "UnpicklingError"  # what torch.load raises when it refuses something
PYTHON = sorted(path for folder in ("audioflow", "benchmarks", "tests") for path in (ROOT / folder).rglob("*.py"))


def name_of(path):
    return str(path.relative_to(ROOT))


def ranks():
    """Rooms and the files beside them, as in the table of docs/architecture.md: 0 for the top."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = text.split("## Rooms")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    found = [re.findall(r"`(\w+)(?:/|\.py)`", row) for row in rows]
    return {room: rank for rank, row in enumerate(found) for room in row}


def rooms_imported(tree):
    """Rooms that a module takes something from, with the line, also inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "audioflow":
            names = [f"audioflow.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            continue
        for name in names:
            if name.startswith("audioflow.") and not name.split(".")[1].startswith("__"):
                yield name.split(".")[1], node.lineno


def upward(room, tree):
    """Imports that go up, out of ``room``; what ``audioflow`` itself offers is at the top."""
    order = ranks()
    return [(other, line) for other, line in rooms_imported(tree) if order.get(other, -1) < order[room]]


def test_every_room_is_described():
    there = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in FILES} - {"__init__"}
    assert there == set(ranks())


@pytest.mark.parametrize("path", [path for path in FILES if path.parent != PACKAGE], ids=name_of)
def test_imports_go_down(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert upward(path.relative_to(PACKAGE).parts[0], tree) == []
    relative = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level]
    assert relative == [], "imports are absolute"


@pytest.mark.parametrize(
    "source",
    [
        "from audioflow.cli import main",
        "def late():\n    from audioflow.training.recipe import Recipe",
        "import audioflow.vocoders",
        "from audioflow import evaluation",
        "from audioflow import load",
    ],
)
def test_an_import_upward_is_seen(source):
    assert len(upward("flows", ast.parse(source))) == 1


def forbidden(tree):
    """What no file of the package does: run text, unpickle, print, hand a string to a shell."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in PICKLES and node.attr != HARMLESS:
            yield f"line {node.lineno}: {ast.unparse(node)}"
        elif isinstance(node, ast.ImportFrom) and node.module in PICKLES:
            yield from (f"line {node.lineno}: {alias.name}" for alias in node.names if alias.name != HARMLESS)
        elif isinstance(node, ast.Call):
            yield from forbidden_call(node)


def forbidden_call(call):
    name = ast.unparse(call.func)
    keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    if name in {"print", "eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.load"}:
        yield f"line {call.lineno}: {name}"
    if name == "torch.load" and keywords.get("weights_only") != "True":
        yield f"line {call.lineno}: torch.load without weights_only=True"
    if name in {"np.load", "numpy.load"} and keywords.get("allow_pickle", "False") != "False":
        yield f"line {call.lineno}: numpy.load with allow_pickle"
    if keywords.get("shell", "False") != "False":
        yield f"line {call.lineno}: shell"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_nothing_forbidden_is_done(path):
    assert list(forbidden(ast.parse(path.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize(
    "source",
    [
        "print(1)",
        "eval(text)",
        "pickle.load(file)",
        "from pickle import loads",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "subprocess.run(text, shell=True)",
        "yaml.load(text)",
    ],
)
def test_something_forbidden_is_seen(source):
    assert len(list(forbidden(ast.parse(source)))) == 1


@pytest.mark.parametrize("path", PYTHON, ids=name_of)
def test_files_stay_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 500


def test_test_files_have_names_of_their_own():
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert len(names) == len(set(names))
