"""The run folder: what makes a stage run again, and that no crash leaves half a result."""

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serve.config import Rule
from tests.tiny import changed, jsonl, make_run, recipe
from tools.errors import StageError, UserError
from tools.recipe.operators.declared import Dedup
from tools.recipe.schema import Architecture, Axis, Soup, Sweep, WeightedAdapter
from tools.run.exports import exported
from tools.run.folder import RECORD, SOUP, STAGES, SWEEP, Run

EXPORTS = {name for name in STAGES if exported(name)}
ALL = set(STAGES) - EXPORTS
EVALS = {"eval_base", "eval_tuned"}

# Which stages an edit touches: of a section, or of one value where that differs.
TOUCHED: dict[str, set[str]] = {
    "budget": set(),
    "hardware": set(),
    "model": ALL - {"data"},
    "data": ALL,
    "train": ALL - {"data", "eval_base"},
    "merge": {"merge", "quantize", "eval_tuned"},
    "merge.method": {SOUP, "merge", "quantize", "eval_tuned"},
    "quantize": {"quantize", "eval_tuned"},
    "serve": set(),
    "serve.engine": EVALS,
    "serve.context": EVALS,
    "serve.overflow": EVALS,
    "serve.dtype": EVALS,
    "serve.parse_special": EVALS,
    "serve.deterministic": EVALS,
    "serve.adapters": EVALS,
    "serve.rules": EVALS,
    "serve.capital_letters": EVALS,
    "serve.weights": {"eval_tuned"},
    "eval": set(),
    "eval.tier": EVALS,
    "eval.tiers": EVALS,
    "eval.max_instances": EVALS,
    "publish": set(),
    "sweep": {SWEEP},
    "soup": {SOUP, "merge", "quantize", "eval_tuned"},
    "name": set(),
}


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    for field in dataclasses.fields(tree):
        value, name = getattr(tree, field.name), f"{path}{field.name}"
        if dataclasses.is_dataclass(value):
            yield from leaves(value, f"{name}.")
        else:
            yield name, value


def other(value: Any) -> Any:
    """Another value of about the same kind."""
    if value is None:
        return Sweep({"train.lora_r": Axis(values=[8, 16])})
    if value == {}:
        return {"x": "other"}
    if isinstance(value, dict):
        first = next(iter(value))
        new = changed(value[first], "rows", 31) if first == "counting" else "other"
        return {**value, first: new}
    if isinstance(value, list):
        return [*value, "x"]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return f"{value}x"


#: What a format was chosen by: whoever names the same one has made the same model.
SILENT = {"quantize.need", "quantize.chosen"}
LEAVES = [
    (path, value) for path, value in leaves(recipe()) if path not in {"hardware.device", *SILENT}
]


@pytest.mark.parametrize(("path", "value"), LEAVES, ids=[path for path, _ in LEAVES])
def test_an_edit_touches_the_right_stages(path: str, value: Any, tmp_path: Path) -> None:
    new = {
        "data.operators": [{"dedup": Dedup()}],
        "model.arch": Architecture(64, 2, 128, 256, 4, 4, tied=True),
        "merge.adapters": {"own": WeightedAdapter(0.5)},
        "serve.rules": {"x": Rule(cut=["y"])},
        "soup": Soup(adapters={"x": "y"}),
    }.get(path) or other(value)
    before, after = Run(recipe(), tmp_path), Run(changed(recipe(), path, new), tmp_path)
    touched = {name for name in STAGES if before.fingerprint(name) != after.fingerprint(name)}
    assert touched - EXPORTS == TOUCHED.get(path, TOUCHED[path.partition(".")[0]])
    assert touched & EXPORTS == (EXPORTS if "merge" in touched else set())


def test_a_recipe_without_operators_has_the_inputs_it_had(tmp_path: Path) -> None:
    inputs = Run(recipe(), tmp_path).inputs("data")
    assert "operators" not in inputs["recipe"]["data"]
    assert "operators" not in inputs["recipe"]["data"]["sources"]["counting"]
    assert inputs.keys() == {"oneday", "recipe", "upstream", "versions", "files"}


def test_the_device_touches_the_evals(tmp_path: Path) -> None:
    before, after = Run(recipe(), tmp_path), Run(recipe(hardware__device="cuda"), tmp_path)
    assert all(before.fingerprint(name) != after.fingerprint(name) for name in EVALS)
    assert before.fingerprint("data") == after.fingerprint("data")


