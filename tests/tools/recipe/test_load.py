"""Recipes: the shipped ones load; what is wrong in one's own is told, all of it, with the place."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.pace import pace
from tools.errors import UserError
from tools.recipe.compose import RECIPES, words
from tools.recipe.load import load

ROOT = RECIPES.parent
SHIPPED = ["4090", "a100", "cpu"]
DEMOS = ["cpu-encoder", "cpu-t5"]


@pytest.fixture
def recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the recipes folder, the current folder around it."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(RECIPES, tmp_path / "recipes")
    return Path("recipes")


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def faults(path: Path, *overrides: str) -> list[str]:
    with pytest.raises(UserError) as caught:
        load(path, overrides)
    return caught.value.faults


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_recipes_load(name: str) -> None:
    loaded = load(RECIPES / f"{name}.yaml")
    assert loaded.recipe.name == name
    assert loaded.recipe.hardware.name == name
    assert loaded.files[0].name == "base.yaml"
    assert loaded.files[-1].name == f"{name}.yaml"


def test_every_recipe_at_the_top_is_tested() -> None:
    top = {file.stem for file in RECIPES.glob("*.yaml")}
    assert top == {*SHIPPED, *DEMOS, "base", "rules", "2x4090"}


@pytest.mark.parametrize("name", DEMOS)
def test_demos_of_the_other_kinds_load(name: str) -> None:
    recipe = load(RECIPES / f"{name}.yaml").recipe
    assert (recipe.name, recipe.hardware.name) == (name, "cpu")
    assert recipe.model.kind in ("encoder", "seq2seq")


def test_later_files_win_and_origins_tell(recipes: Path) -> None:
    mine = write(recipes / "my.yaml", "defaults: [4090]\ntrain:\n  lora_r: 8\n")
    loaded = load(mine, ["train.lora_alpha=16"])
    assert (loaded.recipe.train["lora_r"], loaded.recipe.train["lora_alpha"]) == (8, 16)
    assert loaded.recipe.train["lora_dropout"] == 0.05
    assert loaded.origins["train.lora_r"] == "recipes/my.yaml:3"
    assert loaded.origins["train.lora_alpha"] == "--set"
    assert loaded.origins["hardware.memory_gib"].startswith("recipes/hardware/4090.yaml:")
    assert loaded.origins["train.lora_target_modules[1]"].startswith(
        "recipes/models/mistral-7b.yaml:"
    )


def test_a_file_included_twice_counts_once(recipes: Path) -> None:
    """Else base would come again after the hardware and undo it."""
    write(recipes / "extra.yaml", "defaults: [base]\n")
    mine = write(recipes / "my.yaml", "defaults: [4090, extra]\n")
    assert load(mine).recipe.quantize.format == "int8"


def test_a_layer_may_be_empty_a_recipe_may_not(recipes: Path) -> None:
    write(recipes / "extra.yaml", "# nothing yet\n")
    assert load(write(recipes / "my.yaml", "defaults: [cpu, extra]\n")).recipe.name == "my"
    assert faults(recipes / "extra.yaml") == [
        "recipes/extra.yaml:1: empty; begin it with, say, `defaults: [cpu]`"
    ]


def test_without_defaults_the_cause_is_told_once(recipes: Path) -> None:
    found = faults(write(recipes / "my.yaml", "train: {learning_rate: 1e-4}\n"))
    assert found == [
        "recipes/my.yaml: no budget, hardware, model, data, merge, quantize, serve, eval; "
        "begin the recipe with, say, `defaults: [cpu]`"
    ]


def test_a_recipe_elsewhere_uses_ours(tmp_path: Path) -> None:
    write(tmp_path / "part.yaml", "train: {lora_r: 4}\n")
    mine = write(tmp_path / "my.yaml", "defaults: [cpu, part]\n")
    recipe = load(mine).recipe
    assert (recipe.name, recipe.train["lora_r"], recipe.hardware.name) == ("my", 4, "cpu")


def test_numbers_with_an_exponent_are_numbers(recipes: Path) -> None:
    mine = write(recipes / "my.yaml", "defaults: [cpu]\ntrain: {learning_rate: 1e-4}\n")
    assert load(mine).recipe.train["learning_rate"] == 1e-4
    assert load(mine, ["train.learning_rate=3e-4"]).recipe.train["learning_rate"] == 3e-4


def test_whole_numbers_do_for_numbers(recipes: Path) -> None:
    assert load(recipes / "cpu.yaml", ["budget.hours=2"]).recipe.budget.hours == 2


def test_overrides(recipes: Path) -> None:
    text = "train.lora_r=4 eval.tiers.quick=['ice:x=a b', ice]  ~train.lora_alpha serve.host='::'"
    recipe = load(recipes / "cpu.yaml", [text, "data.seed=3"]).recipe
    assert recipe.train["lora_r"] == 4
    assert recipe.eval.tiers["quick"] == ["ice:x=a b", "ice"]
    assert "lora_alpha" not in recipe.train
    assert (recipe.serve.host, recipe.data.seed) == ("::", 3)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a=1 b=2", ["a=1", "b=2"]),
        ("a=[1, [2, 3]] b={c: 1}", ["a=[1, [2, 3]]", "b={c: 1}"]),
        ("a='x y' b=\"it's [\" c=1", ["a='x y'", 'b="it\'s ["', "c=1"]),
        ("  ", []),
    ],
)
def test_words(text: str, parts: list[str]) -> None:
    assert words(text) == parts


def test_what_json_has_not_is_no_value_anywhere(recipes: Path) -> None:
    """Bytes, where nothing, a text, any mapping or any item might stand."""
    text = """defaults: [cpu]
