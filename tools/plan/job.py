"""What is trained, in the numbers the planner counts with, from Axolotl's keys of ``train``."""

import fnmatch
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tools.base_model.architecture import architecture
from tools.recipe import lora_kernels
from tools.recipe.arch import head_width, shapes
from tools.recipe.schema import Architecture, Recipe
from tools.recipe.stacks import linears

Method = Literal["lora", "qlora", "full"]
Loss = Literal["hf", "hf_2024", "chunked", "liger", "fused", "liger_fused"]

# Of a linear weight. bitsandbytes: 4 bits, an absmax a block of 64 (fp32, or one byte with double
# quantization, whose own scales come a block of 256); LLM.int8: one byte.
NF4_DOUBLE, NF4, INT8 = 0.5 + 1 / 64 + 4 / (64 * 256), 0.5 + 4 / 64, 1.0
FP32 = 4

# By target name, the parts of a layer it stands for; names of one file of modeling code.
_ATTENTION, _MLP = ("q", "k", "v", "o"), ("gate", "up", "down")
TARGETS: dict[str, tuple[str, ...]] = {
    "q_proj": ("q",),
    "k_proj": ("k",),
    "v_proj": ("v",),
    **dict.fromkeys(("o_proj", "out_proj", "output_proj", "dense", "attn.c_proj"), ("o",)),
    **dict.fromkeys(("query_key_value", "qkv_proj", "c_attn", "Wqkv", "W_pack"), ("qkv",)),
    **dict.fromkeys(("gate_proj", "w1"), ("gate",)),
    **dict.fromkeys(("up_proj", "w2", "fc1", "fc_in", "c_fc", "dense_h_to_4h"), ("up",)),
    "gate_up_proj": ("gate", "up"),
    **dict.fromkeys(("down_proj", "fc2", "fc_out", "dense_4h_to_h"), ("down",)),
    "c_proj": ("o", "down"),  # attention and feed-forward part both have one
}
ALL_LINEAR = (*_ATTENTION, *_MLP)
# Axolotl's kernels for LoRA, and the parts that must all have an adapter for each
# (axolotl.monkeypatch.lora_kernels.apply_lora_kernel_patches).
KERNELS = {
    name: tuple(part for module in modules for part in TARGETS[module])
    for name, modules in lora_kernels.MODULES.items()
}

_CCE = "axolotl.integrations.cut_cross_entropy.CutCrossEntropyPlugin"
_LIGER = "axolotl.integrations.liger.LigerPlugin"
_EVERY = ("all", "all linear", "all-linear", "all_linear", "linear")
_DEFAULT_LENGTH, _DEFAULT_RANK = 512, 8  # Axolotl's and PEFT's
_ANSWER = 32  # tokens of an answer with its end: most of HELM's are a letter, a number, a phrase


