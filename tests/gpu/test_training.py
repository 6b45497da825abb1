"""Training on a card: the tiny chain, a kill, each served format, and the plan beside the probe."""

import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import RECIPE, ROOT, call, start
from tests.serve.conftest import byte_level_tokenizer, save_model
from tools.files import file_digest, read_json
from tools.plan import probe
from tools.plan.memory import CONTEXT
from tools.plan.points import TOLERANCE, TOLERANCE_KEPT
from tools.plan.verdict import plan
from tools.rebuild import likeness
from tools.rebuild.verify import verify
from tools.recipe.load import load
from tools.run.folder import RECORD, Run

# What hardware/4090.yaml has, but for packs: those tests that pack say so.
TRAIN = "train:\n  bf16: true\n  tf32: true\n  attn_implementation: sdpa\n"
FORMATS = {"int8": "8.0", "fp8": "8.9"}  # beside nf4, with the capability they need


@pytest.fixture(scope="module")
def recipe(card: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipe of the tiny chain, for this card, with a base in bf16 as real ones are."""
    import torch
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("recipes")
    # Axolotl's files of a quantized head that is tied to the embedding do not load back.
    shape = {"vocab_size": 512, "max_position_embeddings": 1024, "initializer_range": 0.05}
    base = save_model(folder / "tiny", byte_level_tokenizer(), **shape)
    AutoModelForCausalLM.from_pretrained(base).to(torch.bfloat16).save_pretrained(base)
    text = RECIPE.format(path=base).replace(" hardware/cpu,", "").replace("train:\n", TRAIN, 1)
    file = folder / "tiny.yaml"
    file.write_text(text + card, encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def alone(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nobody disturbed, from data to quantized (to NF4, at first)."""
    runs = tmp_path_factory.mktemp("alone")
    done = call("quantize", recipe, runs)
    assert done.returncode == 0, done.stdout[-4000:]
    print(_said(done.stdout))
    return runs / "tiny"


def _said(printed: str) -> str:
    """What the stages said of their own checks."""
    return "\n".join(line for line in printed.splitlines() if re.match("(train|merge|quant)", line))


def test_the_chain_passes_its_own_checks(alone: Path) -> None:
    found = {name: read_json(alone / name / RECORD) for name in ("adapter", "merged", "quantized")}
    trained = found["adapter"]["metrics"]
    assert trained["last_loss"] < trained["first_loss"] and trained["peak_gpu_gib"] > 0
    assert found["adapter"]["provenance"]["machine"]["cards"], "the driver told of no card"
    assert not verify(alone)


def test_axolotl_turned_its_kernels_on(alone: Path) -> None:
    log = (alone / "logs" / "train.log").read_text(encoding="utf-8")
    assert "Auto-enabling LoRA kernel optimizations" in log


def test_qlora_is_merged_into_the_weights_it_was_trained_on(recipe: Path, tmp_path: Path) -> None:
    done = call("merge", recipe, tmp_path, "train.adapter=qlora", "train.load_in_4bit=true")
    assert done.returncode == 0, done.stdout[-4000:]
    print(_said(done.stdout))


def test_a_killed_training_goes_on(alone: Path, recipe: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    process = start("train", recipe, tmp_path)
    until = time.monotonic() + 240
    while not any(folder.glob(".adapter.*.partial/checkpoint-*/.complete")):
        assert process.poll() is None, process.stdout.read() if process.stdout else ""
        assert time.monotonic() < until, "there was no checkpoint"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert not (folder / "adapter").exists()
    done = call("train", recipe, tmp_path)
    assert done.returncode == 0, done.stdout[-4000:]
    assert "train: going on from step" in done.stdout

    one, other = alone / "adapter", folder / "adapter"
    same = _digest(one) == _digest(other)
    apart = likeness.logits(Run(load(recipe, []).recipe, tmp_path), one, other)
    losses = [read_json(each / RECORD)["metrics"]["eval_loss"] for each in (one, other)]
    print(f"adapter of the killed run: same bytes {same}, logits {apart.difference:.2g}, {losses}")
    assert same or apart.holds
    assert losses[1] == pytest.approx(losses[0], rel=likeness.LOSS)


def _digest(adapter: Path) -> str:
    return file_digest(adapter / "adapter_model.safetensors")


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_loads_and_predicts(name: str, alone: Path, recipe: Path) -> None:
    import torch

    if torch.cuda.get_device_capability() < tuple(map(int, FORMATS[name].split("."))):
        pytest.skip(f"{name} needs compute capability {FORMATS[name]}")
    done = call("quantize", recipe, alone.parent, f"quantize.format={name}")
    assert done.returncode == 0, done.stdout[-4000:]
    print(_said(done.stdout))
    assert not verify(alone)


# Shapes of real models, with random weights: memory and speed do not ask what the weights are.
SHAPES: dict[str, dict[str, Any]] = {
    "mistral": {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 32000,
        "max_position_embeddings": 32768,
    },
    "llama-1b": {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
        "tie_word_embeddings": True,
        "max_position_embeddings": 8192,
    },
}
BASE = """\
defaults: [{like}]
model:
  id: own/random
  source: local
  path: {path}
  context: 8192
  bos: ""
  eos: <|im_end|>
  pad: <|endoftext|>
  arch: null
train:
  attn_implementation: sdpa
  gradient_accumulation_steps: 2
  optimizer: adamw_torch_fused # what a paged one allocates, torch does not see
"""
PACKED = "  sdpa_varlen: true\n"
# Everything is kept for the backward pass, and the loss takes the logits whole.
KEPT = """\
  lora_r: 16
  sequence_len: 2048
  sample_packing: false
  gradient_checkpointing: false
  chunked_cross_entropy: false
"""
# How far off what is measured the prediction may be.
CASES = {
    "qlora": ("mistral", "4090", PACKED, TOLERANCE),
    "lora": ("mistral", "a100", PACKED, TOLERANCE),
    "kept": ("llama-1b", "a100", KEPT, TOLERANCE_KEPT),
}


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of the models that were made so far."""
    root = tmp_path_factory.mktemp("bases")
    return {name: root / name for name in SHAPES}


def made(folder: Path, shape: dict[str, Any]) -> Path:
    """A model of random bf16 weights, made on the card and saved; the second time it is there."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    if not (folder / "config.json").is_file():
        tokenizer = byte_level_tokenizer()
        ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
        config = LlamaConfig(**shape, **ends, bos_token_id=None, dtype="bfloat16")
        with torch.device("cuda"):
            net = LlamaForCausalLM._from_config(config, dtype=torch.bfloat16)
        net.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        del net
        torch.cuda.empty_cache()
    return folder


@pytest.mark.parametrize("case", CASES)
def test_the_plan_beside_the_probe(
    case: str,
    card: str,
    bases: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What ``docs/planning.md`` promises of the formula, on this card."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    shape, like, more, off = CASES[case]
    base = made(bases[shape], SHAPES[shape])
    recipe = tmp_path / f"{case}.yaml"
    recipe.write_text(BASE.format(like=like, path=base) + more + card, encoding="utf-8")
    runs = tmp_path / "runs"
    found = plan(load(recipe, []).recipe, runs)
    # The recipe alone: what is proposed for it has minutes of its own (benchmarks.card).
    measured = probe.probe(found, runs)
    print(f"{case}: {probe.render(found, measured)}")
    predicted = found.peak.total - CONTEXT
    assert predicted == pytest.approx(measured.peak, rel=off)
    assert measured.tokens_per_second > 0
