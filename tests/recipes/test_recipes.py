"""Every recipe and layer: composed for each card, rendered, taken by Axolotl's own validation."""

import dataclasses
import importlib.metadata
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from tools import axolotl
from tools.check.findings import check, exit_code
from tools.errors import UserError
from tools.evaluate import lm_lengths
from tools.plan.propose import candidates, proposals
from tools.plan.verdict import plan
from tools.recipe.compose import RECIPES
from tools.recipe.load import Loaded, load
from tools.recipe.schema import Architecture, Model, Recipe
from tools.run.folder import Run

FILES = sorted(
    file.relative_to(RECIPES).as_posix().removesuffix(".yaml")
    for file in RECIPES.glob("**/*.yaml")
    # Layers that PROBE=1 wrote are the user's.
    if file.name != "rules.yaml" and file.parent.name != "tuned"
)
WHOLE = ["4090", "a100", "cpu", "2x4090", *(n for n in FILES if n.startswith("presets/"))]
MODELS = [name for name in FILES if name.startswith("models/")]
#: Of those Axolotl trains; the others are tests/tools/recipe/test_stacks.py's.
CAUSAL = [
    name for name in MODELS if "kind: causal" in (RECIPES / f"{name}.yaml").read_text("utf-8")
]
#: Trained by our own trainers; tests/tools/recipe/test_load.py has them.
OTHER_KINDS = ["cpu-encoder", "cpu-t5"]
DEBUG = ["debug/smoke", "debug/limit", "debug/overfit"]
PARTS = ["base", "debug/no-sources"]  # no recipe without other files; seen through those
# What torch would say of the cards, in Axolotl's words.
CARDS: dict[str, dict[str, Any]] = {
    "4090": {"bf16": True, "tf32": True, "fp8": True, "compute_capability": "sm_89", "n_gpu": 1},
    "2x4090": {"bf16": True, "tf32": True, "fp8": True, "compute_capability": "sm_89", "n_gpu": 2},
    "a100": {"bf16": True, "tf32": True, "fp8": False, "compute_capability": "sm_80", "n_gpu": 1},
    "h100": {"bf16": True, "tf32": True, "fp8": True, "compute_capability": "sm_90", "n_gpu": 1},
    "cpu": {"bf16": False, "tf32": False, "fp8": False, "compute_capability": None, "n_gpu": 0},
    "2xcpu": {"bf16": False, "tf32": False, "fp8": False, "compute_capability": None, "n_gpu": 0},
}
ONE_CARD = ["4090", "a100", "cpu"]
# A recipe without opinions: what a layer meets when it is composed into someone's own.
NEUTRAL = """\
defaults: [base, hardware/{card}, models/mistral-7b, data/reasoning, serve/helm]
train:
  adapter: lora
  lora_r: 8
  lora_alpha: 16
  sequence_len: 1024
  micro_batch_size: 1
  gradient_accumulation_steps: 1
  optimizer: adamw_torch
  learning_rate: 1e-4
  eval_steps: 10
  save_steps: 10
"""
Take = Callable[[Recipe], dict[str, Any]]


def composed(folder: Path, card: str, *layers: str) -> Loaded:
    """The layers over a neutral recipe for the card, or over the whole recipe that leads them."""
    (folder / "neutral.yaml").write_text(NEUTRAL.format(card=card), encoding="utf-8")
    lead = [] if layers[0] in WHOLE else ["neutral"]
    mine = folder / "my.yaml"
    mine.write_text(f"defaults: [{', '.join([*lead, *layers])}]\n", encoding="utf-8")
    return load(mine)


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    return {"torch_version": importlib.metadata.version("torch").split("+")[0]}