def test_a_newer_key_that_says_nothing_is_no_other_run(tmp_path: Path) -> None:
    """A run that was made before there were weights and orders is still done."""
    told = Run(recipe(), tmp_path).inputs("data")["recipe"]["data"]
    assert told.keys() == {
        "sources", "seed", "shots", "validation_rows", "test_rows", "max_words",
    }  # fmt: skip
    assert told["sources"]["counting"].keys() == {
        "kind", "path", "licence", "origin", "rows", "prompt", "completion", "subset", "split",
        "revision",
    }  # fmt: skip
    source = recipe().data.sources["counting"]
    for key, value in {"weight": 2.0, "difficulty": "level"}.items():
        other = recipe(data__sources={"counting": changed(source, key, value)})
        told = Run(other, tmp_path).inputs("data")["recipe"]["data"]["sources"]["counting"]
        assert told[key] == value
    told = Run(recipe(), tmp_path).inputs("eval_tuned")["recipe"]
    assert "serve.rules" in told and "serve.capital_letters" not in told
    other = recipe(data__order="listed")
    assert Run(other, tmp_path).inputs("data")["recipe"]["data"]["order"] == "listed"


@pytest.mark.parametrize("key", ["prefill_tokens", "max_batch", "port"])
def test_the_shape_of_a_step_counts_where_there_is_one(key: str, tmp_path: Path) -> None:
    """In low precision an answer of ``serve.deterministic`` is that of its steps' shape."""
    mine = recipe(serve__deterministic=True)
    before = Run(mine, tmp_path)
    after = Run(changed(mine, f"serve.{key}", 16), tmp_path)
    touched = {name for name in STAGES if before.fingerprint(name) != after.fingerprint(name)}
    assert touched == (set() if key == "port" else EVALS)


@pytest.mark.parametrize("name", sorted(EVALS))
def test_an_evaluation_made_without_that_switch_stays_done(name: str, tmp_path: Path) -> None:
    """What was in a fingerprint before ``serve.deterministic`` was looked at, and no more."""
    keys = set(Run(recipe(), tmp_path).inputs(name)["recipe"])
    served = {"engine", "dtype", "context", "overflow", "parse_special", "adapters", "rules"}
    own = {"model"} if name == "eval_base" else {"serve.weights"}
    assert keys == {"eval", "hardware.device", *own, *(f"serve.{key}" for key in served)}


def test_fingerprints_know_no_folder(tmp_path: Path) -> None:
    one, two = Run(recipe(), tmp_path / "a"), Run(recipe(), tmp_path / "b")
    assert all(one.fingerprint(name) == two.fingerprint(name) for name in STAGES)


