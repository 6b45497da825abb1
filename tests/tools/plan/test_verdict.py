"""The plan verb: verdicts on memory, time and disk; changes that make it fit; what it prints."""

import dataclasses
import json
import math
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.pace import pace
from tools.plan import remedy
from tools.plan.speed import BYTES_A_TOKEN
from tools.plan.verdict import GIB, Plan, as_json, exit_code, plan, render, share_verdict
from tools.plan.workload import workload
from tools.recipe.compose import RECIPES
from tools.recipe.load import load
from tools.recipe.written import settled
from tools.run.folder import RECORD

ROOT = RECIPES.parent
HEAVY = ("torch", "transformers", "axolotl", "datasets", "litserve")


def planned(name: str, *overrides: str, runs: Path = Path("nowhere")) -> Plan:
    return plan(load(RECIPES / f"{name}.yaml", overrides).recipe, runs)


@pytest.mark.parametrize("name", ["4090", "a100", "2x4090", "cpu", "presets/birbal"])
def test_what_is_shipped_fits(name: str) -> None:
    found = planned(name)
    assert found.verdict == "fits" and exit_code(found) == 0
    assert remedy.changes(found, Path("nowhere")) == []
    assert found.peak.total < found.card and found.hours and found.hours.high < found.day


def test_several_processes_are_planned_each(tmp_path: Path) -> None:
    alone, beside = planned("cpu"), planned("cpu", "hardware.gpus=2", "hardware.memory_gib=3")
    assert alone.card == 2 * beside.card
    assert "each of 2 processes" in render(beside) and "each of" not in render(alone)


def test_birbal_took_16_hours() -> None:
    found = planned("presets/birbal")
    assert found.hours and found.hours.low < 16 < found.hours.high


def test_a_70b_model_on_a_4090_is_refused_with_the_reason(tmp_path: Path) -> None:
    mine = tmp_path / "big.yaml"
    mine.write_text(f"defaults: [{RECIPES}/4090, {RECIPES}/models/llama-2-70b]\n")
    found = plan(load(mine).recipe, tmp_path)
    assert found.judged["memory"] == "does not fit" and exit_code(found) == 2
    assert found.peak.weights > 35e9
    assert remedy.changes(found, tmp_path) == []
    said = remedy.render(found, tmp_path)
    assert "the weights alone are 33.9 GiB (qlora), the card has 23.5" in said


@pytest.mark.parametrize("batch", [1, 2])
def test_a_14b_model_in_bf16_on_the_a100(batch: int) -> None:
    size = f"train.sequence_len=2048 train.micro_batch_size={batch}"
    found = planned("presets/qwen-14b-lora", size)
    assert found.judged["memory"] in ("fits", "tight")
    assert 0.75 < found.peak.total / found.card < 0.95


def test_the_smallest_changes_alone(tmp_path: Path) -> None:
    found = planned("a100", "~train.chunked_cross_entropy train.micro_batch_size=4")
    assert found.verdict == "does not fit"
    offers = remedy.changes(found, tmp_path)
    assert {"chunked_cross_entropy": True} in [offer.train for offer in offers]
    halved = next(offer for offer in offers if "micro_batch_size" in offer.train)
    assert halved.train == {"micro_batch_size": 2, "gradient_accumulation_steps": 8}
    for offer in offers:
        again = planned("a100", "~train.chunked_cross_entropy train.micro_batch_size=4",
                        offer.settings)  # fmt: skip
        assert exit_code(again) == 0 and offer.cost
        assert again.peak.total == offer.plan.peak.total
    said = remedy.render(found, tmp_path)
    assert "each alone is enough" in said and 'SET="train.chunked_cross_entropy=true"' in said


def test_changes_together_where_none_is_enough(tmp_path: Path) -> None:
    words = "~train.chunked_cross_entropy train.micro_batch_size=8 train.sequence_len=8192"
    found = planned("4090", words, "train.gradient_checkpointing=false train.lora_r=512")
    (offer,) = remedy.changes(found, tmp_path)
    assert len(offer.train) > 3 and exit_code(offer.plan) == 0


def test_no_change_helps(tmp_path: Path) -> None:
    found = planned("4090", "hardware.memory_gib=4.5")
    assert remedy.changes(found, tmp_path) == []
    assert "even with SET=" in remedy.render(found, tmp_path)


def test_full_fine_tuning_is_offered_adapters(tmp_path: Path) -> None:
    found = planned("a100", "~train.adapter train.micro_batch_size=1")
    assert found.job.method == "full" and found.verdict == "does not fit"
    assert any(offer.train.get("adapter") == "lora" for offer in remedy.changes(found, tmp_path))


def test_too_long_for_the_day(tmp_path: Path) -> None:
    found = planned("4090", "train.num_epochs=30")
    assert found.judged == {**found.judged, "memory": "fits", "time": "does not fit"}
    (offer,) = remedy.changes(found, tmp_path)
    assert 2 <= offer.train["num_epochs"] < 30 and offer.plan.judged["time"] != "does not fit"
    steps = planned("4090", "train.max_steps=100000")
    (offer,) = remedy.changes(steps, tmp_path)
    assert offer.train["max_steps"] < 100000


