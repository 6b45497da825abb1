"""Reproduce: from the manifest alone; what differs is named, nothing there is written over."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import changed, jsonl, make_run, maker, recipe
from tools.data.prepare import prepare
from tools.errors import UserError
from tools.files import digest, read_json, write_json
from tools.rebuild.comparison import Comparison, Figure
from tools.rebuild.reproduce import ADAPTER, MARK, REPLAY, _recipes, chain_of, reproduce
from tools.rebuild.verify import verify
from tools.recipe.load import load
from tools.recipe.schema import Axis, Soup, Sweep
from tools.run import provenance
from tools.run.exports import exported
from tools.run.folder import SOUP, STAGES, SWEEP, Run
from tools.run.provenance import Manifest

ALL = [name for name in STAGES if name not in (SWEEP, SOUP) and not exported(name)]
SOUPED = [*ALL[:2], SOUP, *ALL[2:]]


@pytest.fixture(autouse=True)
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of our own to work in: no recipes there, no cache."""
    monkeypatch.chdir(tmp_path)


def make(run: Run, stage: str) -> None:
    """Real rows; every other stage a file that depends on the recipe and what is upstream."""
    if stage == "data":
        prepare(run)
        return
    before = [run.output(up) / ADAPTER for up in STAGES[stage].upstream]
    rows = (run.output("data") / "train.jsonl").read_text()
    read = [path.read_text() for path in before if path.is_file()]
    content = digest([rows, read, run.inputs(stage)["recipe"]])
    with run.produce(stage) as work:
        (work.folder / ADAPTER).write_text(content)
        (work.folder / "README.md").write_text(str(run.path))
        (work.folder / "adapter_config.json").write_text("{}")
        if stage == "train":
            work.note(steps=7, eval_loss=1.5)
        if stage.startswith("eval"):
            work.note(scores={"oneday": 0.5})


def made(root: Path, stages: list[str] = ALL, **values: Any) -> Run:
    run = make_run(root, **values)
    for stage in stages:
        make(run, stage)
    return run


def rows_of(tmp_path: Path) -> dict[str, Any]:
    """A recipe with a file of the user's own."""
    file = tmp_path / "mine.jsonl"
    rows = [{"prompt": f"{n} + 1 =", "completion": f" {n + 1}"} for n in range(30)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"data__sources": {"counting": maker("counting"), "mine": jsonl(file)}}


def alone(run: Run, folder: Path) -> Path:
    """The manifest, and nothing else of a run."""
    folder.mkdir()
    shutil.copy(run.path / "manifest.json", folder)
    shutil.rmtree(run.path)
    return folder


def named(found: Comparison, kind: str) -> list[tuple[str, str, str]]:
    return [(d.what, d.then, d.now) for d in found.differences if d.kind == kind]


def test_a_run_is_rebuilt_from_its_manifest_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = alone(made(tmp_path / "runs", **rows_of(tmp_path)), tmp_path / "published")
    found = reproduce(folder, tmp_path / "again", make)
    assert (found.verdict, found.exit_code, found.differences) == ("identical", 0, [])
    said = capsys.readouterr().out
    assert "inputs: the same" in said
    assert {row.stage for row in found.rows} == {"data", "train", "merge", "quantize"}
    changed_files = {row.file for row in found.rows if not row.same}
    assert changed_files == {"README.md"}, "a card names its folder, and does not count"
    assert [figure.name for figure in found.figures] == ["eval_loss", "eval_base", "eval_tuned"]
    assert "verdict: identical" in found.render()
    json.dumps(found.as_json(), allow_nan=False)
    again = Manifest(tmp_path / "again")
    assert [record["stage"] for record in again.stages] == ALL


def test_the_recipe_is_written_as_a_recipe(tmp_path: Path) -> None:
    from tools.recipe.load import load

    folder = alone(made(tmp_path / "runs", ["data"]), tmp_path / "published")
    reproduce(folder, tmp_path / "again", make)
    stored = load(tmp_path / "again" / "recipe.yaml").recipe
    assert dataclasses.replace(stored, name="tiny") == recipe()


