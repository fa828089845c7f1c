"""Distillation end to end: students of analytic teachers, and whole runs with a trained one."""

import json
import math

import pytest
import torch
from click.testing import CliRunner
from laws.flow_laws import close
from laws.models import contract

from audioflow.cli.main import main
from audioflow.errors import CheckpointError, TrainingError
from audioflow.training import RunDirectory, train
from audioflow.training.batches import Batch
from audioflow.training.objectives import Distillation
from audioflow.training.objectives.distillation import standard_noise
from audioflow.training.recipe import DistillConfig
from audioflow.training.teacher import frozen, take_over
from audioflow.vocoders import build, load

STUDENT = {
    "name": "student",
    "flows": [2, 2],
    "cycle": 2,
    "residual_channels": 4,
    "skip_channels": 4,
    "front_kernel_size": 2,
    "cond_channels": 80,
}
WAVENET = {"name": "wavenet", "layers": 2, "cycle": 2, "residual_channels": 4, "skip_channels": 4, "kernel_size": 3}

FIRST, SECOND = 1.2, -0.6
SPREAD = 0.05


@torch.no_grad()
def analytic_teacher(head, **settings):
    """A WaveNet that predicts ``1.2 x_{t-1} - 0.6 x_{t-2}``, with one spread whatever it hears: an AR(2) process."""
    sizes = {"layers": 1, "cycle": 1, "residual_channels": 2, "skip_channels": 2, "linear_taps": 2, "cond_channels": 3}
    teacher = build("wavenet", contract(8), {**sizes, "head": head, "follow_level": False, **settings})
    teacher.level.offset.zero_()
    components = settings.get("components", 1)
    locations = slice(0, 1) if head == "gaussian" else slice(components, 2 * components)
    scales = slice(1, 2) if head == "gaussian" else slice(2 * components, 3 * components)
    # Taps run from the oldest to the newest.
    teacher.network.linear.weight[locations, 0] = torch.tensor([SECOND, FIRST])
    teacher.network.end.bias[scales] = math.log(SPREAD)
    return frozen(teacher)


def tiny_student(base):
    settings = {key: value for key, value in STUDENT.items() if key != "name"}
    sizes = {**settings, "flows": [1, 1], "linear_taps": 16, "cond_channels": 3, "base": base, "follow_level": False}
    student = build("student", contract(8), sizes)
    student.level.offset.fill_(math.log(2 * SPREAD))
    return student


def process_moments(variance):
    """Variance and first two autocorrelations of the AR(2) process with this innovation variance."""
    first = FIRST / (1 - SECOND)
    second = FIRST * first + SECOND
    return variance / (1 - FIRST * first - SECOND * second), first, second


@pytest.mark.parametrize(
    ("teacher", "base", "variance"),
    [
        (("gaussian", {}), "normal", SPREAD**2),
        (("logistic_mixture", {"components": 1}), "logistic", SPREAD**2 * math.pi**2 / 3),
    ],
    ids=["gaussian", "mixture of logistics"],
)
def test_a_student_learns_an_analytic_teacher(teacher, base, variance):
    head, settings = teacher
    torch.manual_seed(0)
    objective_teacher, student = analytic_teacher(head, **settings), tiny_student(base)
    objective = Distillation(DistillConfig(stft=0, draws=8), objective_teacher, student)
    assert objective.closed_form == (head == "gaussian")
    take_over_statistics = {name: value.clone() for name, value in objective_teacher.state_dict().items()}
    mel = torch.zeros(8, 3, 16)
    optimizer = torch.optim.Adam(student.parameters(), 1e-2)
    steps = 400
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    batch = Batch(SPREAD * torch.randn(8, 128), mel, ("a",) * 8)
    before = None
    for step in range(steps):
        generator = torch.Generator().manual_seed(step)
        optimizer.zero_grad()
        loss, figures = objective.loss(student, batch, lambda _, generator=generator: generator)
        before = before or figures["kl"]
        loss.backward()
        optimizer.step()
        schedule.step()
    assert before > 0.5
    long = torch.zeros(4, 3, 500)
    generator = torch.Generator().manual_seed(9)
    noise = standard_noise(torch.zeros(4, 4000), generator)
    with torch.no_grad():
        quiet = Batch(SPREAD * torch.randn(4, 4000), long, ("a",) * 4)
        kl = float(objective.terms(student, quiet, noise, generator)["kl"])
        wav = student.draw(noise, long).wav[:, 200:]
    assert abs(kl) < 0.02
    wanted, first, second = process_moments(variance)
    assert wav.mean().abs() < 0.1 * wanted**0.5
    assert wav.var().item() == pytest.approx(wanted, rel=0.1)
    for lag, correlation in ((1, first), (2, second)):
        found = (wav[:, lag:] * wav[:, :-lag]).mean() / wav.square().mean()
        assert found.item() == pytest.approx(correlation, abs=0.03)
    for name, value in objective_teacher.state_dict().items():
        assert torch.equal(value, take_over_statistics[name])
    assert all(parameter.grad is None for parameter in objective_teacher.parameters())


