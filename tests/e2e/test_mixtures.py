"""Mixtures of experts through the real chain: trained by Axolotl, merged, packed and served."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM

from serve.text import TextCodec
from tests.e2e.conftest import RECIPE, call
from tests.serve.conftest import _start_server, byte_level_tokenizer
from tests.tools.stages import bases

#: A minute and more each; the matrix of tests/tools/stages merges every kind in every run.
slow = pytest.mark.skipif(
    not os.environ.get("ONEDAY_TEST_ALL"), reason="slow: make test-all runs it"
)
KINDS = ["mixtral", "qwen1.5-moe", "qwen3-moe"]
PROMPT = "The capital of France is"


def write(folder: Path, kind: str) -> Path:
    """A recipe for a random mixture of that kind, whose files are named as the makers' are."""
    family, tokenizer = bases.FAMILIES[kind], byte_level_tokenizer()
    config = AutoConfig.for_model(
        family.kind, **family.config, vocab_size=len(tokenizer), max_position_embeddings=1024,
        initializer_range=0.05, eos_token_id=tokenizer.eos_token_id, bos_token_id=None,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    torch.manual_seed(0)
    model = folder / "mixture"
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(model)
    tokenizer.save_pretrained(model)
    recipe = folder / "tiny.yaml"
    text = RECIPE.format(path=model).replace(
        "lora_target_linear: true", f"lora_target_modules: [{', '.join(bases.ATTENTION)}]"
    )
    recipe.write_text(text, encoding="utf-8")
    return recipe


def greedy(model: Path, prompt: str, new: int) -> str:
    """What transformers answers with the folder as it lies."""
    codec = TextCodec.load(model)
    net = AutoModelForCausalLM.from_pretrained(model, dtype="auto").eval()
    net = net.dequantize() if getattr(net, "quantization_method", None) else net
    ids = torch.tensor([list(codec.encode_prompt(prompt).ids)])
    made = net.generate(ids, max_new_tokens=new, do_sample=False, pad_token_id=0)
    return codec.decode([one for one in made[0, ids.shape[1] :].tolist() if one != codec.eos_id])


def served(model: Path, prompt: str, new: int, log: Path) -> dict[str, Any]:
    with _start_server(model, log) as server:
        server.wait_ready(300)
        body = {"prompt": prompt, "temperature": 0, "max_new_tokens": new}
        answer = server.post("/process", body, timeout=300)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


@slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("adapter", ["lora", "qlora"])
def test_attention_is_trained_merged_packed_and_served(
    adapter: str, kind: str, tmp_path: Path
) -> None:
    recipe, runs = write(tmp_path, kind), tmp_path / "runs"
    packed = ["train.adapter=qlora train.load_in_4bit=true"] if adapter == "qlora" else []
    done = call("quantize", recipe, runs, "train.max_steps=6 train.save_steps=3 train.eval_steps=3",
                "train.logging_steps=1", *packed)  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]
    run = runs / "tiny"
    base, merged = (
        load_file(f / "model.safetensors") for f in (tmp_path / "mixture", run / "merged")
    )
    assert base.keys() == merged.keys(), "a tensor a matrix, as the base has them"
    moved = {name for name in base if not torch.equal(base[name], merged[name])}
    ours = {  # Qwen's biases stay
        f"{at}.weight"
        for at, _, leaf in (name.rpartition(".") for name in base)
        if leaf == "weight" and ".self_attn." in at and at.rpartition(".")[2] in bases.ATTENTION
    }
    rounded = {name for name in base if "shared_expert" in name}  # qlora: layers, so in 4 bits, too
    assert moved == (ours | rounded if adapter == "qlora" else ours)
    record = json.loads((run / "merged" / "oneday.json").read_text())["metrics"]
    assert record["max_logit_diff"] <= 0.05 * record["max_logit_change"]
    answer = served(run / "quantized", PROMPT, 12, tmp_path / "worker.log")
    assert answer["text"] == greedy(run / "quantized", PROMPT, 12) and answer["text"]


def test_what_would_train_experts_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    recipe, settings = write(tmp_path, "mixtral"), "train.lora_target_linear=true"
    done = call("train", recipe, tmp_path / "runs", settings)
    assert done.returncode == 2 and "trains experts of oneday/tiny" in done.stdout
    assert not (tmp_path / "runs").exists()