def test_an_edited_row_touches_every_stage(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    mine = recipe(data__sources={"mine": jsonl(file)})
    file.write_text('{"prompt": "1 + 1 =", "completion": " 2"}\n')
    before = {name: Run(mine, tmp_path).fingerprint(name) for name in STAGES}
    file.write_text('{"prompt": "1 + 1 =", "completion": " 3"}\n')
    after = {name: Run(mine, tmp_path).fingerprint(name) for name in STAGES}
    assert all(before[name] != after[name] for name in STAGES)


def test_a_missing_data_file_is_named(tmp_path: Path) -> None:
    run = Run(recipe(data__sources={"mine": jsonl(tmp_path / "gone.jsonl")}), tmp_path)
    with pytest.raises(UserError, match=r"data\.sources\.mine\.path: no file .*gone\.jsonl"):
        run.fingerprint("train")


@pytest.mark.parametrize("package", ["torch", "axolotl"])
def test_another_version_of_a_package_touches_its_stages(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {name: Run(recipe(), tmp_path).fingerprint(name) for name in STAGES}
    monkeypatch.setattr(
        "tools.run.folder._version", lambda name: "0" if name == package else _version(name)
    )
    touched = {name for name in STAGES if Run(recipe(), tmp_path).fingerprint(name) != before[name]}
    assert touched - EXPORTS == (ALL - {"data"} if package == "torch" else TOUCHED["train"])


def _version(name: str) -> str:
    import importlib.metadata

    return importlib.metadata.version(name)


def make(run: Run, text: str, name: str = "train") -> None:
    with run.produce(name) as work:
        (work.folder / "a").mkdir()
        (work.folder / "a" / "b.txt").write_text(text)
        work.note(words=1)


def content(run: Run, name: str = "train") -> str:
    return (run.output(name) / "a" / "b.txt").read_text()


def hidden(run: Run) -> set[str]:
    return {path.name for path in run.path.glob(".*")}


def test_a_whole_result(tmp_path: Path) -> None:
    run = Run(recipe(), tmp_path)
    assert not run.done("train") and run.record("train") is None and run.manifest() == []
    make(run, "one")
    assert run.done("train") and content(run) == "one" and hidden(run) == set()
    record = run.record("train")
    assert record is not None
    assert list(record["outputs"]) == ["a/b.txt"]
    assert record["outputs"]["a/b.txt"]["size"] == 3
    assert record["metrics"] == {"words": 1}
    assert record["inputs"]["upstream"] == {"data": run.fingerprint("data")}
    assert run.manifest() == [record]
    assert Run(recipe(), tmp_path).done("train")


def test_an_exception_leaves_the_previous_result_whole(tmp_path: Path) -> None:
    old, new = Run(recipe(), tmp_path), Run(recipe(data__seed=2), tmp_path)
    make(old, "old")
    with pytest.raises(ZeroDivisionError), new.produce("train") as work:
        (work.folder / "half").write_text("x")
        raise ZeroDivisionError
    assert old.done("train") and content(old) == "old"
    assert not new.done("train") and hidden(new) == set() and len(new.manifest()) == 1


def test_a_partial_folder_is_never_done_nor_used(tmp_path: Path) -> None:
    run = Run(recipe(), tmp_path)
    partial = run.path / ".merged.partial"
    partial.mkdir(parents=True)
    (partial / "half").write_text("x")
    assert not Run(recipe(), tmp_path).done("merge")
    with run.produce("merge") as work:
        assert work.folder == partial and not (work.folder / "half").exists()


@pytest.mark.parametrize("damage", ["truncate", "delete", "replace by a folder"])
def test_a_damaged_output_is_not_done(damage: str, tmp_path: Path) -> None:
    run = Run(recipe(), tmp_path)
    make(run, "one")
    file = run.output("train") / "a" / "b.txt"
    file.unlink()
    if damage == "truncate":
        file.write_text("on")
    if damage == "replace by a folder":
        file.mkdir()
    assert not run.done("train")
    make(run, "two")
    assert run.done("train") and content(run) == "two"


def test_a_folder_without_its_record_is_not_done(tmp_path: Path) -> None:
    run = Run(recipe(), tmp_path)
    make(run, "one")
    (run.output("train") / RECORD).write_text('{"stage": "tr')
    assert not run.done("train")


class Crash(BaseException):
    """The power fails."""


def crash_after(monkeypatch: pytest.MonkeyPatch, operations: int) -> None:
    """Let that many renames and removals happen, then none."""
    left = [operations]
    for owner, name in ((Path, "rename"), (Path, "replace"), (shutil, "rmtree")):
        real = getattr(owner, name)

        def limited(*args: Any, real: Any = real, **kwargs: Any) -> Any:
            if left[0] == 0:
                raise Crash
            left[0] -= 1
            return real(*args, **kwargs)

        monkeypatch.setattr(owner, name, limited)


@pytest.mark.parametrize("operations", range(6))
def test_a_crash_at_any_moment_leaves_one_whole_result(
    operations: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = Run(recipe(), tmp_path), Run(recipe(data__seed=2), tmp_path)
    make(old, "old")
    crashed = False
    with monkeypatch.context() as patch:
        try:
            with new.produce("train") as work:
                (work.folder / "a").mkdir()
                (work.folder / "a" / "b.txt").write_text("new")
                crash_after(patch, operations)
        except Crash:
            crashed = True
    # record, final to old, new to final, old away, manifest: five operations in all
    assert crashed == (operations < 5)
    old, new = Run(recipe(), tmp_path), Run(recipe(data__seed=2), tmp_path)
    with new.lock():  # as every verb that makes something does first
        pass
    assert (content(new), old.done("train"), new.done("train")) == (
        ("old", True, False) if operations < 1 else ("new", False, True)
    )
    assert ".adapter.old" not in hidden(new)
    listed = [record["fingerprint"] for record in new.manifest()]
    wanted = [old.fingerprint("train"), new.fingerprint("train")]
    assert listed == (wanted[:1] if operations < 1 else wanted)
    make(new, "again")
    assert new.done("train") and content(new) == "again"


def test_the_manifest_keeps_history_and_a_reverted_recipe_is_not_fooled(tmp_path: Path) -> None:
    one, two = Run(recipe(), tmp_path), Run(recipe(data__seed=2), tmp_path)
    make(one, "one")
    make(two, "two")
    assert not one.done("train") and two.done("train")
    make(one, "one")
    assert one.done("train") and not two.done("train")
    found = [record["fingerprint"] for record in Run(recipe(), tmp_path).manifest()]
    assert found == [run.fingerprint("train") for run in (one, two, one)]


def interrupt(run: Run, resume: bool = True, text: str = "x") -> None:
    with pytest.raises(KeyboardInterrupt), run.produce("train", resume) as work:
        (work.folder / "checkpoint").write_text(text)
        raise KeyboardInterrupt


def resumed(run: Run, text: str = "") -> str:
    """What was found; ``text`` is added to it."""
    with run.produce("train", resume=True) as work:
        found = work.folder / "checkpoint"
        before = found.read_text() if found.exists() else ""
        found.write_text(before + text)
    return before


def test_resume_keeps_what_the_same_recipe_left(tmp_path: Path) -> None:
    interrupt(Run(recipe(), tmp_path))
    run = Run(recipe(), tmp_path)
    assert [path.name for path in run.path.glob(".*")] == [
        f".adapter.{run.fingerprint('train')[:12]}.partial"
    ]
    assert resumed(run) == "x"
    assert run.done("train") and hidden(run) == set()


def test_another_recipe_leaves_unfinished_work_alone_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = Run(recipe(), tmp_path), Run(recipe(data__seed=2), tmp_path)
    interrupt(one, text="1" * 1500_000)
    assert capsys.readouterr().out == ""
    interrupt(two, text="two")
    said = capsys.readouterr().out
    assert len(said.splitlines()) == 1
    assert f"work of another recipe is kept in {one.unfinished('train')} (1.5 MB)" in said
    assert resumed(Run(recipe(), tmp_path)) == "1" * 1500_000
    assert resumed(Run(recipe(data__seed=2), tmp_path)) == "two"


def test_what_does_not_resume_leaves_nothing(tmp_path: Path) -> None:
    run = Run(recipe(), tmp_path)
    interrupt(run, resume=False)
    assert hidden(run) == set() and resumed(run) == ""


def test_long_work_that_another_recipe_finished_comes_back_with_it(tmp_path: Path) -> None:
    one, two = Run(recipe(), tmp_path), Run(recipe(data__seed=2), tmp_path)
    resumed(one, "one")
    resumed(two, "two")
    assert two.done("train") and hidden(one) == {one.unfinished("train").name}
    with one.lock():
        pass
    one, two = Run(recipe(), tmp_path), Run(recipe(data__seed=2), tmp_path)
    assert one.done("train") and not two.done("train")
    assert (one.output("train") / "checkpoint").read_text() == "one"
    assert one.manifest()[-1] == one.record("train")
    with two.lock():
        pass
    assert two.done("train") and hidden(two) == {".lock", one.unfinished("train").name}


def test_short_work_of_another_recipe_is_not_kept(tmp_path: Path) -> None:
    make(Run(recipe(), tmp_path), "one", "merge")
    two = Run(recipe(data__seed=2), tmp_path)
    make(two, "two", "merge")
    assert hidden(two) == set()


@pytest.mark.parametrize("operations", range(5))
def test_no_crash_loses_what_two_recipes_finished(
    operations: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Record, old one aside, new one named, clean-up, manifest: the power may fail before each."""
    resumed(Run(recipe(), tmp_path), "one")
    two = Run(recipe(data__seed=2), tmp_path)
    with (
        monkeypatch.context() as patch,
        pytest.raises(Crash),
        two.produce("train", resume=True) as work,
    ):
        (work.folder / "checkpoint").write_text("two")
        crash_after(patch, operations)
    for values, text in (({"data__seed": 2}, "two"), ({}, "one")):
        run = Run(recipe(**values), tmp_path)
        with run.lock():
            pass
        run = Run(recipe(**values), tmp_path)
        if operations or text == "one":
            assert run.done("train")
        else:  # its record was not written yet: it goes on
            assert resumed(run) == text
        assert (run.output("train") / "checkpoint").read_text() == text
        assert run.manifest()[-1] == run.record("train")


def test_the_lock_names_its_holder_and_ends(tmp_path: Path) -> None:
    import os

    one, two = Run(recipe(), tmp_path), Run(recipe(), tmp_path)
    with one.lock():
        with pytest.raises(UserError, match=rf"tiny: in use by process {os.getpid()};"), two.lock():
            pass
        with Run(recipe(name="another"), tmp_path).lock():
            pass
    with two.lock():
        pass


def test_the_record_is_plain_json(tmp_path: Path) -> None:
    run = Run(recipe(), tmp_path)
    make(run, "one")
    text = (run.output("train") / RECORD).read_text()
    assert json.loads(text, parse_constant=pytest.fail) == run.record("train")


def test_looking_on_does_not_disturb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``make serve`` in another terminal, between the two renames of a stage."""
    run, real = make_run(tmp_path), Path.rename
    with run.produce("train") as work:
        (work.folder / "file").write_text("old")

    def rename(path: Path, target: Path) -> Path:
        moved = real(path, target)
        monkeypatch.setattr(Path, "rename", real)
        Run(recipe(), tmp_path)
        return moved

    with run.produce("train") as work:
        (work.folder / "file").write_text("new")
        monkeypatch.setattr(Path, "rename", rename)
    assert (run.output("train") / "file").read_text() == "new"


def test_an_edited_local_model_touches_what_it_makes(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    made = recipe(model__path=str(tmp_path / "model"))
    before = {name: Run(made, tmp_path).fingerprint(name) for name in ALL}
    (tmp_path / "model" / "config.json").write_text("{ }")
    after = {name: Run(made, tmp_path).fingerprint(name) for name in ALL}
    assert {name for name in ALL if before[name] != after[name]} == ALL - {"data"}


def test_a_foreign_record_in_the_output_is_no_output(tmp_path: Path) -> None:
    """Axolotl's merge copied the base folder's own oneday.json: the stage was never up to date."""
    run = make_run(tmp_path)
    with run.produce("merge") as work:
        (work.folder / RECORD).write_text("{}")
        (work.folder / "file").write_text("x")
    assert run.done("merge")


class Serializing(Exception):
    """As safetensors has one of its own."""


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        Serializing("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
@pytest.mark.parametrize("stage", ["merge", "quantize"])
def test_a_full_disk_is_one_message_and_leaves_nothing(
    stage: str, error: Exception, tmp_path: Path
) -> None:
    run = make_run(tmp_path)
    with (
        pytest.raises(StageError, match=f"{stage}: the disk of .* is full .*make room, and the"),
        run.produce(stage) as work,
    ):
        (work.folder / "half").write_text("x")
        raise error
    assert not run.output(stage).exists() and not list(run.path.glob(".*partial"))


def test_another_error_is_what_it_is(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    with pytest.raises(ValueError, match="of another kind"), run.produce("merge"):
        raise ValueError("of another kind")


def test_what_is_gone_on_from_stays_until_the_record_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk too full for the record costs the record, not the training."""
    run = make_run(tmp_path)

    def train() -> None:
        with run.produce("train", resume=True) as work:
            (work.folder / "checkpoint-10").mkdir(exist_ok=True)
            (work.folder / "checkpoint-10" / "optimizer.pt").write_text("state")
            (work.folder / "adapter").write_text("weights")

    def full(path: Path, value: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("tools.run.folder.write_json", full)
        with pytest.raises(OSError, match="No space left"):
            train()
    assert (run.unfinished("train") / "checkpoint-10" / "optimizer.pt").is_file()
    train()
    made = run.output("train")
    assert sorted(path.name for path in made.iterdir()) == ["adapter", "oneday.json"]
    record = run.record("train")
    assert record and list(record["outputs"]) == ["adapter"]


def test_a_training_whose_power_failed_after_its_record_is_tidied(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    with run.produce("train", resume=True) as work:
        (work.folder / "adapter").write_text("weights")
    run.output("train").rename(run.unfinished("train"))
    (run.unfinished("train") / "checkpoint-10").mkdir()
    with run.lock():
        assert sorted(path.name for path in run.output("train").iterdir()) == [
            "adapter",
            "oneday.json",
        ]