FRONT = {"front": 2, "front_correction": 0.01}
WIDE = 0.5


@torch.no_grad()
def analytic_group_teacher():
    """The same process as :func:`analytic_teacher`, of excitation, two samples a step: one from the step before, the
    other from the first one too, through the triangle of the law of a group."""
    sizes = {"layers": 1, "cycle": 1, "residual_channels": 2, "skip_channels": 2, "linear_taps": 1, "cond_channels": 3}
    teacher = build("wavenet", contract(8), {**sizes, **FRONT, "samples_per_step": 2})
    # Means of both samples, log-scales of both, the triangle; each from the two samples of the step before.
    teacher.network.linear.weight[:2, :, 0] = torch.tensor([[SECOND, FIRST], [0.0, SECOND]])
    teacher.network.end.bias.copy_(torch.tensor([0.0, 0.0, math.log(WIDE), math.log(WIDE), FIRST]))
    return frozen(teacher)


def test_a_student_learns_from_groups_of_excitation():
    torch.manual_seed(0)
    teacher = analytic_group_teacher()
    settings = {key: value for key, value in STUDENT.items() if key != "name"}
    sizes = {**settings, **FRONT, "flows": [1, 1], "linear_taps": 16, "cond_channels": 3}
    student = build("student", contract(8), sizes)
    objective = Distillation(DistillConfig(stft=0, conditioning="own"), teacher, student)
    objective.prepare(student)
    assert objective.closed_form
    mel, optimizer, steps = torch.zeros(8, 3, 16), torch.optim.Adam(student.parameters(), 1e-2), 300
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    speech, _ = teacher.front.sound(torch.randn(8, 1, 128), teacher.front.filter(mel))
    batch = Batch(speech[:, 0], mel, ("a",) * 8)
    for step in range(steps):
        generator = torch.Generator().manual_seed(step)
        optimizer.zero_grad()
        loss, _ = objective.loss(student, batch, lambda _, generator=generator: generator)
        loss.backward()
        optimizer.step()
        schedule.step()
    long, generator = torch.zeros(4, 3, 500), torch.Generator().manual_seed(9)
    with torch.no_grad():
        draw = student.draw(standard_noise(torch.zeros(4, 4000), generator), long)
    u = draw.wav[:, 200:]
    wanted, first, second = process_moments(WIDE**2)
    assert u.var().item() == pytest.approx(wanted, rel=0.1)
    for lag, correlation in ((1, first), (2, second)):
        found = (u[:, lag:] * u[:, :-lag]).mean() / u.square().mean()
        assert found.item() == pytest.approx(correlation, abs=0.03)
    close(draw.sound, teacher.front.sound(draw.wav[:, None], teacher.front.filter(long))[0][:, 0], 1e-5)


def test_the_forward_divergence_is_the_other_way_round():
    """Both by torch's own laws, from the parameters that teacher and student give."""
    from torch.distributions import Normal, kl_divergence

    torch.manual_seed(0)
    teacher, student = analytic_teacher("gaussian", preemphasis=0.5), tiny_student("normal")
    noise, mel = torch.randn(2, 1, 32), torch.zeros(2, 3, 4)
    batch = Batch(torch.randn(2, 32), mel, ("a", "b"))
    with torch.no_grad():
        draw, prediction = student.draw(noise, mel), teacher.predict(student.draw(noise, mel).wav, mel)
        mean, log_scale = teacher.law.mean_and_log_scale(prediction.params)
        theirs = Normal((mean + prediction.shift)[:, 0], log_scale.exp()[:, 0])
        mine = Normal(draw.mean, draw.log_scale.exp())
        for direction, wanted in (("reverse", kl_divergence(mine, theirs)), ("forward", kl_divergence(theirs, mine))):
            config = DistillConfig(direction=direction, log_scale_floor=-20, stft=0)
            terms = Distillation(config, teacher, student).terms(student, batch, noise, torch.Generator())
            close(terms["kl"], wanted.mean(), 1e-4)