train: {lora_r: !!binary eA==, adapter: !!binary eA==, model_config: !!binary eA==}
model: {id: !!binary eA==, arch: !!binary eA==}
data: {operators: [!!binary eA==]}
"""
    found = faults(write(recipes / "my.yaml", text))
    keys = [fault.split(": ")[1] for fault in found]
    assert keys == [
        "train.adapter", "train.lora_r", "train.model_config", "model.arch", "model.id",
        "data.operators[0]",
    ]  # fmt: skip
    assert all("not \"b'x'\"" in fault for fault in found)


def test_interpolation(recipes: Path) -> None:
    text = "defaults: [cpu]\nserve: {context: '${train.sequence_len}'}\n"
    mine = write(recipes / "my.yaml", text)
    assert load(mine, ["train.sequence_len=256"]).recipe.serve.context == 256


def test_three_faults_in_one_go(recipes: Path) -> None:
    text = """defaults: [4090]
train:
  lora_rr: 8
budget:
  hours: ten
data:
  sources:
    logic: {kind: generator, path: boxes, licnese: CC0-1.0, origin: program}
"""
    assert faults(write(recipes / "my.yaml", text)) == [
        "recipes/my.yaml:3: train.lora_rr: unknown key; did you mean train.lora_r?",
        'recipes/my.yaml:5: budget.hours: must be a number, not "ten"',
        "recipes/my.yaml:8: data.sources.logic.licnese: unknown key; "
        "did you mean data.sources.logic.licence?",
    ]


FAULTS = [
    ("train: {lora_r: '8'}", 'train.lora_r: must be a whole number, not "8"; drop the quotes'),
    ("train: {lora_r: true}", "train.lora_r: must be a whole number, not true"),
    ("train: {optimizer: adamw_trch}", "did you mean adamw_torch?"),
    ("train: {attn_implementation: spda}", "did you mean sdpa?"),
    ("train: {datasets: [{path: x}]}", "train.datasets: not for a recipe: the data stage writes"),
    (
        "train: {lr_groups: [{nmae: x, modules: [a], lr: 1}]}",
        "did you mean train.lr_groups[0].name?",
    ),
    ("train: {lr_groups: [{name: x, modules: [a]}]}", "train.lr_groups[0].lr: missing"),
    (
        "train: {peft: {loftq_config: {loftq_bit: 4}}}",
        "did you mean train.peft.loftq_config.loftq_bits?",
    ),
    ("train: {liger_rope: true}", "add axolotl.integrations.liger.LigerPlugin to train.plugins"),
    ("train: {plugins: [axolotl.integrations.liger.Liger]}", "integrations.liger.LigerPlugin?"),
    ("learning_rate: 1e-4", "learning_rate: unknown key; did you mean train.learning_rate?"),
    ("name: x", "name: unknown key"),
    ("quantize: {format: fp9}", 'not "fp9"; did you mean fp8?'),
    ("serve: {port: 80.5}", "serve.port: must be a whole number, not 80.5"),
    ("budget: [1]", "budget: must be a mapping, not [1]"),
    ("train: {lora_target_modules: {a: 1}}", "must be a text or a list, not {"),
    ("data: {sources: {x: 3}}", "data.sources.x: must be a mapping, not 3"),
    (
        "data: {sources: {x: {kind: hub, path: p, licence: l}}}",
        "data.sources.x.origin: missing; add it",
    ),
    ("budget: {hours: '${eval.nothing}'}", "budget.hours: '${eval.nothing}': Interpolation key"),
    ("eval: {tier: a, tier: b}", "eval.tier: again, first in line 2; keep one"),
    ("default: [cpu]", "default: unknown key; did you mean defaults?"),
    ("Train: {lora_r: 8}", "Train: unknown key; did you mean train?"),
    ("train.lora_r: 8", "unknown key; a dot nests nothing here: write train: with lora_r below it"),
    ("model: {pad: no}", "not false; YAML reads yes, no, on and off so; put it in quotes"),
    ("hardware: {name: 4090}", "must be a text, not 4090; put it in quotes"),
    ("train: {bf16: 'yes'}", 'must be auto or true or false, not "yes"; drop the quotes'),
    ("train: {added_tokens_overrides: {1: x}}", ".1: a key is a text; put it in quotes"),
    ("budget: {hours: .inf}", "must be a number between -2^63 and 2^63, not inf"),
    ("serve: {context: '${train'}", "serve.context: "),
    ("eval: {tiers: {quick: [mmlu]}}", "eval.tiers.quick[0]: mmlu needs subject=…"),
    ("train: {rl: dpo}", "train.rl: not for a recipe: a day trains on answers, not on preferences"),
    (
        "train: {reward_model: true}",
        "train.reward_model: not for a recipe: a day trains on",
    ),
    ("train: {process_reward_model: true}", "train.process_reward_model: not for a recipe: a day"),
    ("train: {dpo_label_smoothing: 0.1}", "train.dpo_label_smoothing: not for a recipe: a day"),
    ("train: {streaming: true}", "train.streaming: not for a recipe: the data stage writes"),
    (
        "train: {train_on_inputs: true}",
        "train.train_on_inputs: not for a recipe: a row says",
    ),
    ("train: {hub_model_id: me/mine}", "train.hub_model_id: not for a recipe: nothing is sent"),
    ("train: {push_dataset_to_hub: me}", "train.push_dataset_to_hub: not for a recipe: nothing is"),
    (
        "train: {val_set_siz: 0.1}",
        "train.val_set_siz: unknown key; val_set_size is not for a recipe: the data stage holds "
        "rows out; set data.validation_rows",
    ),
    ("train: {ema: true}", "train.ema: unknown key; remove it"),
    ("data: {order: hardest}", "data.order: must be one of shuffled, listed, easy-first"),
    (
        "data: {sources: {boxes: {weigth: 2}}}",
        "did you mean data.sources.boxes.weight?",
    ),
    ("data: {sources: {boxes: {weight: heavy}}}", 'boxes.weight: must be a number, not "heavy"'),
]


@pytest.mark.parametrize(("text", "fault"), FAULTS)
def test_faults(recipes: Path, text: str, fault: str) -> None:
    found = faults(write(recipes / "my.yaml", f"defaults: [cpu]\n{text}\n"))
    assert len(found) == 1
    assert found[0].startswith("recipes/my.yaml:2: ")
    assert fault in found[0]


def test_plugin_keys_are_known(recipes: Path) -> None:
    text = """defaults: [cpu]
