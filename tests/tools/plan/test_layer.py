"""What a layer keeps: the sums beside what autograd saves of tiny models, here on the CPU.

Liger's kernels want a card: what they save is read, not run.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from tools.plan import layer
from tools.plan.job import Job
from tools.recipe.schema import Architecture

ARCH = Architecture(64, 2, 160, 128, 4, 2, tied=False)
LORA = Job(ARCH, "lora", 32, 1, rank=4)
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
HALF, FULL = torch.bfloat16, torch.float32
_CHOSEN = {"num_experts_per_tok": 2}
#: Of each mixture: transformers' numbers, and ours.
MIXTURES: dict[str, Any] = {
    "mixtral": (
        {"num_local_experts": 4, **_CHOSEN},
        {"mlp": 160, "experts": 4, "experts_used": 2},
    ),
    "qwen2_moe": (
        {"num_experts": 6, "moe_intermediate_size": 96, "shared_expert_intermediate_size": 192,
         **_CHOSEN},
        {"mlp": 96, "experts": 6, "experts_used": 2, "shared_mlp": 192},
    ),
    "qwen3_moe": (
        {"num_experts": 6, "moe_intermediate_size": 96, "head_dim": 16, **_CHOSEN},
        {"mlp": 96, "experts": 6, "experts_used": 2, "head_dim": 16},
    ),
}  # fmt: skip


@contextmanager
def autocast(dtype: torch.dtype) -> Iterator[None]:
    with torch.autocast("cpu", dtype=HALF, enabled=dtype == HALF):
        yield


def saved(run: Callable[[], torch.Tensor], known: Any) -> int:
    """Bytes of the storages that autograd saves in a call, but for those of parameters."""
    seen = {one.untyped_storage().data_ptr() for one in known}
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in seen:
            kept[storage.data_ptr()] = storage  # held, so that no other gets its address
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = run()
    assert output.requires_grad
    return sum(storage.nbytes() for storage in kept.values())


@functools.cache
def model(layers: int, dtype: torch.dtype, dropout: float, kind: str = "llama") -> Any:
    config = AutoConfig.for_model(
        kind, hidden_size=64, intermediate_size=160, vocab_size=128, num_attention_heads=4,
        num_key_value_heads=2, num_hidden_layers=layers, **MIXTURES.get(kind, ({},))[0],
    )  # fmt: skip
    base = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="sdpa")
    targets = ALL[:4] if kind in MIXTURES else ALL
    lora = LoraConfig(r=4, target_modules=targets, lora_dropout=dropout)
    return get_peft_model(base, lora).train()


def a_layer(dtype: torch.dtype, dropout: float, kind: str = "llama") -> float:
    """Bytes a token of one more layer; what does not grow with the tokens falls out."""

    def size(layers: int, tokens: int) -> int:
        net = model(layers, dtype, dropout, kind)
        ids = torch.arange(tokens)[None] % 128
        with autocast(dtype):
            return saved(lambda: net(input_ids=ids, use_cache=False).logits, net.parameters())

    grown = [size(3, tokens) - size(2, tokens) for tokens in (32, 96)]
    return (grown[1] - grown[0]) / 64


def test_peft_s_layers_in_16_bit() -> None:
    assert layer.kept(LORA) == pytest.approx(a_layer(HALF, 0), rel=0.03)


@pytest.mark.parametrize("dropout", [0.0, 0.05])
def test_peft_s_layers_in_fp32(dropout: float) -> None:
    job = dataclasses.replace(LORA, compute_bytes=4, base_bytes=4, dropout=dropout > 0)
    assert layer.kept(job) == pytest.approx(a_layer(FULL, dropout), rel=0.03)


@pytest.mark.parametrize("dtype", [HALF, FULL])
@pytest.mark.parametrize("kind", MIXTURES)
def test_a_mixture_of_experts(kind: str, dtype: torch.dtype) -> None:
    arch = dataclasses.replace(ARCH, **MIXTURES[kind][1])
    job = dataclasses.replace(LORA, arch=arch, targets=("q", "k", "v", "o"))
    if dtype == FULL:
        job = dataclasses.replace(job, compute_bytes=4, base_bytes=4)
    # Qwen3's norms of queries and keys each keep an fp32 copy, which the plan does not count.
    more = 4 * (64 + 32) if kind == "qwen3_moe" else 0
    assert layer.kept(job) + more == pytest.approx(a_layer(dtype, 0, kind), rel=0.05)


def test_fewer_targets_keep_less() -> None:
    two = dataclasses.replace(LORA, targets=("q", "v"))
    # Copies of the inputs of k, o, gate, up and down; five times what A gives.
    gone = 2 * (64 + 64 + 64 + 64 + 160) + 5 * 2 * 4
    assert layer.kept(LORA) - layer.kept(two) == gone


def _swiglu(gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.silu(gate) * up


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Axolotl's, with the one Triton kernel in torch's words."""
    from axolotl.kernels import lora

    monkeypatch.setattr(lora, "_activation_kernels", lambda kind: (_swiglu, None))
    return lora