@pytest.fixture(scope="module")
def teacher_run(tmp_path_factory, prepared_dir):
    """A trained teacher of a few steps."""
    from audioflow.training import parse_recipe

    directory = tmp_path_factory.mktemp("teacher") / "run"
    recipe = parse_recipe({**TINY, "data": {**TINY["data"], "prepared": str(prepared_dir)}, "model": WAVENET})
    train(recipe, directory, "cpu")
    return directory


TINY = {
    "name": "tiny",
    "data": {"corpus": "sample", "segment_frames": 20, "batch_size": 2, "valid_utterances": 1, "valid_seconds": 0.3},
    "mel": "speech-16k",
    "train": {"steps": 4, "warmup_steps": 2, "log_every": 1, "validate_every": 2, "sample_every": None},
}
ALL = {"power": 1, "contrast": 0.3, "features": 1, "style": 1, "alignment": 1}


@pytest.fixture
def distilling(tiny, teacher_run):
    """A recipe with a teacher: ``distilling(stft=0)``."""

    def make(model=None, steps=4, **distill):
        data = {"segment_frames": 20, "valid_seconds": 0.3}
        fields = {"teacher": str(teacher_run), **distill}
        budget = {"steps": steps, "schedule": "constant"}  # a cosine would follow the budget
        return tiny(model={**STUDENT, **(model or {})}, train=budget, data=data, distill=fields)

    return make


def test_a_run_with_every_term(distilling, tmp_path):
    report = train(distilling(**ALL), tmp_path / "run", "cpu")
    assert (report.step, report.valid_nats_per_sample, report.best_nats_per_sample) == (4, None, None)
    assert {"valid_kl", "valid_stft", "valid_loudness", "valid_offset", "valid_voicing", "valid_score"} <= set(
        report.held_out
    )
    history = RunDirectory(tmp_path / "run").read_history()
    judged = [record for record in history if "valid_kl" in record]
    assert len({record["teacher_stft"] for record in judged}) == 1 < len(judged)
    assert all(record["valid_loudness"] != record["teacher_loudness"] for record in judged)
    steps = [record for record in history if "kl" in record]
    assert len(steps) == 4
    for term in ("kl", "scales", "stft", *ALL):
        assert all(math.isfinite(record[term]) for record in steps)
    weighted = steps[0]["kl"] * 1 + 4 * steps[0]["scales"] + sum(steps[0][term] for term in ("stft", "power"))
    weighted += sum(steps[0][term] for term in ("features", "style", "alignment")) - 0.3 * steps[0]["contrast"]
    assert steps[0]["loss"] == pytest.approx(weighted, rel=1e-5)
    student = load(tmp_path / "run")
    assert student.name == "student"
    assert not any("heads" in name for name in student.state_dict())


def test_a_resumed_run_repeats_an_unbroken_one(distilling, tmp_path):
    """The heads of the alignment are part of the state, and what is frozen stays so."""
    terms = {"alignment": 1.0, "start": "teacher"}
    whole = train(distilling(steps=4, **terms), tmp_path / "whole", "cpu")
    train(distilling(steps=2, **terms), tmp_path / "parts", "cpu")
    parts = train(distilling(steps=4, **terms), tmp_path / "parts", "cpu")
    assert parts.step == whole.step
    assert parts.held_out == pytest.approx(whole.held_out, rel=1e-6)


def test_the_teacher_lends_its_conditioning(distilling, teacher_run, tmp_path):
    train(distilling(), tmp_path / "run", "cpu")
    student, teacher = load(tmp_path / "run" / "last.safetensors"), load(teacher_run)
    for name, value in teacher.upsampler.state_dict().items():
        close(student.upsampler.state_dict()[name], value, 1e-6)
    train(distilling(conditioning="own"), tmp_path / "own", "cpu")
    own = load(tmp_path / "own" / "last.safetensors").upsampler.state_dict()
    assert any(not torch.allclose(own[name], value) for name, value in teacher.upsampler.state_dict().items())


