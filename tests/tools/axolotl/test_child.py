"""The file Axolotl reads, and the child process around it (a script in Axolotl's place)."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from tests.tiny import EOS, PAD, jsonl, make_run
from tests.tools.axolotl.bare import BATCH, ROWS
from tools.axolotl import child as axolotl
from tools.data import tokens
from tools.errors import StageError
from tools.recipe.axolotl_schema import OWNED, train_schema
from tools.run.folder import Run


def rendered(run: Run) -> dict[str, Any]:
    text = axolotl.render(run, Path("some base")).read_text(encoding="utf-8")
    return dict(yaml.safe_load(text))  # as Axolotl reads it


def test_what_axolotl_is_told(tmp_path: Path) -> None:
    run = make_run(tmp_path / "my runs", data__seed=7)
    found = rendered(run)
    assert found["base_model"] == "some base"
    rows = tokens.paths(run)
    assert [d["path"] for d in found["datasets"]] == [str(rows["train"])]
    assert [d["path"] for d in found["test_datasets"]] == [str(rows["validation"])]
    assert found["output_dir"] == str(run.output("train"))
    assert found["special_tokens"] == {"eos_token": EOS, "pad_token": PAD}
    assert (found["seed"], found["learning_rate"], found["adapter"]) == (7, 1e-3, "lora")


@pytest.mark.parametrize(
    ("method", "told"), [("nf4_aware", "memory_efficient"), ("plain", "legacy")]
)
def test_the_merge_method(method: str, told: str, tmp_path: Path) -> None:
    assert rendered(make_run(tmp_path, merge__method=method))["merge_method"] == told


@pytest.mark.parametrize("value", ["${price}", "a ${ b", "\\${x}", "1e-4", "yes", 1e-5, "1:30"])
def test_axolotl_reads_each_value_as_the_recipe_has_it(value: Any, tmp_path: Path) -> None:
    """Axolotl knows neither references nor their escapes."""
    found = rendered(make_run(tmp_path, train={"wandb_name": value, "tokens": [value]}))
    assert (found["wandb_name"], found["tokens"]) == (value, [value])


@pytest.mark.parametrize("order", ["shuffled", "listed", "easy-first"])
def test_the_order_of_rows(order: str, tmp_path: Path) -> None:
    found = rendered(make_run(tmp_path, data__order=order))
    keys = axolotl.IN_ORDER if order != "shuffled" else {}
    assert {key: found[key] for key in axolotl.IN_ORDER if key in found} == keys


def test_the_recipes_own_keys_win(tmp_path: Path) -> None:
    assert rendered(make_run(tmp_path, train={"seed": 5}))["seed"] == 5


def test_the_file_is_valid(tmp_path: Path) -> None:
    made = rendered(make_run(tmp_path, train={"adapter": "lora", **_REQUIRED}))
    kept = {key: value for key, value in made.items() if key not in OWNED}
    assert made.keys() - kept.keys() >= {"base_model", "datasets", "output_dir"}
    errors = Draft202012Validator(train_schema()).iter_errors(kept)
    assert [error.message for error in errors] == []


_REQUIRED = {"micro_batch_size": 1, "gradient_accumulation_steps": 1, "learning_rate": 1e-3}


def test_an_edited_row_gets_another_cache(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"

    def cache(text: str, **values: Any) -> str:
        file.write_text(text)
        run = make_run(tmp_path, data__sources={"mine": jsonl(file)}, **values)
        return str(rendered(run)["dataset_prepared_path"])

    first = cache('{"prompt": "a", "completion": "b"}')
    assert first != cache('{"prompt": "a", "completion": "c"}')
    assert first == cache('{"prompt": "a", "completion": "b"}', train={"lora_r": 4})


def test_axolotls_own_cache_does_not_see_it(bare: dict[str, Any]) -> None:
    """When this fails, Axolotl looks into the files itself, and one folder would do for all."""
    assert bare["same_cache_after_an_edit"]


def test_every_held_out_row_is_evaluated(bare: dict[str, Any], tmp_path: Path) -> None:
    """When the last line fails, Axolotl does so by itself, and the setting can go."""
    assert rendered(make_run(tmp_path))["dataloader_drop_last"] is False
    assert bare["evaluated_undropped"] == ROWS
    assert bare["evaluated"] == ROWS // BATCH * BATCH


def test_peft_still_writes_a_set_in_any_order(tmp_path: Path) -> None:
    """When this fails, PEFT sorts it itself, and the hash seed of the child can go."""
    from peft import LoraConfig

    names = {f"layer{number}" for number in range(20)}
    LoraConfig(target_modules=names).save_pretrained(tmp_path)
    written = json.loads((tmp_path / "adapter_config.json").read_text())["target_modules"]
    assert set(written) == names and written != sorted(names)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return make_run(tmp_path)


def child(path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Put a shell script where the Python that runs Axolotl would be."""
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(path))