def test_only_what_was_made_is_made(tmp_path: Path) -> None:
    folder = made(tmp_path / "runs", ["data", "train"]).path
    found = reproduce(folder, tmp_path / "again", make)
    assert found.verdict == "identical"
    assert [r["stage"] for r in Manifest(tmp_path / "again").stages] == ["data", "train"]


def test_a_changed_row_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = made(tmp_path / "runs", ["data", "train"], **rows_of(tmp_path))
    file = tmp_path / "mine.jsonl"
    file.write_text(file.read_text().replace('"7 + 1 ="', '"7 + one ="'))
    found = reproduce(run.path, tmp_path / "again", make)
    ((what, then, now),) = named(found, "data file")
    assert what == "mine" and then == run.inputs("data")["files"]["mine"] != now
    (note,) = found.notes
    lines = [
        (folder / "data" / "train.jsonl").read_text().splitlines()
        for folder in (run.path, tmp_path / "again")
    ]
    differing = [at + 1 for at, pair in enumerate(zip(*lines, strict=True)) if len({*pair}) == 2]
    listed = ", ".join(map(str, differing[:5]))
    assert (
        differing and f"data/train.jsonl holds other rows than are made now: row {listed}" in note
    )
    assert found.verdict == "different" and found.exit_code == 1
    said = capsys.readouterr().out
    assert said.index("data file") < said.index(note)
    assert named(found, "recipe") == []


def test_a_row_edited_in_the_first_run_is_named(tmp_path: Path) -> None:
    run = made(tmp_path / "runs", ["data", "train"])
    file = run.output("data") / "validation.jsonl"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:-1], lines[-1].replace('"', "'")]) + "\n")
    found = reproduce(run.path, tmp_path / "again", make)
    assert found.verdict == "identical", "the manifest's rows are made, not the edited ones"
    assert (
        f"validation.jsonl holds other rows than are made now: row {len(lines)} (1 of"
        in (found.notes[0])
    )


def test_a_changed_version_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = made(tmp_path / "runs", ["data", "train"])
    packages = provenance.packages()
    other = {**packages, "torch": "0.1", "new": "1"}
    del other["numpy"]
    monkeypatch.setattr(provenance, "packages", lambda: other)
    found = reproduce(run.path, tmp_path / "again", make)
    assert named(found, "version") == [
        ("numpy", packages["numpy"], "absent"),
        ("torch", packages["torch"], "0.1"),
        ("new", "absent", "1"),
    ]
    assert found.verdict == "identical", "another version that makes the same bytes is no fault"
    assert f"torch  {packages['torch']} then, 0.1 now" in found.render()


@pytest.mark.parametrize("by_name", [True, False])
def test_a_changed_key_of_the_recipe_is_named(by_name: bool, tmp_path: Path) -> None:
    from omegaconf import OmegaConf

    run = made(tmp_path / "runs", ["data", "train"])
    now = dataclasses.asdict(changed(recipe(), "data.shots", 2))
    del now["name"]
    now["train"] = {"adapter": "lora", "learning_rate": 5e-4, "lora_r": 8}
    file = tmp_path / ("recipes/tiny.yaml" if by_name else "mine.yaml")
    file.parent.mkdir(exist_ok=True)
    file.write_text(OmegaConf.to_yaml(now))
    found = reproduce(run.path, tmp_path / "again", make, None if by_name else file)
    assert named(found, "recipe") == [
        ("data.shots", "3", "2"),
        ("train.learning_rate", "0.001", "0.0005"),
        ("train.lora_r", "absent", "8"),
    ]
    assert found.verdict == "identical", "the manifest's recipe is made, not the present one"


def test_what_looks_like_a_reference_is_written_as_none(tmp_path: Path) -> None:
    run = made(tmp_path / "runs", ["data"], train={"adapter": "lora", "wandb_name": "${price}"})
    reproduce(run.path, tmp_path / "again", make)
    text = (tmp_path / "again" / "recipe.yaml").read_text(encoding="utf-8")
    assert "  wandb_name: \\${price}\n" in text