def test_the_teacher_lends_its_layers(teacher_run):
    teacher = frozen(load(teacher_run))
    student = build("student", teacher.contract, {key: value for key, value in STUDENT.items() if key != "name"})
    take_over(student, teacher, conditioning=True, layers=True)
    for network in student.networks:
        for layer in range(2):
            mine, theirs = network.stack.convolutions[layer], teacher.network.stack.convolutions[layer]
            close(mine.weight, theirs.weight, 1e-6)
            close(mine.bias, theirs.bias, 1e-6)
        close(network.stack.condition.weight, teacher.network.stack.condition.weight, 1e-6)


def test_a_student_that_runs_away_is_stopped(distilling, monkeypatch, tmp_path):
    whole = Distillation.terms

    def loud(self, *given):
        return {**whole(self, *given), "loudness": torch.tensor(1e3)}

    monkeypatch.setattr(Distillation, "terms", loud)
    with pytest.raises(TrainingError, match=r"1000 times as loud.*run away"):
        train(distilling(), tmp_path / "run", "cpu")


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"teacher": None}, TrainingError, "needs a teacher"),
        ({"teacher": "nowhere"}, CheckpointError, "nowhere"),
        ({"model": {"residual_channels": 6}, "start": "teacher"}, TrainingError, "gated layers have the shape"),
        ({"model": {"upsampler": "transposed"}}, TrainingError, "upsampler has not the shape"),
        ({"model": {"speakers": 3}}, TrainingError, "0 speakers, but model.speakers is 3"),
    ],
)
def test_what_does_not_suit_is_refused(changes, error, message, distilling, tmp_path):
    with pytest.raises(error, match=message):
        train(distilling(**changes), tmp_path / "run", "cpu")


def test_other_teachers_are_refused(distilling, tiny, tmp_path):
    data = {"segment_frames": 20}
    train(tiny(model={**WAVENET, "head": "mu_law"}, train={"steps": 1}, data=data), tmp_path / "classes", "cpu")
    with pytest.raises(TrainingError, match="mu_law, whose classes have no gradient"):
        train(distilling(teacher=str(tmp_path / "classes")), tmp_path / "run", "cpu")
    mixture = {**WAVENET, "head": "logistic_mixture", "components": 2}
    train(tiny(model=mixture, train={"steps": 1}, data=data), tmp_path / "mixture", "cpu")
    with pytest.raises(TrainingError, match="forward needs a gaussian"):
        train(distilling(teacher=str(tmp_path / "mixture"), direction="forward"), tmp_path / "run2", "cpu")
    report = train(distilling(teacher=str(tmp_path / "mixture"), contrast=0.3), tmp_path / "run3", "cpu")
    assert math.isfinite(report.held_out["valid_kl"])
    train(distilling(), tmp_path / "student", "cpu")
    with pytest.raises(TrainingError, match="holds a student, but a teacher is a wavenet"):
        train(distilling(teacher=str(tmp_path / "student")), tmp_path / "run4", "cpu")


def test_the_command(distilling, teacher_run, tmp_path):
    from audioflow.training import recipe_text

    recipe = distilling()
    path = tmp_path / "student.yaml"
    path.write_text(
        recipe_text(recipe.model_copy(update={"distill": recipe.distill.model_copy(update={"teacher": None})}))
    )
    run = CliRunner().invoke
    done = run(
        main,
        ["distill", str(path), f"teacher={teacher_run}", "--out", str(tmp_path / "run"), "--device", "cpu", "--json"],
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout.splitlines()[-1])["step"] == 4
    shown = run(
        main, ["distill", str(path), f"teacher={teacher_run}", "--out", str(tmp_path / "run"), "--device", "cpu"]
    )
    assert "nats a sample from the teacher" in shown.output
    for command, words in (
        (["distill", str(path)], "needs a teacher"),
        (["train", str(path)], "use audioflow distill"),
    ):
        refused = run(main, [*command, "--out", str(tmp_path / "other"), "--device", "cpu"])
        assert (refused.exit_code, words in refused.output) == (2, True), refused.output
