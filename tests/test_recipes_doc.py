"""docs/recipes.md: each command is run, each recipe in it loads, each table is complete."""

import dataclasses
import re
import shlex
import subprocess
from pathlib import Path
from typing import get_args

import pytest

from tools.check.findings import check
from tools.check.rules import compressed, losses
from tools.errors import UserError
from tools.plan.job import job
from tools.plan.verdict import plan, render
from tools.recipe.axolotl_schema import OWNED
from tools.recipe.compose import RECIPES
from tools.recipe.formats import FORMATS, SERVED
from tools.recipe.load import load
from tools.recipe.schema import Combination, Order, Quantize, Recipe
from tools.stages import divergence

ROOT = RECIPES.parent
TEXT = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
NAMES = (
    "my.yaml",
    "card.yaml",
    "model.yaml",
    "t5.yaml",
    "mixture.yaml",
    "several.yaml",
    "small.yaml",
    "sharded.yaml",
)
EXAMPLES = dict(zip(NAMES, re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL), strict=True))


def commands() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [re.sub(r"\s+# .*", "", line) for line in lines]


def rows(heading: str) -> list[str]:
    """The first column of the table under a heading."""
    table = re.search(r"(?:^\|.*\n)+", TEXT[TEXT.index(f"## {heading}\n") :], re.MULTILINE)
    assert table
    return [line.split("|")[1] for line in table[0].splitlines()[2:]]


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    for name, text in EXAMPLES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("command", commands())
def test_command_runs(command: str, mine: Path) -> None:
    for name in EXAMPLES:
        command = command.replace(f"RECIPE={name}", f"RECIPE={shlex.quote(str(mine / name))}")
    done = subprocess.run(shlex.split(command), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_every_quick_verb_is_shown() -> None:
    assert {shlex.split(command)[1] for command in commands()} == {"show", "check", "plan"}


def test_the_examples_are_what_they_say(mine: Path) -> None:
    own, small = load(mine / "my.yaml").recipe, load(mine / "small.yaml").recipe
    assert own.model.id == "EleutherAI/pythia-1b" and own.train["learning_rate"] == 1e-4
    assert own.hardware.name == small.hardware.name == "4090"
    assert small.train["max_steps"] == 4
    t5 = load(mine / "t5.yaml").recipe
    assert t5.model.kind == "seq2seq" and "sample_packing" not in t5.train
    assert not [found for found in check(load(mine / "t5.yaml")) if found.verdict == "fail"]
    sharded = load(mine / "sharded.yaml").recipe
    assert sharded.hardware.gpus == 2 and job(sharded).zero_stage == 3


def test_several_adapters_are_merged_in_every_way(mine: Path) -> None:
    merge = load(mine / "several.yaml").recipe.merge
    assert {name: one.weight for name, one in merge.adapters.items()} == {"own": 0.6, "chat": 0.4}
    listed = " ".join(rows("Several adapters"))
    assert set(re.findall(r"`(\w+)`", listed)) == set(get_args(Combination))


CARDS = [
    [cell.strip(" `") for cell in line.strip("|").split("|")]
    for line in re.findall(r"^\| .* \|$", TEXT, re.MULTILINE)
    if re.match(r"\| [\w, ]+ \| [\d.]+ \| \d\.\d \|", line)
]


@pytest.mark.parametrize("row", CARDS, ids=[row[0] for row in CARDS])
def test_a_card_of_the_table_suits_a_recipe(row: list[str], mine: Path) -> None:
    _, memory, capability, tflops, formats, more = row
    words = f"hardware.memory_gib={memory} hardware.capability='{capability}'"
    words += f" hardware.tflops={tflops} hardware.quantize_formats=[{formats}] {more}"
    for cards in ("", "hardware.gpus=2"):
        loaded = load(mine / "card.yaml", [words, cards])
        assert [one.message for one in check(loaded) if one.verdict == "fail"] == []
        assert plan(loaded.recipe, mine).peak.total > 0


def test_the_cards_are_those_people_ask_for() -> None:
    assert {row[0] for row in CARDS} >= {"RTX 3090", "T4", "H100, 80 GB"}


def test_the_model_of_ones_own_is_planned_as_itself(mine: Path) -> None:
    loaded = load(mine / "model.yaml")
    assert [one.message for one in check(loaded) if one.verdict == "fail"] == []
    own, theirs = (plan(one.recipe, mine) for one in (loaded, load(RECIPES / "4090.yaml")))
    assert own.disk.base < theirs.disk.base / 4
    assert max(len(EXAMPLES[name].splitlines()) for name in ("card.yaml", "model.yaml")) <= 15


def test_a_mixture_is_planned_with_its_experts(mine: Path) -> None:
    found = plan(load(mine / "mixture.yaml").recipe, mine)
    assert "14.3 B in all, 2.7 B of them for a token" in render(found)
    names = set(rows("Mixtures of experts"))
    assert names == {" `mlp` ", " `experts` ", " `experts_used` ", " `shared_mlp` "}


def test_what_a_card_lacks_is_named(mine: Path) -> None:
    bare = "defaults: [base, models/mistral-7b, data/instruct]\nhardware: {name: T4, track: none}\n"
    (mine / "bare.yaml").write_text(bare, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load(mine / "bare.yaml")
    told = "\n".join(caught.value.faults)
    for key in ("device", "memory_gib", "capability", "tflops", "quantize_formats"):
        assert f"hardware.{key}: missing; add it" in told


def test_every_section_is_named() -> None:
    sections = {field.name for field in dataclasses.fields(Recipe)} - {"name"}
    assert set(re.findall(r"`(\w+)`", "".join(rows("Write one")))) == sections


def test_every_folder_is_named() -> None:
    folders = {f"{path.name}/" for path in RECIPES.iterdir() if path.is_dir()}
    assert {name.strip(" `") for name in rows("Layers")} == folders | {"base.yaml"}


def test_every_preset_and_debug_layer_is_named() -> None:
    presets = {path.name for path in (RECIPES / "presets").glob("*.yaml")}
    assert set(re.findall(r"presets/([\w.-]+\.yaml)", TEXT)) == presets
    layers = {f"debug/{path.stem}" for path in (RECIPES / "debug").glob("*.yaml")}
    assert {name.strip(" `") for name in rows("Make it small")} == layers - {"debug/no-sources"}


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (ROOT / "docs" / target).exists(), target


def test_every_order_and_every_loss_is_told() -> None:
    assert all(f"| `{order}` |" in TEXT for order in get_args(Order))
    assert {"weight", "difficulty"} <= set(re.findall(r"NAME\.(\w+)`", "".join(rows("The mix"))))
    told = set(re.findall(r"`(\w+)", "".join(rows("The loss"))))
    assert told >= {*losses._WEIGHED, *losses._OF, "balance_labels"}


def test_a_message_leads_to_its_section() -> None:
    assert "docs/recipes.md, Preferences," in OWNED["rl"] and "\n## Preferences\n" in TEXT


def table(heading: str) -> list[list[str]]:
    """The cells below a heading, without the first two lines."""
    found = re.search(r"(?:^\|.*\n)+", TEXT[TEXT.index(f"# {heading}\n") :], re.MULTILINE)
    assert found
    lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in found[0].splitlines()[2:]]
    return [[cell.strip(" `") for cell in cells] for cells in lines]


def test_the_formats_are_the_codes() -> None:
    makers = {"axolotl": "Axolotl (torchao)", "": "nothing is made: the merged model"}
    for name, bits, tool, least, cpu, need, engines in table("Quantizing"):
        one = FORMATS[name]
        assert float(bits) == one.bits and tool == makers.get(one.tool, one.tool)
        known = {None: "none", (0, 0): "any"}
        assert least == known.get(one.capability, ".".join(map(str, one.capability or ())))
        assert cpu == ("yes" if one.cpu else "no")
        assert need == (one.need or ("memory" if one.tool else "-"))
        every = {"transformers", "hf-dynamic", "reference"} <= set(one.engines)
        assert engines == ("every engine" if every else ", ".join(one.engines))
    assert [row[0] for row in table("Quantizing")] == list(SERVED)


def test_the_gates_keys_are_the_codes() -> None:
    quantize = load(RECIPES / "a100.yaml").recipe.quantize
    for key, default, _ in table("The gate"):
        value = getattr(quantize, key)
        said = {"": "none", False: "false"}.get(value, f"{value:g}" if value else "")
        assert default == said, key
    silent = {"format", "perplexity_rows", "need", "chosen", *compressed.OWN}
    keys = {field.name for field in dataclasses.fields(Quantize)} - silent
    assert {row[0] for row in table("The gate")} == keys
    assert f"at {divergence.MOST:,} places" in TEXT