def test_a_broken_recipe_does_not_keep_the_manifest_from_being_rebuilt(tmp_path: Path) -> None:
    run = made(tmp_path / "runs", ["data"])
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "tiny.yaml").write_text("defaults: [gone]\n")
    found = reproduce(run.path, tmp_path / "again", make)
    assert found.verdict == "identical"
    assert found.notes[0].startswith("recipes/tiny.yaml: not compared, for it has faults: ")


def test_changed_code_and_another_machine_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance, "code", lambda: {"sha256": "a" * 64})
    run = made(tmp_path / "runs", ["data"])
    new = {"sha256": "b" * 64, "commit": "c" * 40, "dirty": True}
    machine = {**provenance.machine("cpu"), "cpu": "another", "cards": [{"driver": "1"}]}
    monkeypatch.setattr(provenance, "code", lambda: new)
    monkeypatch.setattr(provenance, "machine", lambda device: machine)
    found = reproduce(run.path, tmp_path / "again", make)
    assert named(found, "code") == [
        ("tools, serve", "(aaaaaaaaaaaa)", "commit cccccccccccc edited (bbbbbbbbbbbb)")
    ]
    assert [what for what, _, _ in named(found, "machine")] == ["cpu", "cards[0].driver"]


def test_the_same_code_in_another_commit_is_no_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made(tmp_path / "runs", ["data"])
    monkeypatch.setattr(provenance, "code", lambda: {"sha256": CODE["sha256"], "commit": "c" * 40})
    assert reproduce(run.path, tmp_path / "again", make).differences == []


CODE = provenance.code()


