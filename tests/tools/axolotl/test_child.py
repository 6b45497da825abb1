"""The file Axolotl reads, and what it is told over it."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from tests.tiny import EOS, PAD, jsonl, make_run
from tests.tools.axolotl.bare import BATCH, ROWS
from tools.axolotl import child as axolotl
from tools.data import tokens
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
    assert found["use_tensorboard"] is True  # its files go where our call of it says
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


def test_it_is_told_of_our_plugin_and_where_to_go_on(tmp_path: Path) -> None:
    run = make_run(tmp_path, train={"plugins": ["mine.Plugin"]})
    told = axolotl.overrides(run, tmp_path / "a b")
    mine = "tools.axolotl.plugin.OnedayPlugin"
    assert told["plugins"] == ["mine.Plugin", mine] and told["output_dir"] == str(tmp_path / "a b")
    assert told["auto_resume_from_checkpoints"] is True
