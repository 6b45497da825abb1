"""The peak of a step, beside the bytes that tiny models really hold at their largest moment."""

import dataclasses
import weakref
from typing import Any

import pytest
import torch
from accelerate.utils.operations import convert_outputs_to_fp32
from axolotl.monkeypatch.loss.chunked import CEWithChunkedOutputLoss
from peft import LoraConfig, get_peft_model
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from transformers import AutoConfig, AutoModelForCausalLM

from tools.plan.job import Job
from tools.plan.memory import peak
from tools.recipe.schema import Architecture

ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
WIDE = Architecture(64, 4, 160, 2000, 4, 2, tied=False)
DEEP = Architecture(64, 4, 512, 128, 4, 2, tied=False)


class Live(TorchDispatchMode):
    """Counts the bytes of the storages that are alive."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._seen = weakref.WeakSet[Any]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        tree_map_only(torch.Tensor, self._note, made)
        return made

    def _note(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage not in self._seen:
            self._seen.add(storage)
            size = storage.nbytes()
            weakref.finalize(storage, self._gone, size)
            self.now += size
            self.most = max(self.most, self.now)
        return tensor

    def _gone(self, size: int) -> None:
        self.now -= size


def made(arch: Architecture) -> Any:
    config = AutoConfig.for_model(
        "llama", hidden_size=arch.hidden, intermediate_size=arch.mlp, vocab_size=arch.vocab,
        num_attention_heads=arch.heads, num_key_value_heads=arch.kv_heads,
        num_hidden_layers=arch.layers,
    )  # fmt: skip
    net = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16, attn_implementation="sdpa")
    return get_peft_model(net, LoraConfig(r=4, target_modules=ALL)).train()


def chunked(logits: Any, labels: Any, vocab_size: int, **_: Any) -> Any:
    """Axolotl's, but for the compiler."""
    return CEWithChunkedOutputLoss()(list(logits.chunk(8, dim=1)), labels, reduction="mean")


def largest(job: Job) -> int:
    """Bytes above weights and gradients in a step after the first."""
    net = made(job.arch)
    if job.checkpointing:
        net.enable_input_require_grads()
        net.gradient_checkpointing_enable({"use_reentrant": False})
    run = torch.autocast("cpu", dtype=torch.bfloat16)(net.forward)
    forward = convert_outputs_to_fp32(run)
    ids = torch.randint(job.arch.vocab, (job.micro_batch, job.sequence))

    if job.loss == "chunked":
        net.base_model.model.loss_function = chunked

    def loss() -> torch.Tensor:
        lost: torch.Tensor = forward(input_ids=ids, labels=ids, use_cache=False).loss
        return lost

    loss().backward()  # gradients are there from now on
    with Live() as live:
        loss().backward()
    return live.most


@pytest.mark.parametrize("checkpointing", [True, False])
@pytest.mark.parametrize("arch", [WIDE, DEEP], ids=["wide vocabulary", "wide layers"])
def test_the_largest_moment(arch: Architecture, checkpointing: bool) -> None:
    job = Job(arch, "lora", 256, 2, rank=4, checkpointing=checkpointing, loss="hf")
    found, real = peak(job), largest(job)
    assert found.activations + found.logits == pytest.approx(real, rel=0.1)


def test_the_chunked_loss() -> None:
    job = Job(WIDE, "lora", 256, 2, rank=4, loss="chunked")
    found, real = peak(job), largest(job)
    # Not compiled, a chunk's loss keeps fp32 log-probabilities in place of the 16-bit copy, and an
    # eighth of them once more as their gradient comes.
    plain = (4 - 2 + 4 / 8) * job.tokens * job.arch.vocab
    assert found.activations + found.logits + plain == pytest.approx(real, rel=0.05)
    one = dataclasses.replace(job, micro_batch=1, sequence=512)
    assert peak(one).logits < found.logits