train:
  plugins: [axolotl.integrations.liger.LigerPlugin]
  liger_rope: true
"""
    assert load(write(recipes / "my.yaml", text)).recipe.train["liger_rope"] is True


def test_override_faults_are_located(recipes: Path) -> None:
    found = faults(recipes / "cpu.yaml", "train.lora_rr=1 ~train.lora_q foo", "serve.port=abc")
    assert found == [
        "--set: ~train.lora_q: the recipe has no such key; did you mean train.lora_r?",
        "--set: 'foo': write key=value, or ~key to remove a key",
        '--set: serve.port: must be a whole number, not "abc"',
        "--set: train.lora_rr: unknown key; did you mean train.lora_r?",
    ]


def test_overrides_deep_in_a_value(recipes: Path) -> None:
    found = faults(recipes / "cpu.yaml", "train.lora_r.x=1", "train.lr_groups=[{nmae: 1}]")
    assert '--set: train.lora_r: must be a whole number, not {"x": 1}' in found
    assert (
        "--set: train.lr_groups[0].nmae: unknown key; did you mean train.lr_groups[0].name?"
        in found
    )


def test_missing_includes_name_file_and_parent(recipes: Path) -> None:
    mine = write(
        recipes / "my.yaml", "defaults:\n  - cpu\n  - hardware/4900\ntrain: {lora_rr: 1}\n"
    )
    assert faults(mine) == [
        "recipes/my.yaml:3: defaults: recipes/hardware/4900.yaml: no such file; "
        "did you mean hardware/4090?",
        "recipes/my.yaml:4: train.lora_rr: unknown key; did you mean train.lora_r?",
    ]


def test_defaults_must_be_a_list_of_names(recipes: Path) -> None:
    for text in ("defaults: cpu\n", "defaults: [{hardware: cpu}]\n"):
        assert "must be a list of names" in faults(write(recipes / "my.yaml", text))[0]


def test_cycles_are_told(recipes: Path) -> None:
    write(recipes / "one.yaml", "defaults: [two]\n")
    write(recipes / "two.yaml", "defaults: [one]\n")
    chain = "recipes/one.yaml -> recipes/two.yaml -> recipes/one.yaml"
    assert faults(recipes / "one.yaml") == [
        f"recipes/two.yaml:1: defaults: files that include one another: {chain}; drop one"
    ]


def test_two_files_with_syntax_errors_are_both_told(recipes: Path) -> None:
    write(recipes / "part.yaml", "train: [1\nx: 2\n")
    mine = write(recipes / "my.yaml", 'defaults: [part]\ntrain: "\n')
    found = faults(mine)
    assert [fault.split(":")[0] for fault in found] == ["recipes/my.yaml", "recipes/part.yaml"]


def test_no_such_recipe(recipes: Path) -> None:
    assert faults(recipes / "4091.yaml") == [
        "recipes/4091.yaml: no such recipe; did you mean 4090?"
    ]


def test_not_a_mapping(recipes: Path) -> None:
    assert "not a mapping" in faults(write(recipes / "my.yaml", "- cpu\n"))[0]


@pytest.mark.parametrize("name", ["4090", "a100"])
def test_loading_is_quick_and_imports_no_trainer(name: str) -> None:
    code = f"""