@dataclass(frozen=True)
class Job:
    """All that memory and speed depend on.

    Attributes:
        arch: the model's numbers.
        method: what is trained: adapters (``qlora``: on a quantized base) or all weights.
        sequence: tokens of the longest row, packed or padded.
        micro_batch: rows a forward pass.
        rank: of the adapters.
        targets: parts of a layer with adapters, as in :data:`ALL_LINEAR`, or ``qkv`` in one.
        checkpointing: whether layers are computed again in the backward pass.
        loss: how the cross-entropy is computed.
        optimizer: Axolotl's name of it.
        offload: whether the saved layer inputs lie in host memory.
        base_bytes: of a frozen linear weight.
        embedding_bytes: of a weight of embedding and head; PEFT alone makes them fp32 under a
            quantized base.
        compute_bytes: of an activation, and of a weight that is trained whole.
        adapter_bytes: of an adapter's weight; PEFT makes them fp32.
        trained_matrices: embedding and head trained beside the adapters: 0, 1 or 2.
        dora: whether magnitudes are learnt, too.
        eager: whether attention keeps all its scores.
        accumulation: micro-batches a step.
        zero_stage: of DeepSpeed, 0 for none.
        gpus: cards that train together, or processes on a CPU; all sizes are those of each.
        dropout: whether adapters drop some of their input.
        kernels: keys of :data:`KERNELS` that Axolotl's own kernels compute.
        liger: Liger's modules in use that keep less: ``rms_norm``, ``glu``.
        saved: what selective checkpointing keeps of a layer that is computed again: ``attention``,
            and parts whose product with the base's weights it keeps.
        saved_offload: whether that lies in host memory.
        upcast: whether the residual stream is fp32, as PEFT's own fp32 norms and embedding make it.
        answer: of a model with an encoder: tokens of an answer.
    """

    arch: Architecture
    method: Method
    sequence: int
    micro_batch: int
    rank: int = 0
    targets: tuple[str, ...] = ALL_LINEAR
    checkpointing: bool = True
    loss: Loss = "hf"
    optimizer: str = "adamw_torch"
    offload: bool = False
    base_bytes: float = 2.0
    embedding_bytes: int = 2
    compute_bytes: int = 2
    adapter_bytes: int = FP32
    trained_matrices: int = 0
    dora: bool = False
    eager: bool = False
    accumulation: int = 1
    zero_stage: int = 0
    gpus: int = 1
    dropout: bool = False
    kernels: tuple[str, ...] = ()
    liger: tuple[str, ...] = ()
    saved: tuple[str, ...] = ()
    saved_offload: bool = False
    upcast: bool = False
    answer: int = 0

    @property
    def causal(self) -> bool:
        """Whether it is a decoder alone, which is what Axolotl trains."""
        return self.arch.encoder is None

    @property
    def tokens(self) -> int:
        """Of one forward pass."""
        return self.sequence * self.micro_batch

    @property
    def adapted(self) -> dict[str, tuple[int, int]]:
        """Width of input and output of every part with an adapter."""
        if self.method == "full" or self.arch.encoder:
            return {}
        query, key = head_width(self.arch)
        known = {**shapes(self.arch), "qkv": (self.arch.hidden, query + 2 * key)}
        return {part: known[part] for part in self.targets if part in known}

    @property
    def residual_bytes(self) -> int:
        """Of an activation between layers."""
        return FP32 if self.upcast else self.compute_bytes

    @property
    def mask_bytes(self) -> int:
        """Of an element of dropout's mask: a bool on a card, a number on a CPU, in fp32."""
        return 1 if self.compute_bytes < FP32 else FP32


def job(recipe: Recipe) -> Job:
    """What the recipe trains.

    Embedding and head count 16 bit under a quantized base, too: PEFT makes them fp32, and Axolotl
    makes them 16 bit again before training (``should_convert`` in axolotl.loaders.model).

    Raises:
        UserError: the model's numbers are not known.
    """
    train, card = recipe.train, recipe.hardware
    size = _compute_bytes(train, card.device)
    modules = [str(name) for name in train.get("lora_modules_to_save") or ()]
    checkpointing, offload = _checkpointing(train)
    arch = architecture(recipe.model)
    targets = _modules(train, arch) if arch.encoder else _targets(train)
    selective = _selective(train) if checkpointing else {}
    return Job(
        arch=arch,
        method=_method(train),
        sequence=train.get("sequence_len") or _DEFAULT_LENGTH,
        micro_batch=train.get("micro_batch_size") or 1,
        rank=train.get("lora_r") or _DEFAULT_RANK,
        targets=targets,
        checkpointing=checkpointing,
        offload=offload,
        loss=_loss(train),
        optimizer=str(train.get("optimizer") or "adamw_torch_fused"),  # Axolotl's default
        base_bytes=_base_bytes(train, size),
        embedding_bytes=size,
        compute_bytes=size,
        adapter_bytes=size if train.get("peft_autocast_adapter_dtype") is False else 4,
        trained_matrices=sum(bool(re.search("embed|head|wte", name)) for name in modules),
        dora=bool(train.get("peft_use_dora")),
        # With dropout torch's attention keeps all scores on a CPU, and these models have it.
        eager=train.get("attn_implementation") == "eager"
        or (arch.encoder is not None and card.device == "cpu"),
        answer=_ANSWER if arch.encoder else 0,
        accumulation=train.get("gradient_accumulation_steps") or 1,
        zero_stage=_zero_stage(train),
        gpus=card.gpus,
        dropout=bool(train.get("lora_dropout")),
        kernels=_kernels(train, targets, arch) if card.device == "cuda" else (),
        liger=_liger(train),
        saved=_saved(selective, train, arch),
        saved_offload=bool(selective.get("offload")),
    )