def test_the_reserve_that_takes_the_day_is_named(tmp_path: Path) -> None:
    found = planned("4090", "budget.hours=1")
    assert found.day == 0 and exit_code(found) == 2
    said = remedy.render(found, tmp_path)
    assert "budget.reserve_minutes 60 of budget.hours 1 leave nothing to training" in said
    (line,) = re.findall(r'SET="(budget[^"]*)"', said)
    mended = planned("4090", "budget.hours=1", line)
    assert mended.day > 0.9
    assert "card of more than" not in said and remedy.changes(found, tmp_path) == []
    # What else is wrong is told, too.
    both = planned("4090", "budget.hours=1 train.micro_batch_size=16 train.max_steps=1")
    assert "leave nothing" in remedy.render(both, tmp_path)
    assert "train.micro_batch_size=" in remedy.render(both, tmp_path)


def test_tight_in_time_is_no_refusal() -> None:
    found = planned("4090", "train.num_epochs=5")
    assert found.judged["time"] == "tight" and exit_code(found) == 0


@pytest.mark.parametrize(
    ("share", "verdict"),
    [(0.92, "fits"), (0.93, "tight"), (0.95, "tight"), (0.951, "does not fit")],
)
def test_where_the_lines_are(share: float, verdict: str) -> None:
    assert share_verdict(share) == verdict


@pytest.mark.parametrize(
    ("override", "what"),
    [("hardware.disk_gb=40", "disk"), ("hardware.host_memory_gib=3", "host memory")],
)
def test_disk_and_host_are_judged(override: str, what: str, tmp_path: Path) -> None:
    found = planned("4090", override)
    assert found.judged[what] == "does not fit" and exit_code(found) == 2
    assert f"does not fit ({what})" in render(found)
    assert "disk or the host's memory" in remedy.render(found, tmp_path)


def test_disk_by_hand() -> None:
    found = planned("cpu").disk
    weights, adapter = 134.5e6 * 4, 4.884e6 * 4
    assert found.base == found.merged == pytest.approx(weights, rel=0.001)  # measured: 538 MB
    assert found.adapter == pytest.approx(adapter, rel=0.001)  # measured: 19.6 MB
    assert found.checkpoints == pytest.approx(3 * 3 * adapter, rel=0.001)  # weights, two states
    assert found.quantized == pytest.approx(168.6e6, rel=0.01)  # measured


def test_a_merge_holds_a_matrix_and_the_adapter() -> None:
    """Whichever the method; the model whole where there is no card to compare it on."""
    aware, plain = planned("4090"), planned("4090", "merge.method=plain")
    matrix, adapter = 20 * 4096 * 14336, 8 * 335.5e6
    assert aware.host == plain.host == pytest.approx(0.15e9 + matrix + adapter, rel=0.001)
    ends = planned("4090", "train.lora_modules_to_save=[embed_tokens,lm_head]")
    assert ends.host - aware.host == pytest.approx(
        20 * 4096 * (32000 - 14336) + 8 * 2 * 4096 * 32000, rel=0.001
    )
    assert planned("cpu").host > 134.5e6 * 4


def test_a_model_that_is_trained_whole_is_merged_without_an_adapter(tmp_path: Path) -> None:
    found, lora = planned("cpu", "train.adapter=null"), planned("cpu")
    weights = 134.5e6 * 4
    assert found.disk.merged == lora.disk.merged == pytest.approx(weights, rel=0.01)
    assert found.disk.adapter == found.disk.merged
    assert found.disk.checkpoints == pytest.approx(3 * 3 * weights, rel=0.01)
    assert found.host == pytest.approx(0.15e9 + 20 * 576 * 49152 + weights, rel=0.01)
    assert "to merge, whole" in render(found)
    (tmp_path / "adapter_model.safetensors").write_bytes(bytes(1000))
    several = f"merge.adapters={{own: {{weight: 1}}, a: {{weight: 1, path: '{tmp_path}'}}}}"
    assert planned("cpu", several).host - lora.host == 8 * 500


def test_quantizing_holds_one_model_and_a_layer_unpacked() -> None:
    """On a card a matrix; on the CPU the larger of the merged model and the packed one."""
    assert planned("4090", "quantize.format=none").quantize_host == 0
    matrix = 4 * 4096 * 32000
    assert planned("4090", "quantize.format=nf4").quantize_host == pytest.approx(0.6e9 + matrix)
    found = planned("cpu")
    logits = 8 * 512 * 49152
    assert found.quantize_host == pytest.approx(0.6e9 + 134.5e6 * 4 + logits, rel=0.001)
    assert "to quantize" in render(found)
    tight = planned("cpu", "hardware.host_memory_gib=1.1", "merge.method=plain")
    assert tight.host < 1.1 * GIB < tight.quantize_host
    assert tight.judged["host memory"] == "does not fit"


