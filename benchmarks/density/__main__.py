"""Density estimation with audioflow, zuko, nflows and normflows: likelihood, time of a training step, of sampling.

    python -m benchmarks.density [--only mel,maf] [--seeds 3] [--corpus prepared/festvox-ru] [--json FILE] [--quick]

Every library gets the same vectors, the same architecture with as many parameters, the same optimizer, steps and order
of batches. `make density` installs what benchmarks/requirements-density.txt names into an environment of its own and
runs this there.
"""

import argparse
import json
import shlex
import sys
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path

import torch

from audioflow.evaluation.environment import describe_machine
from audioflow.files import atomic_path

from . import from_audioflow, from_nflows, from_normflows, from_zuko
from .candidate import MODELS
from .data import NAMES, load
from .measure import Effort, Experiment
from .report import Result, footnotes, table

LIBRARIES = {
    "audioflow": from_audioflow.CANDIDATES,
    "zuko": from_zuko.CANDIDATES,
    "nflows": from_nflows.CANDIDATES,
    "normflows": from_normflows.CANDIDATES,
}
USUAL_MODELS = ["maf", "realnvp", "nsf"]
QUICK = Effort(seeds=1, steps=3, timed_steps=2, timed_samplings=1, sampled_vectors=20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=words, default=[], help=f"any of {', '.join([*NAMES, *MODELS, *LIBRARIES])}")
    parser.add_argument("--seeds", type=int, help="models of each kind, to be averaged (3)")
    parser.add_argument("--steps", type=int, help="training steps (1000 to 3000, as the data set is)")
    parser.add_argument("--corpus", type=Path, help="prepared corpus for mel, in place of the bundled speech")
    parser.add_argument("--json", type=Path, dest="json_path", help="file for all figures")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="see that everything runs; the figures mean nothing")
    options = parser.parse_args()
    unknown = set(options.only) - {*NAMES, *MODELS, *LIBRARIES}
    if unknown:
        parser.error(f"--only does not know {', '.join(sorted(unknown))}")
    torch.set_num_threads(options.threads)
    given = {name: value for name in ("seeds", "steps") if (value := getattr(options, name)) is not None}
    effort = replace(QUICK if options.quick else Effort(), **given)
    run(options.only, effort, options.corpus, options.json_path)


def words(text: str) -> list[str]:
    return text.split(",")


def run(only: list[str], effort: Effort, corpus: Path | None, json_path: Path | None) -> None:
    """Go through the data sets; after each print its table and write the figures so far."""
    facts = describe()
    print("\n".join(f"- {name}: {value}" for name, value in facts.items()), end="\n\n", flush=True)
    libraries = chosen(only, list(LIBRARIES), list(LIBRARIES))
    candidates = [candidate for library in libraries for candidate in LIBRARIES[library]]
    results: list[Result] = []
    notes: list[str] = []
    for name in chosen(only, list(NAMES), list(NAMES)):
        models = chosen(only, list(MODELS), USUAL_MODELS)
        results.append(Experiment(name, load(name, corpus), effort).run(models, candidates))
        print(table(results[-1], notes), flush=True)
        if json_path is not None:
            write(json_path, {"facts": facts, "results": [asdict(result) for result in results]})
    print(footnotes(notes))


def describe() -> dict[str, str]:
    """Machine, versions and command line."""
    versions = {name: version(name) for name in LIBRARIES if name != "audioflow"}
    return {
        **describe_machine(),
        **versions,
        "Command": shlex.join(["python", "-m", "benchmarks.density", *sys.argv[1:]]),
    }


def write(path: Path, figures: dict[str, object]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def chosen(only: list[str], names: list[str], usual: list[str]) -> list[str]:
    """What of ``names`` the user names, in their order; the usual ones if none."""
    return [name for name in names if name in only] or usual


if __name__ == "__main__":
    main()