def parts(targets: Any) -> tuple[tuple[str, ...], list[str]]:
    """Which parts of a layer get adapters, from names in any of the usual ways.

    Args:
        targets: a list of module names, a text of them (``q_proj,v_proj``, ``qv``) or ``all
            linear``.

    Returns:
        Parts as in :data:`ALL_LINEAR`, and the names that stand for none.
    """
    if isinstance(targets, str) and targets.strip().lower() in _EVERY:
        return ALL_LINEAR, []
    names = targets if isinstance(targets, list) else re.split(r"[\s,+/;]+", str(targets or ""))
    found: dict[str, None] = {}
    unknown = []
    for name in filter(None, map(str, names)):
        known = _stands_for(name)
        unknown += [] if known else [name]
        found.update(dict.fromkeys(known))
    return tuple(found), unknown


def _stands_for(name: str) -> tuple[str, ...]:
    if name in ("attention", "attn"):
        return ("q", "k", "v", "o")
    if name == "mlp":
        return ("gate", "up", "down")
    last = name.rsplit(".", 1)[-1]
    if found := TARGETS.get(name) or TARGETS.get(last):
        return found
    if last in ALL_LINEAR:
        return (last,)
    return tuple(last) if re.fullmatch("[qkvo]{1,4}", last) else ()


def _targets(train: dict[str, Any]) -> tuple[str, ...]:
    """Targets the planner does not know, such as patterns, count as all linear parts."""
    wanted = train.get("lora_target_modules")
    if train.get("lora_target_linear") or not wanted:
        return ALL_LINEAR
    found, unknown = parts(wanted)
    return ALL_LINEAR if unknown else found


def _modules(train: dict[str, Any], arch: Architecture) -> tuple[str, ...]:
    """The same of a model with an encoder, by the names of its modules."""
    known = tuple(dict.fromkeys(one.name for one in linears(arch)))
    wanted = train.get("lora_target_modules")
    if train.get("lora_target_linear") or not isinstance(wanted, list):
        return known
    named = {str(name).rpartition(".")[2] for name in wanted}
    return tuple(name for name in known if name in named) or known


def _method(train: dict[str, Any]) -> Method:
    if train.get("adapter") == "qlora" or train.get("load_in_4bit"):
        return "qlora"
    return "lora" if train.get("adapter") else "full"


def _loss(train: dict[str, Any]) -> Loss:
    plugins = train.get("plugins") or ()
    # The plugin's own default is true: listing it is enough.
    cut = _CCE in plugins and train.get("cut_cross_entropy") is not False
    if cut or train.get("cut_cross_entropy"):
        return "fused"
    if train.get("liger_fused_linear_cross_entropy"):
        return "liger_fused"
    if train.get("chunked_cross_entropy"):
        return "chunked"
    return "liger" if train.get("liger_cross_entropy") else "hf"


def _liger(train: dict[str, Any]) -> tuple[str, ...]:
    """Of Liger's modules those that keep less for the backward pass; its RoPE keeps as much."""
    glu = train.get("liger_glu_activation") or train.get("liger_swiglu")
    wanted = {"rms_norm": train.get("liger_rms_norm"), "glu": glu}
    listed = _LIGER in (train.get("plugins") or ())
    return tuple(name for name, on in wanted.items() if on and listed)