def test_rows_that_are_made_are_counted(tmp_path: Path) -> None:
    recipe = load(RECIPES / "cpu.yaml").recipe
    folder = tmp_path / "cpu" / "data"
    folder.mkdir(parents=True)
    (folder / "train.jsonl").write_text("x" * 33000)
    record: dict[str, Any] = {
        "stage": "data",
        "inputs": {"recipe": {"data": settled(recipe)["data"]}},
        "metrics": {"train_rows": 50},
    }
    (folder / RECORD).write_text(json.dumps(record))
    found = plan(recipe, tmp_path)
    assert found.work.tokens == pytest.approx(33000 / BYTES_A_TOKEN)
    assert found.work.how.startswith("50 rows made") and found.work.missing == ()
    other = load(RECIPES / "cpu.yaml", ["data.seed=5"]).recipe
    assert "assumed" in plan(other, tmp_path).work.how


def test_rows_of_files_and_of_nobody_knows(tmp_path: Path) -> None:
    recipe = load(RECIPES / "cpu.yaml").recipe
    rows = tmp_path / "rows.jsonl"
    rows.write_text("{}\n" * 70)
    source = next(iter(recipe.data.sources.values()))
    file = dataclasses.replace(source, kind="jsonl", path=str(rows), rows=None)
    sources = {"mine": file, "far": dataclasses.replace(source, kind="hub", rows=None)}
    data = dataclasses.replace(recipe.data, sources=sources)
    found = plan(dataclasses.replace(recipe, data=data), tmp_path)
    assert found.work.tokens == 70 * 150 and found.work.missing == ("far",)
    assert "rows of far: not known before make data" in render(found)
    nothing = dataclasses.replace(data, sources={"far": sources["far"]})
    blind = plan(dataclasses.replace(recipe, data=nothing), tmp_path)
    assert blind.hours is None and "time" not in blind.judged
    assert "tokens fit in it" in render(blind)


def test_weights_count(tmp_path: Path) -> None:
    plain = planned("cpu").work
    assert (plain.tokens, "by weight" in plain.how) == (740 * 150, False)
    weights = "data.sources.boxes.weight=2.5 data.sources.counting.weight=0.5"
    found = planned("cpu", weights).work
    assert found.tokens == (350 + 140 + 180 + 140) * 150
    assert found.how == "810 rows by weight x 150 tokens (assumed)"
    # The same held-out rows, as often more as there are more steps.
    assert found.evaluated == pytest.approx(plain.evaluated * 810 / 740)


def test_steps_and_evaluations(tmp_path: Path) -> None:
    recipe = load(RECIPES / "4090.yaml", ["train.max_steps=64 train.eval_steps=32"]).recipe
    found = plan(recipe, tmp_path)
    assert found.work.tokens == 64 * 8192 * 2 * 4
    assert found.work.evaluated == 2 * recipe.data.validation_rows * 150
    share = load(RECIPES / "4090.yaml", ["train.eval_steps=0.25"]).recipe
    assert workload(share, found.job, tmp_path).evaluated == 4 * share.data.validation_rows * 150


def test_steps_that_never_come(tmp_path: Path) -> None:
    found = planned("cpu")
    assert found.work.steps == 370 and "warning" not in render(found)
    assert as_json(found)["beyond_the_last_step"] == []
    few = planned("cpu", "train.eval_steps=371 ~train.warmup_ratio train.warmup_steps=370")
    assert "warning: train.eval_steps is 371, and training has 370 steps at the most" in render(few)
    assert [one.split()[0] for one in as_json(few)["beyond_the_last_step"]] == [
        "train.warmup_steps",
        "train.eval_steps",
    ]
    packed = planned("4090", "train.max_steps=0 train.num_epochs=1").work
    assert packed.steps == math.ceil(packed.tokens / (8192 * 2 * 4))


def call(*words: str) -> subprocess.CompletedProcess[str]:
    code = (
        "import sys; from tools.__main__ import main\n"
        "try: code = main()\n"
        "except SystemExit as end: code = end.code\n"
        f"sys.exit([name for name in {HEAVY} if name in sys.modules] or code)"
    )
    command = [sys.executable, "-c", code, "plan", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def computed() -> float:
    """Seconds that ended child processes computed: what a busy machine does not change."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_quick_and_light() -> None:
    times = []
    for _ in range(3):
        begun = computed()
        done = call("--hw", "4090")
        times.append(computed() - begun)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("plan: 4090 fits: ")
    assert min(times) < pace(), times


def test_json_and_the_exit_code(tmp_path: Path) -> None:
    done = call("--hw", "4090", "--json", "--set", "train.micro_batch_size=16")
    found = json.loads(done.stdout)
    assert done.returncode == 2 and found["verdict"] == "does not fit"
    parts = found["memory_bytes"]
    named = ("weights", "adapters", "optimizer", "activations", "logits", "context")
    assert parts["total"] == pytest.approx(sum(parts[name] for name in named), abs=6)
    assert parts["card"] == round(23.5 * GIB)
    assert found["changes"] and all(change["cost"] for change in found["changes"])


def test_points_need_no_recipe(tmp_path: Path) -> None:
    (tmp_path / "points.json").write_text('{"points": []}')
    done = call("--points", str(tmp_path / "points.json"), "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, [])
    broken = call("--points", str(tmp_path / "none.json"))
    assert broken.returncode == 2 and "error: --points" in broken.stderr