def test_events_are_told_and_the_rest_is_logged(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = """
        printf 'bar 10%%\\r@oneday {"event": "step", "step": 1}\\n'
        printf 'half a line @oneday {"event": "log", "step": 1, "loss": NaN}\\n'
        echo "$*" >&2; echo "$AXOLOTL_DO_NOT_TRACK $PYTHONPATH"; printf 'odd \\377 byte\\n'"""
    child(tmp_path / "fake", monkeypatch, body)
    events: list[axolotl.Event] = []
    axolotl.call(run, "train", Path("a b.yaml"), {"output_dir": "x y"}, events.append)
    assert [(event["event"], event["step"]) for event in events] == [("step", 1), ("log", 1)]
    log = (run.logs / "train.log").read_text(encoding="utf-8")
    assert '-m tools.axolotl.job train a b.yaml {"output_dir": "x y"}' in log
    assert f"1 {Path(axolotl.__file__).parents[2]}" in log  # no telemetry; finds tools anywhere
    assert "bar 10%" in log and "odd " in log and "@oneday" not in log


def test_a_failure_shows_the_end_of_the_log(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = """seq 100; echo Traceback; echo '  File "x.py"'; echo x.OutOfMemoryError: no; exit 3"""
    child(tmp_path / "fake", monkeypatch, body)
    with pytest.raises(StageError) as caught:
        axolotl.call(run, "merge", Path("x.yaml"), {})
    said = str(caught.value)
    assert "axolotl merge ended with code 3" in said and str(run.logs / "merge.log") in said
    assert "code 3: x.OutOfMemoryError: no\n" in said
    assert "Traceback" not in said and "100" not in said


def test_a_failure_without_an_error_shows_the_last_lines(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child(tmp_path / "fake", monkeypatch, "seq 100; echo killed; exit 9")
    with pytest.raises(StageError) as caught:
        axolotl.call(run, "merge", Path("x.yaml"), {})
    assert "\n99\n100\nkilled\n" in str(caught.value) and "\n80\n" not in str(caught.value)


def test_ctrl_c_ends_the_child_and_its_children(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = """trap '' INT TERM; sleep 60 & echo "@oneday {\\"pids\\": [$$, $!]}"; wait"""
    child(tmp_path / "fake", monkeypatch, body)
    pids: list[int] = []

    def watch(event: axolotl.Event) -> None:
        pids.extend(event["pids"])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        axolotl.call(run, "train", Path("x.yaml"), {}, watch)
    end = time.monotonic() + 10
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.05)
    assert len(pids) == 2 and not any(map(alive, pids))


def test_a_child_that_hangs_is_ended(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = """trap '' INT TERM; echo "@oneday {\\"pid\\": $$}"; sleep 60 & wait"""
    child(tmp_path / "fake", monkeypatch, body)
    told: list[axolotl.Event] = []
    started = time.monotonic()
    with pytest.raises(axolotl.Overdue, match=r"train did not end in 1 s.*\n.*train\.log"):
        axolotl.call(run, "train", Path("x.yaml"), {}, told.append, seconds=1)
    assert time.monotonic() - started < 10
    assert not alive(told[0]["pid"])


def test_no_time_at_all_is_a_limit_too(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child(tmp_path / "fake", monkeypatch, "sleep 5")
    with pytest.raises(axolotl.Overdue, match="train did not end in 0 s"):
        axolotl.call(run, "train", Path("x.yaml"), {}, seconds=0)


def test_a_child_in_time_is_not_overdue(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child(tmp_path / "fake", monkeypatch, "echo $COLOUR")
    axolotl.call(run, "train", Path("x.yaml"), {}, variables={"COLOUR": "green"}, seconds=30)
    assert "green" in (run.logs / "train.log").read_text()
    child(tmp_path / "fake", monkeypatch, "exit 3")
    with pytest.raises(StageError, match="code 3"):
        axolotl.call(run, "train", Path("x.yaml"), {}, seconds=30)


def test_a_full_disk_does_not_hide_what_is_told(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    (run.logs / "train.log").symlink_to("/dev/full")
    child(tmp_path / "fake", monkeypatch, """seq 9999; echo '@oneday {"event": "stop"}'""")
    told: list[axolotl.Event] = []
    axolotl.call(run, "train", Path("x.yaml"), {}, told.append)
    assert told == [{"event": "stop"}]
    child(
        tmp_path / "fake",
        monkeypatch,
        "echo 'OSError: [Errno 28] no room'; echo ' 9%| | 1/9'; exit 1",
    )
    with pytest.raises(StageError, match=r"code 1: OSError: \[Errno 28\] no room\n  log"):
        axolotl.call(run, "train", Path("x.yaml"), {})


def test_the_curves_go_to_the_logs_and_the_same_sets_in_the_same_order(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert rendered(run)["use_tensorboard"] is True
    child(tmp_path / "fake", monkeypatch, "echo $TENSORBOARD_LOGGING_DIR $PYTHONHASHSEED")
    axolotl.call(run, "train", Path("x.yaml"), {})
    assert (run.logs / "train.log").read_text() == f"{run.logs / 'tensorboard'} 0\n"


def test_several_cards_are_torchruns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path, hardware__gpus=2)
    child(tmp_path / "fake", monkeypatch, 'echo "$*"')
    for command in ("train", "merge"):
        axolotl.call(run, command, Path("x.yaml"), {"output_dir": "o"})
    said = {name: (run.logs / f"{name}.log").read_text() for name in ("train", "merge")}
    job = 'tools.axolotl.job {} x.yaml {{"output_dir": "o"}}\n'
    launcher = "-m torch.distributed.run --standalone --nproc_per_node=2 -m "
    assert said["train"] == launcher + job.format("train")
    assert said["merge"] == "-m " + job.format("merge")


def test_torchrun_starts_a_job_a_card(tmp_path: Path) -> None:
    told = "open(os.environ['RANK'], 'w').write(repr(sys.argv[1:]))"  # stdout would mix them
    (tmp_path / "job.py").write_text(f"import os, sys\n{told}\n")
    words = axolotl._words(2, "train", Path("x.yaml"), {"a": "b c"})
    words[words.index("tools.axolotl.job")] = "job"
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    for rank in ("0", "1"):
        assert (tmp_path / rank).read_text() == repr(["train", "x.yaml", '{"a": "b c"}'])


def test_torchrun_is_asked_to_end_its_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = tmp_path / "asked"
    body = (
        f"""trap 'touch {asked}; exit 0' TERM; echo '@oneday {{}}'; while :; do sleep 0.1; done"""
    )
    child(tmp_path / "fake", monkeypatch, body)

    def interrupt(event: axolotl.Event) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        axolotl.call(make_run(tmp_path, hardware__gpus=2), "train", Path("x.yaml"), {}, interrupt)
    assert asked.exists()


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended but was not waited for yet does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