def test_a_changed_file_of_the_model_is_named(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.safetensors").write_text("weights")
    run = made(tmp_path / "runs", ["data", "train"], model__path=str(model))
    (model / "model.safetensors").write_text("Weights")
    found = reproduce(run.path, tmp_path / "again", make)
    assert [what for what, _, _ in named(found, "model file")] == ["model.safetensors"]


def test_differences_are_named_before_the_long_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = made(tmp_path / "runs", ["data", "train"])
    monkeypatch.setattr(provenance, "packages", lambda: {})

    def watched(run: Run, stage: str) -> None:
        if stage == "train":
            assert "inputs that differ" in capsys.readouterr().out
            raise KeyboardInterrupt
        make(run, stage)

    with pytest.raises(KeyboardInterrupt):
        reproduce(run.path, tmp_path / "again", watched)


def test_what_a_sweep_found_is_no_edit_of_the_recipe(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text(
        "defaults: [cpu]\nsweep: {trials: 2, rungs: 1, axes: {train.lora_r: {values: [8, 64]}}}\n"
    )
    asked = load(file).recipe
    assert asked.sweep
    sweep = dataclasses.replace(asked.sweep, chosen={"train.lora_r": 64}, work="a" * 64)
    stored = dataclasses.replace(asked, sweep=sweep, train={**asked.train, "lora_r": 64})
    found = Comparison("runs/my", "again")
    assert _recipes(stored, file, found) == []
    changed = dataclasses.replace(stored, train={**stored.train, "seed": 5})
    assert [one.what for one in _recipes(changed, file, found)] == ["train.seed"]


def test_an_interrupted_rebuild_goes_on(tmp_path: Path) -> None:
    run = made(tmp_path / "runs", ["data", "train", "merge"])
    calls = []

    def counted(run: Run, stage: str) -> None:
        calls.append(stage)
        if stage == "merge" and len(calls) == 3:
            raise KeyboardInterrupt
        make(run, stage)

    with pytest.raises(KeyboardInterrupt):
        reproduce(run.path, tmp_path / "again", counted)
    assert reproduce(run.path, tmp_path / "again", counted).verdict == "identical"
    assert calls == ["data", "train", "merge", "merge"]


def _foreign(into: Path) -> None:
    into.mkdir()
    (into / "thesis.txt").write_text("mine")


def _another_rebuild(into: Path) -> None:
    into.mkdir()
    write_json(into / MARK, {"manifest": "of another run"})


def _file(into: Path) -> None:
    into.write_text("mine")


@pytest.mark.parametrize("prepared", [_foreign, _another_rebuild, _file])
def test_what_is_there_is_never_written_over(
    prepared: Callable[[Path], None], tmp_path: Path
) -> None:
    run, into = made(tmp_path / "runs", ["data"]), tmp_path / "again"
    prepared(into)
    before = sorted(into.rglob("*"))
    with pytest.raises(UserError, match=r"again: (is a file|holds something else); give INTO="):
        reproduce(run.path, into, make)
    assert sorted(into.rglob("*")) == before


def test_a_run_is_not_rebuilt_over_itself(tmp_path: Path) -> None:
    run = made(tmp_path / "runs", ["data"])
    with pytest.raises(UserError, match="holds something else"):
        reproduce(run.path, run.path, make)


@pytest.mark.parametrize(
    "schedule",
    [{"planned": 9, "stop": 5, "evaluated": True, "pressed": [[3, 0.5]]}, None],
)
def test_the_clock_is_replayed(schedule: dict[str, Any] | None, tmp_path: Path) -> None:
    def trained(run: Run, stage: str) -> None:
        if stage != "train":
            return make(run, stage)
        seen.append(read_json(run.path / REPLAY))
        with run.produce(stage) as work:
            (work.folder / ADAPTER).write_text("x")
            if schedule:
                write_json(work.folder / "schedule.json", schedule)
            work.note(steps=5)

    seen: list[Any] = []
    run = make_run(tmp_path / "runs")
    for stage in ("data", "train"):
        trained(run, stage)
    assert reproduce(run.path, tmp_path / "again", trained).verdict == "identical"
    plain = {"planned": 5, "stop": 5, "evaluated": True, "pressed": []}
    assert seen == [None, schedule or plain]


def test_a_replay_has_the_form_that_training_reads(tmp_path: Path) -> None:
    from tools.day import schedule

    run = made(tmp_path / "runs", ["data", "train"])
    reproduce(run.path, tmp_path / "again", make)
    record = schedule.read(tmp_path / "again" / REPLAY)
    assert not schedule.matters(schedule.record(schedule.ByRecord(record), 7, 7, True), True)


def elsewhere(run: Run, stage: str) -> None:
    """A machine that rounds in another way."""
    make(run, stage)
    if stage in ("train", "merge"):
        with run.produce(stage) as work:
            (work.folder / ADAPTER).write_text("other bytes")
            (work.folder / "README.md").write_text("card")
            (work.folder / "adapter_config.json").write_text("{}")
            work.note(eval_loss=1.501, steps=7)


@pytest.mark.parametrize(
    ("apart", "verdict", "code"), [(0.01, "equivalent", 0), (9, "different", 1)]
)
def test_other_bytes_are_judged_by_logits(
    apart: float, verdict: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made(tmp_path / "runs", ["data", "train", "merge"])
    seen = []

    def measured(run: Run, then: Path, now: Path) -> Figure:
        seen.append((then, now))
        return Figure("logits", "", apart, 0.1)

    monkeypatch.setattr("tools.rebuild.likeness.logits", measured)
    found = reproduce(run.path, tmp_path / "again", elsewhere)
    assert seen == [(run.output("train"), tmp_path / "again" / "adapter")]
    assert (found.verdict, found.exit_code) == (verdict, code)
    assert [figure.name for figure in found.figures] == ["logits", "eval_loss"]


@pytest.mark.parametrize("case", ["the manifest alone", "an adapter that was changed"])
def test_without_the_first_adapter_the_records_are_compared(case: str, tmp_path: Path) -> None:
    run = made(tmp_path / "runs", ["data", "train", "merge"])
    folder = run.path
    if case == "the manifest alone":
        folder = alone(run, tmp_path / "published")
    else:
        (run.output("train") / ADAPTER).write_text("edited")
    found = reproduce(folder, tmp_path / "again", elsewhere)
    assert found.verdict == "equivalent"
    assert [figure.name for figure in found.figures] == ["eval_loss"]
    assert "not what the first run trained: logits not compared" in found.notes[0]


@pytest.mark.parametrize("whole", [True, False])
def test_models_that_were_trained_whole_are_compared(
    whole: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In as many files as there are, where the first run's are there."""
    files = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]

    def trained(run: Run, stage: str) -> None:
        if stage != "train":
            return make(run, stage)
        with run.produce(stage) as work:
            for name in [*files, "config.json"]:
                (work.folder / name).write_text(f"{name} of {run.recipe.name}")
            work.note(eval_loss=1.5, steps=7)

    run = make_run(tmp_path / "runs")
    for stage in ("data", "train"):
        trained(run, stage)
    if not whole:
        (run.output("train") / files[1]).unlink()
    seen: list[Path] = []

    def logits(again: Run, then: Path, now: Path) -> Figure:
        seen.append(then)
        return Figure("logits", "", 0.01, 0.1)

    monkeypatch.setattr("tools.rebuild.likeness.logits", logits)
    found = reproduce(run.path, tmp_path / "again", trained)
    assert seen == ([run.output("train")] if whole else [])
    assert len(found.notes) == (0 if whole else 1)


def test_an_evaluation_that_cannot_be_made_is_a_note(tmp_path: Path) -> None:
    run = made(tmp_path / "runs")

    def without_helm(run: Run, stage: str) -> None:
        if stage.startswith("eval"):
            raise UserError("HELM is not installed")
        make(run, stage)

    found = reproduce(run.path, tmp_path / "again", without_helm)
    assert found.notes == [f"{s}: not made: HELM is not installed" for s in ALL if "eval" in s]
    assert found.verdict == "identical"


def test_another_fault_ends_the_rebuild(tmp_path: Path) -> None:
    run = made(tmp_path / "runs", **rows_of(tmp_path))
    (tmp_path / "mine.jsonl").unlink()
    with pytest.raises(UserError, match=r"data\.sources\.mine\.path: no file"):
        reproduce(run.path, tmp_path / "again", make)


def test_the_newest_stages_that_belong_together_are_rebuilt(tmp_path: Path) -> None:
    first = made(tmp_path, ["data", "train", "merge", "quantize"])
    other = made(tmp_path, ["data", "train"], data__seed=2)
    chain = chain_of(Manifest(tmp_path / "tiny"))
    assert list(chain) == ["data", "train"]
    assert chain["train"]["fingerprint"] == other.fingerprint("train")
    make(other, "merge")
    assert list(chain_of(Manifest(tmp_path / "tiny"))) == ["data", "train", "merge"]
    made(tmp_path, ["data", "train", "merge", "quantize"])
    chain = chain_of(Manifest(tmp_path / "tiny"))
    assert chain["quantize"]["fingerprint"] == first.fingerprint("quantize") and len(chain) == 4


def test_an_export_is_not_rebuilt(tmp_path: Path) -> None:
    """It is the user's own wish, no part of the chain, and asks for another environment."""
    run = made(tmp_path, [*ALL, "gguf_Q8_0"])
    assert list(chain_of(Manifest(run.path))) == ALL


def test_what_was_searched_for_is_not_searched_again(tmp_path: Path) -> None:
    """The winner's values are in the recipe of what was trained."""
    run = made(tmp_path, ["data", SWEEP, *ALL[1:]])
    assert list(chain_of(Manifest(run.path))) == ALL


def test_a_soup_is_made_again(tmp_path: Path) -> None:
    folder = alone(made(tmp_path / "runs", SOUPED, soup=Soup(checkpoints=2)), tmp_path / "away")
    found = reproduce(folder, tmp_path / "again", make)
    assert found.verdict == "identical"
    assert [one["stage"] for one in Manifest(tmp_path / "again").stages] == SOUPED


def test_a_soup_that_the_recipe_has_no_more_is_not(tmp_path: Path) -> None:
    made(tmp_path, [*ALL[:2], SOUP], soup=Soup(adapters={"x": "nowhere"}))
    made(tmp_path, ["merge"])
    assert list(chain_of(Manifest(tmp_path / "tiny"))) == ["data", "train", "merge"]


def of_trials(root: Path) -> Run:
    """A run whose soup has an adapter of its sweep's trials in it."""
    asked = Sweep({"train.lora_r": Axis(values=[8, 16])})
    values: dict[str, Any] = {"soup": Soup(trials=1)}
    run = made(root, ["data"], sweep=asked, **values)
    with run.produce(SWEEP) as work:
        (work.folder / "members" / "003").mkdir(parents=True)
        (work.folder / "members" / "003" / ADAPTER).write_text("trained to the last rung")
    found = dataclasses.replace(asked, chosen={}, work=run.fingerprint(SWEEP))
    return made(root, SOUPED[1:], sweep=found, **values)


def test_adapters_of_trials_are_taken_from_the_first_run(tmp_path: Path) -> None:
    run = of_trials(tmp_path / "runs")
    found = reproduce(run.path, tmp_path / "again", make)
    assert found.verdict == "identical"
    copied = tmp_path / "again" / "sweep" / "members" / "003" / ADAPTER
    assert copied.read_text() == "trained to the last rung"
    assert verify(tmp_path / "again") == [] == verify(run.path)


@pytest.mark.parametrize("case", ["gone", "edited"])
def test_and_it_is_said_where_they_are_not_there(case: str, tmp_path: Path) -> None:
    run = of_trials(tmp_path / "runs")
    if case == "gone":
        shutil.rmtree(run.output(SWEEP))
    else:
        (run.output(SWEEP) / "members" / "003" / ADAPTER).write_text("another")
    with pytest.raises(UserError, match=r"003/adapter_model\.safetensors is not there as it was"):
        reproduce(run.path, tmp_path / "again", make)
    assert not (tmp_path / "again" / "data").exists(), "told before anything is made"


def test_where_nothing_is_quantized_the_evaluation_is_of_the_merged_model(tmp_path: Path) -> None:
    stages = ["data", "train", "merge", "eval_tuned"]
    made(tmp_path, stages, quantize__format="none")
    assert list(chain_of(Manifest(tmp_path / "tiny"))) == stages


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda value: value["stages"].clear(), "no stage is recorded there"),
        (lambda value: value["stages"][0].pop("provenance"), "holds no whole recipe"),
        (lambda value: next(iter(value["contents"].values())).pop("data"), "it was edited"),
        (lambda value: value["contents"].clear(), r"its recipe \(\w{12}\) is missing"),
    ],
)
def test_a_manifest_that_does_not_tell_enough(
    edit: Callable[[Any], Any], said: str, tmp_path: Path
) -> None:
    run = made(tmp_path / "runs", ["data"])
    value = read_json(run.path / "manifest.json")
    edit(value)
    write_json(run.path / "manifest.json", value)
    with pytest.raises(UserError, match=said):
        reproduce(run.path, tmp_path / "again", make)
    assert not (tmp_path / "again").exists()


def test_a_recipe_of_another_version_is_told(tmp_path: Path) -> None:
    run = made(tmp_path / "runs", ["data"])
    value = read_json(run.path / "manifest.json")
    kept = {digest(content): content for content in value["contents"].values()}
    (stored,) = [content for content in kept.values() if "data" in content]
    del stored["data"]["shots"]
    value["contents"] = {digest(content): content for content in kept.values()}
    value["stages"][0]["provenance"]["recipe"] = digest(stored)
    write_json(run.path / "manifest.json", value)
    with pytest.raises(UserError, match=r"does not suit this version: data\.shots: Field required"):
        reproduce(run.path, tmp_path / "again", make)