@pytest.fixture
def take(tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Take:
    """Renders a recipe as the train verb does and hands it to Axolotl; what Axolotl makes of it."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("AXOLOTL_DO_NOT_TRACK", "1")
    monkeypatch.chdir(RECIPES.parent)
    from axolotl.cli.config import prepare_plugins
    from axolotl.utils.config import validate_config
    from axolotl.utils.dict import DictDefault

    def taken(recipe: Recipe) -> dict[str, Any]:
        run = Run(recipe, tmp_path / "runs")
        run.path.mkdir(parents=True)
        text = axolotl.render(run, Path("base")).read_text(encoding="utf-8")
        values: Any = OmegaConf.to_container(OmegaConf.create(text))
        prepare_plugins(DictDefault(values))  # or their keys are dropped
        checked = validate_config(
            DictDefault(values),
            capabilities=CARDS[recipe.hardware.name],
            env_capabilities=environment,
        )
        return {key: checked[key] for key in recipe.train}

    return taken


def cards(name: str) -> list[str]:
    """A card's own layer is for that card; all else is for each."""
    return [name.split("/")[1]] if name.startswith("hardware/") else ONE_CARD


CASES = [
    (name, card)
    for name in FILES
    if name not in [*PARTS, *OTHER_KINDS] and (name not in MODELS or name in CAUSAL)
    for card in cards(name)
]


@pytest.mark.parametrize(("name", "card"), CASES)
def test_axolotl_takes_it_on_each_card(name: str, card: str, tmp_path: Path, take: Take) -> None:
    recipe = composed(tmp_path, card, name, f"hardware/{card}").recipe
    assert recipe.hardware.name in (card, "2x4090")
    # What went in came out: nothing dropped, nothing switched off.
    assert take(recipe) == recipe.train


@pytest.mark.parametrize("name", WHOLE)
def test_what_the_plan_proposes_is_taken(name: str, tmp_path: Path, take: Take) -> None:
    """Each `SET=` line, and each candidate of PROBE=1, as the recipe it makes."""
    found = plan(load(RECIPES / f"{name}.yaml").recipe, tmp_path)
    offers = [*proposals(found, tmp_path), *candidates(found, tmp_path, 3)]
    for number, offer in enumerate(offers):
        recipe = load(RECIPES / f"{name}.yaml", [offer.settings]).recipe
        assert take(dataclasses.replace(recipe, name=str(number))) == recipe.train


@pytest.mark.parametrize("name", [*WHOLE, *OTHER_KINDS])
def test_what_is_shipped_fits_by_its_own_plan(name: str, tmp_path: Path) -> None:
    assert plan(load(RECIPES / f"{name}.yaml").recipe, tmp_path).verdict != "does not fit"


@pytest.mark.parametrize("layer", DEBUG)
@pytest.mark.parametrize("name", WHOLE)
def test_every_recipe_can_be_shrunk(name: str, layer: str, tmp_path: Path, take: Take) -> None:
    recipe = composed(tmp_path, "cpu", name, layer).recipe
    assert take(recipe) == recipe.train
    steps, epochs = recipe.train.get("max_steps"), recipe.train["num_epochs"]
    assert steps == 4 or epochs < 1 or list(recipe.data.sources) == ["counting"]
    assert recipe.eval.max_instances <= 5


def test_every_file_was_seen(tmp_path: Path) -> None:
    seen = {
        file.resolve().relative_to(RECIPES).as_posix().removesuffix(".yaml")
        for name in {name for name, _ in CASES}
        for file in composed(tmp_path, "cpu", name).files
        if file.resolve().is_relative_to(RECIPES)
    }
    assert seen == set(FILES) - (set(MODELS) - set(CAUSAL)) - set(OTHER_KINDS)
    assert (len(FILES), len(MODELS), len(CAUSAL), len(WHOLE)) == (109, 61, 33, 12)


@pytest.mark.parametrize("name", FILES)
def test_the_first_line_is_for_the_editor(name: str) -> None:
    line = (RECIPES / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert line == f"# yaml-language-server: $schema={'../' * name.count('/')}schema.json"


@pytest.mark.parametrize("name", MODELS)
def test_a_model_leaves_nothing_of_the_one_before(name: str) -> None:
    """Each number is written down; what only some have goes with the section, see the next test."""
    written: Any = OmegaConf.to_container(OmegaConf.load(RECIPES / f"{name}.yaml"))
    # A head is new or none for one recipe, not for a model; words are a drawn model's alone.
    elsewhere = {"package", "path", "head", "words"}
    model = {field.name for field in dataclasses.fields(Model)} - elsewhere
    assert set(written["model"]) - {"package", "words"} == model
    numbers = {field.name for field in dataclasses.fields(Architecture)}
    # Of a mixture alone: another model's section goes as a whole, see the next test.
    mixture = {"experts", "experts_used", "shared_mlp"}
    arch = set(written["model"]["arch"])
    numbers -= {"encoder"} if name in CAUSAL else set()
    assert arch == numbers if arch & mixture else arch == numbers - mixture
    assert written["train"]["lora_target_modules"]
    assert written["model"]["pad"] != written["model"]["eos"]
    assert len(written["model"]["revision"]) in (0, 40)


@pytest.mark.parametrize("before", ["mixtral-8x7b", "t5-small"])
def test_a_model_leaves_nothing_of_its_own_to_the_one_after_it(before: str, tmp_path: Path) -> None:
    recipe = composed(tmp_path, "4090", f"models/{before}", "models/qwen2-7b").recipe
    arch = recipe.model.arch
    assert arch and arch.experts == 0 and arch.encoder is None and recipe.model.kind == "causal"


# Weights in 10^9, as the makers publish them.
SIZES = {
    "bloom-560m": 0.559,
    "bloom-7b1": 7.07,
    "cerebras-gpt-6.7b": 6.66,
    "falcon-7b": 6.92,
    "gpt-j-6b": 6.05,
    "gpt-neo-2.7b": 2.65,
    "gpt-neox-20b": 20.55,
    "gpt2": 0.124,
    "gpt2-xl": 1.56,
    "llama-2-13b": 13.02,
    "llama-2-70b": 68.98,
    "llama-2-7b": 6.74,
    "llama-7b": 6.74,
    "mistral-7b": 7.24,
    "mixtral-8x7b": 46.7,
    "mpt-7b": 6.65,
    "open-llama-7b-v2": 6.74,
    "opt-1.3b": 1.316,
    "opt-6.7b": 6.66,
    "pythia-1b": 1.012,
    "pythia-6.9b": 6.86,
    "qwen1.5-moe-a2.7b": 14.3,
    "qwen2-7b": 7.62,
    "qwen2.5-14b": 14.77,
    "qwen2.5-7b": 7.62,
    "qwen3-1.7b": 1.72,
    "qwen3-30b-a3b": 30.5,
    "qwen3-4b": 4.02,
    "redpajama-3b": 2.78,
    "redpajama-7b": 6.86,
    "smollm2-135m-instruct": 0.1345,
    "smollm3-3b": 3.08,
}


def model_of(name: str, folder: Path) -> tuple[Model, dict[str, Any]]:
    recipe = composed(folder, "4090", f"models/{name}").recipe
    return recipe.model, recipe.train


@pytest.mark.parametrize(("name", "billions"), SIZES.items())
def test_the_numbers_make_the_published_size(name: str, billions: float, tmp_path: Path) -> None:
    arch = model_of(name, tmp_path)[0].arch
    assert arch
    width = (arch.head_dim or arch.hidden // arch.heads) * (arch.heads + arch.kv_heads)
    mlp = max(arch.experts, 1) * arch.mlp + arch.shared_mlp
    block = 2 * width * arch.hidden + (3 if arch.gated else 2) * arch.hidden * mlp
    weights = arch.layers * block + (1 if arch.tied else 2) * arch.vocab * arch.hidden
    # Norms, biases and learned positions are left out.
    assert weights == pytest.approx(billions * 1e9, rel=0.015)


TYPES = {
    "Bloom": "bloom",
    "Cerebras": "gpt2",
    "Falcon": "falcon",
    "GPT-2": "gpt2",
    "GPT-J": "gptj",
    "GPT-Neo": "gpt_neo",
    "GPT-NeoX": "gpt_neox",
    "LLaMA": "llama",
    "Llama 2": "llama",
    "MPT": "mpt",
    "Mistral": "mistral",
    "OPT": "opt",
    "OpenLLaMA": "llama",
    "Persimmon": "persimmon",
    "Pythia": "gpt_neox",
    "Qwen": "qwen2",
    "RedPajama": "gpt_neox",
    "SmolLM2": "llama",
    "SmolLM3": "smollm3",
}
#: Of a family whose other members are older, and built otherwise.
NEWER = {"qwen3-1.7b": "qwen3", "qwen3-4b": "qwen3"}
#: Whose head is tied, other than their type's default has it; their sizes tell.
TIED = {"smollm2-135m-instruct", *NEWER}
MIXTURES = {
    "mixtral-8x7b": "mixtral",
    "qwen1.5-moe-a2.7b": "qwen2_moe",
    "qwen3-30b-a3b": "qwen3_moe",
}
#: Of a shared expert: PEFT takes these names for those of all experts.
SHARED = {"gate_proj", "up_proj", "down_proj", "shared_expert_gate"}


def type_of(name: str, model: Model) -> str:
    short = name.removeprefix("models/")
    return MIXTURES.get(short) or NEWER.get(short) or TYPES[model.family]


@pytest.fixture(scope="module")
def networks() -> dict[str, Any]:
    """Transformers' own network of every model type, without memory for weights."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        return {
            kind: AutoModelForCausalLM.from_config(AutoConfig.for_model(kind))
            for kind in {*TYPES.values(), *MIXTURES.values(), *NEWER.values()}
        }


@pytest.mark.parametrize("name", CAUSAL)
def test_lora_sits_on_every_linear_layer(
    name: str, networks: dict[str, Any], tmp_path: Path
) -> None:
    from torch.nn import Linear
    from transformers.pytorch_utils import Conv1D

    model, train = model_of(name.removeprefix("models/"), tmp_path)
    network = networks[type_of(name, model)]
    head = network.get_output_embeddings()
    layers = {
        path.rpartition(".")[2]
        for path, module in network.named_modules()
        if isinstance(module, Linear | Conv1D) and module is not head
    }
    layers -= SHARED if model.arch and model.arch.experts else set()
    assert set(train["lora_target_modules"]) == layers
    tied = network.config.tie_word_embeddings or name.removeprefix("models/") in TIED
    assert model.arch and model.arch.tied == tied


#: Families whose attention cannot keep packs apart: tests/tools/axolotl/test_packed_attention.py.
PACKS_LEAK = {"Falcon", "Persimmon"}


@pytest.mark.parametrize("name", CAUSAL)
def test_attention_is_one_that_the_network_has(
    name: str, networks: dict[str, Any], tmp_path: Path
) -> None:
    model, train = model_of(name.removeprefix("models/"), tmp_path)
    network = networks[type_of(name, model)]
    everywhere = network._supports_sdpa and network._supports_flash_attn
    assert train["attn_implementation"] == ("sdpa" if everywhere else "eager")
    ours = model.family not in PACKS_LEAK
    assert (everywhere and ours) or train["sample_packing"] is False


# challenge facts, section 5, in Axolotl's present keys.
FINALISTS: dict[str, dict[str, Any]] = {
    "birbal": {
        "adapter": "qlora", "load_in_4bit": True, "lora_r": 128, "lora_alpha": 256,
        "lora_dropout": 0.05, "learning_rate": 2e-5, "lr_scheduler": "cosine", "warmup_steps": 100,
        "optimizer": "paged_adamw_32bit", "weight_decay": 0.01, "max_grad_norm": 0.3,
        "micro_batch_size": 2, "gradient_accumulation_steps": 4, "sequence_len": 8192,
        "sample_packing": True, "num_epochs": 3, "eval_steps": 64, "save_steps": 64,
        "neftune_noise_alpha": 5, "load_best_model_at_end": True,
    },
    "qwen-14b-lora": {
        "adapter": "lora", "bf16": True, "lora_r": 8, "lora_alpha": 32, "lora_dropout": 0.1,
        "learning_rate": 5e-5, "lr_scheduler": "cosine", "micro_batch_size": 2,
        "gradient_accumulation_steps": 4, "sequence_len": 1024, "num_epochs": 1,
    },
    "mistral-lora-8bit": {
        "adapter": "lora", "load_in_8bit": True, "lora_r": 8, "lora_alpha": 32,
        "lora_dropout": 0.05, "lora_target_modules": ["q_proj", "v_proj"], "learning_rate": 1e-4,
        "micro_batch_size": 8, "gradient_accumulation_steps": 4, "sequence_len": 512,
        "num_epochs": 5,
    },
    "qwen-14b-qlora": {
        "adapter": "qlora", "load_in_4bit": True, "lora_r": 8, "lora_alpha": 16,
        "learning_rate": 4e-4, "weight_decay": 0.2, "gradient_accumulation_steps": 8,
        "sequence_len": 2048, "sample_packing": False, "num_epochs": 1,
    },
    "mistral-qlora-packed": {
        "adapter": "qlora", "load_in_4bit": True, "lora_r": 32, "lora_alpha": 16,
        "learning_rate": 2e-4, "optimizer": "adamw_bnb_8bit", "micro_batch_size": 8,
        "gradient_accumulation_steps": 4, "sequence_len": 2048, "sample_packing": True,
        "num_epochs": 1,
    },
}  # fmt: skip
ROWS = {
    "birbal": 200_000,
    "qwen-14b-lora": 240_000,
    "mistral-lora-8bit": 9_846,
    "qwen-14b-qlora": 800,
    "mistral-qlora-packed": 168_500,
}


@pytest.mark.parametrize("name", FINALISTS)
def test_presets_are_the_finalists(name: str) -> None:
    loaded = load(RECIPES / "presets" / f"{name}.yaml")
    train, sources = loaded.recipe.train, loaded.recipe.data.sources.values()
    assert {key: train.get(key) for key in FINALISTS[name]} == FINALISTS[name]
    assert sum(source.rows or 0 for source in sources) == ROWS[name]
    assert exit_code(check(loaded)) == 0


# PostTrainBench's base models, by its README: what the presets train.
CONTEST = {
    "posttrainbench-qwen3-1.7b": "Qwen/Qwen3-1.7B-Base",
    "posttrainbench-qwen3-4b": "Qwen/Qwen3-4B-Base",
    "posttrainbench-smollm3-3b": "HuggingFaceTB/SmolLM3-3B-Base",
}


@pytest.mark.parametrize("name", CONTEST)
def test_presets_of_the_contest_keep_its_rules(name: str, tmp_path: Path) -> None:
    """One H100, ten hours, a base model, no test questions; it fits, and no seven days more."""
    loaded = load(RECIPES / "presets" / f"{name}.yaml")
    recipe = loaded.recipe
    assert recipe.model.id == CONTEST[name] and not recipe.model.instruct
    card = recipe.hardware
    assert (card.name, card.gpus, card.track, recipe.budget.hours) == ("h100", 1, "none", 10)
    assert {source.split for source in recipe.data.sources.values()} == {"train"}
    assert exit_code(check(loaded)) == 0
    found = plan(recipe, tmp_path)
    assert found.judged["memory"] == found.judged["time"] == "fits"


@pytest.mark.parametrize("name", CONTEST)
def test_what_they_are_evaluated_by_is_in_their_head(name: str) -> None:
    text = (RECIPES / "presets" / f"{name}.yaml").read_text(encoding="utf-8")
    assert f"RECIPE=recipes/presets/{name}.yaml" in text
    (tasks,) = re.findall(r"TASKS=(\S+)", text)
    recipe = load(RECIPES / "presets" / f"{name}.yaml").recipe
    asked = dict.fromkeys(tasks.split(","))
    assert len(asked) == 4 and asked.keys() <= lm_lengths.index().keys()
    lm_lengths.refuse_longer(recipe, asked)
    with pytest.raises(UserError, match="aime25 asks for 32768"):
        evaluated = dataclasses.replace(recipe.eval, max_new_tokens=0)
        lm_lengths.refuse_longer(dataclasses.replace(recipe, eval=evaluated), asked)


def test_every_preset_is_a_finalist_or_of_the_contest() -> None:
    presets = {file.stem for file in (RECIPES / "presets").glob("*.yaml")}
    assert presets == set(FINALISTS) | set(CONTEST) and set(FINALISTS) == set(ROWS)


def test_the_winners_prompt_comes_before_helms_rules() -> None:
    rules = load(RECIPES / "presets" / "birbal.yaml").recipe.serve.rules
    assert next(iter(rules)) == "zero_shot" and "letter" in rules


def test_several_cards_see_the_rows_that_one_sees_in_a_step() -> None:
    recipe = load(RECIPES / "2x4090.yaml").recipe
    assert (recipe.hardware.gpus, recipe.hardware.track) == (2, "none")
    one = load(RECIPES / "4090.yaml").recipe.train
    both = 2 * recipe.train["gradient_accumulation_steps"] * recipe.train["micro_batch_size"]
    assert both == one["gradient_accumulation_steps"] * one["micro_batch_size"]
    assert "deepspeed" not in recipe.train, "it is not in the environment that make sets up"


@pytest.mark.parametrize("stage", [2, 3])
def test_zero_files_leave_sizes_to_the_trainer(stage: int) -> None:
    file = RECIPES / "deepspeed" / f"zero{stage}.json"
    zero = json.loads(file.read_text(encoding="utf-8"))
    assert zero["zero_optimization"]["stage"] == stage
    assert zero["train_batch_size"] == zero["gradient_clipping"] == "auto"
    # By itself it is 500 million numbers, allocated twice: 2 GB of each card in 16 bit.
    assert zero["zero_optimization"]["reduce_bucket_size"] == "auto"