@pytest.mark.parametrize("dropout", [0.0, 0.05])
def test_axolotl_s_kernels(dropout: float, kernels: Any) -> None:
    """A kernel at a time, on a layer of PEFT's: its input, dropped input and mask, gate and up."""
    net = model(2, HALF, dropout)
    first = net.base_model.model.model.layers[0]
    job = dataclasses.replace(LORA, dropout=dropout > 0, kernels=("qkv", "o", "mlp"))
    mask = 2 - job.mask_bytes  # a CPU's is of the input's own type
    calls = {
        "qkv": (kernels.apply_lora_qkv, first.self_attn, layer._QKV, 64, 0.0),
        "o": (kernels.apply_lora_o, first.self_attn, layer._O, 64, 0.0),
        "mlp": (kernels.apply_lora_mlp_swiglu, first.mlp, layer._UP, 64, layer._activation(job)),
    }
    for name, (call, module, parts, width, more) in calls.items():

        def size(tokens: int, call: Any = call, module: Any = module) -> int:
            states = torch.randn(1, tokens, 64, dtype=HALF, requires_grad=True)

            def run() -> torch.Tensor:
                made = call(module, states * 1)  # an output of the norm before it, not a leaf
                return made[0] if isinstance(made, tuple) else made

            with autocast(HALF):
                return saved(run, [*net.parameters(), states])

        real = (size(96) - size(32)) / 64
        wanted = layer._inputs(job, parts, width, name, shared=False) + more
        assert wanted + mask * 64 * job.dropout == pytest.approx(real, rel=0.01), name


def test_dora_keeps_outputs_before_their_magnitude() -> None:
    plain = dataclasses.replace(LORA, kernels=("qkv", "o", "mlp"))
    more = layer.kept(dataclasses.replace(plain, dora=True)) - layer.kept(plain)
    assert more == 2 * (64 + 2 * 32 + 64 + 2 * 160 + 64)


def test_liger_s_layers_by_what_their_functions_save() -> None:
    norms = layer.kept(LORA) - layer.kept(dataclasses.replace(LORA, liger=("rms_norm",)))
    assert norms == 2 * (4 - 2) * 64
    glu = layer.kept(LORA) - layer.kept(dataclasses.replace(LORA, liger=("glu",)))
    assert glu == 2 * 160
    kernel = dataclasses.replace(LORA, kernels=("mlp",))
    # Axolotl's kernel takes the place of Liger's.
    assert layer.kept(kernel) == layer.kept(dataclasses.replace(kernel, liger=("glu",)))


def test_selective_checkpointing_saves_what_it_is_told() -> None:
    """Axolotl's own policy over torch's checkpoint, one layer of PEFT's."""
    from axolotl.monkeypatch.selective_checkpointing import build_sac_policy

    class Counting:
        kept = 0

    def policy(**options: Any) -> Counting:
        count, decide = Counting(), build_sac_policy(**options)
        inner = torch.utils.checkpoint.CheckpointPolicy.MUST_SAVE

        class Mode(torch.utils._python_dispatch.TorchDispatchMode):
            def __torch_dispatch__(
                self, func: Any, types: Any, args: Any = (), kwargs: Any = None
            ) -> Any:
                made = func(*args, **(kwargs or {}))
                context = SimpleNamespace(is_recompute=False)
                if decide(context, func, *args, **(kwargs or {})) is inner:
                    parts = made if isinstance(made, tuple) else (made,)
                    count.kept += sum(
                        one.untyped_storage().nbytes() for one in parts if torch.is_tensor(one)
                    )
                return made

        net = model(2, HALF, 0)
        ids = torch.arange(64)[None] % 128
        with autocast(HALF), Mode():
            net.base_model.model.model(input_ids=ids, use_cache=False)
        return count

    attention = dataclasses.replace(LORA, saved=("attention",))
    assert policy(save=["attention"]).kept / 64 / 2 == pytest.approx(
        layer.saved(attention), rel=0.01
    )
    down = dataclasses.replace(LORA, saved=("down",))
    # The product with the base, and that with A: a rank wide.
    real = policy(save=[], save_matmul_min_k=160).kept / 64 / 2
    assert real - 2 * 4 == pytest.approx(layer.saved(down), rel=0.01)