def _kernels(
    train: dict[str, Any], targets: tuple[str, ...], arch: Architecture
) -> tuple[str, ...]:
    """Kernels that are on, and find all their parts with an adapter."""
    if arch.encoder:
        return ()
    on = lora_kernels.turned_on(train)
    whole = (name for name, parts in KERNELS.items() if set(parts) <= set(targets))
    return tuple(name for name in whole if name in on and (arch.gated or name != "mlp"))


def _selective(train: dict[str, Any]) -> dict[str, Any]:
    """``selective_checkpointing`` as a mapping; empty when it is off. True is Axolotl's default."""
    wanted = train.get("selective_checkpointing")
    if not wanted:
        return {}
    given: dict[str, Any] = {"save": ["attention"]}
    return given | wanted if isinstance(wanted, dict) else given


def _saved(selective: dict[str, Any], train: dict[str, Any], arch: Architecture) -> tuple[str, ...]:
    """What it keeps, as in ``Job.saved`` (0.21.0: axolotl.monkeypatch.selective_checkpointing).

    Attention that an op of FlashAttention's own computes within a window is not kept unless
    ``save_sliding_window`` says so; torch's kernel does not tell its window.
    """
    if not selective:
        return ()
    found: set[str] = set()
    for entry in selective.get("save") or ():
        found |= {"attention"} if entry == "attention" else set()
        found |= set(shapes(arch)) if entry in "aten::mm aten::addmm aten::matmul" else set()
    if arch.window and str(train.get("attn_implementation")).startswith("flash"):
        found -= set() if selective.get("save_sliding_window") else {"attention"}
    for entry in selective.get("save_modules") or ():
        found |= set(module_parts(str(entry)))
    if least := selective.get("save_matmul_min_k"):
        found |= {part for part, (wide, _) in shapes(arch).items() if wide >= least}
    return tuple(sorted(found))


def module_parts(entry: str) -> tuple[str, ...]:
    """Parts of a layer that a name or glob of modules stands for."""
    last = entry.rsplit(".", 1)[-1]
    if any(sign in last for sign in "*?["):
        names = fnmatch.filter([f"{part}_proj" for part in ALL_LINEAR], last)
    else:
        names = ["attention"] if last == "self_attn" else [last]
    return tuple(part for name in names for part in _stands_for(name))


def _checkpointing(train: dict[str, Any]) -> tuple[bool, bool]:
    """Whether layers are computed again, and whether what they keep goes to host memory."""
    wanted = train.get("gradient_checkpointing")
    # As a text it is offload or offload_disk.
    offload = isinstance(wanted, str) or bool(train.get("activation_offloading"))
    return bool(wanted), bool(wanted) and offload


def _compute_bytes(train: dict[str, Any], device: str) -> int:
    half = train.get("bf16") or train.get("fp16")
    return 2 if half and (half != "auto" or device == "cuda") else 4


def _base_bytes(train: dict[str, Any], size: int) -> float:
    if _method(train) == "qlora":
        options = train.get("bnb_config_kwargs") or {}
        # Axolotl quantizes the scales, too, unless it is told not to.
        return NF4 if options.get("bnb_4bit_use_double_quant") is False else NF4_DOUBLE
    return INT8 if train.get("load_in_8bit") else float(size)


def _zero_stage(train: dict[str, Any]) -> int:
    """Of DeepSpeed's file; FSDP shards all, as stage 3 does."""
    if train.get("fsdp") or train.get("fsdp_config"):
        return 3
    named = train.get("deepspeed")
    if not isinstance(named, str):
        return 0
    try:
        options = json.loads(Path(named).read_text(encoding="utf-8"))
        return int(options["zero_optimization"]["stage"])
    except (OSError, ValueError, KeyError, TypeError):
        # The file may be on the machine with the cards only; by custom its name tells the stage.
        digit = re.search(r"zero_?(\d)", named)
        return int(digit[1]) if digit else 0