import sys
from pathlib import Path
from tools.recipe.load import load
from tools.recipe.show import show
from tools.check.findings import check
loaded = load(Path("recipes/{name}.yaml"))
show(loaded)
check(loaded)
heavy = {{"torch", "axolotl", "transformers", "datasets", "peft", "pydantic", "jsonschema"}}
heavy &= set(sys.modules)
import time
print(sorted(heavy), time.process_time())
"""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    heavy, seconds = done.stdout.rsplit(" ", 1)
    assert heavy == "[]"
    # Processor time: the clock on the wall also counts what else the machine does.
    assert float(seconds) < pace(), (
        f"{seconds} s of processor, {time.monotonic() - started} s in all"
    )


T5 = """\
defaults: [{card}]
model: {{id: own/t5, source: hub, family: T5, licence: Apache-2.0, instruct: false, kind: {kind},
  context: 512, eos: </s>, pad: <pad>}}
"""


@pytest.mark.parametrize("kind", ["seq2seq", "encoder"])
def test_what_layers_for_all_tell_axolotl_is_no_fault_of_who_trains_without(
    kind: str, recipes: Path
) -> None:
    text = T5.format(card="base, hardware/4090", kind=kind)
    text += "train: {sample_packing: true, learning_rate: 1e-3, micro_batch_size: 1}\n"
    found = load(write(recipes / "my.yaml", text))
    assert found.recipe.train["sample_packing"] is True, "the recipe's own word stays"
    assert found.recipe.train["attn_implementation"] == "sdpa"
    gone = ("sdpa_varlen", "chunked_cross_entropy", "eval_sample_packing")
    assert not {*gone} & found.recipe.train.keys()
    assert not {f"train.{key}" for key in gone} & found.origins.keys()
    causal = load(write(recipes / "my.yaml", text.replace(f"kind: {kind}", "kind: causal")))
    assert {*gone} <= causal.recipe.train.keys()
