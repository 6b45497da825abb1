"""From a recipe's ``train`` section, in Axolotl's keys, to what the planner counts with."""

import json
import re
from pathlib import Path
from typing import Any

from tools.plan.arch import architecture
from tools.plan.memory import ALL_LINEAR, INT8, NF4, NF4_DOUBLE, TARGETS, Job, Loss, Method
from tools.recipe.schema import Recipe

_CCE = "axolotl.integrations.cut_cross_entropy.CutCrossEntropyPlugin"
_EVERY = ("all", "all linear", "all-linear", "all_linear", "linear")
_DEFAULT_LENGTH, _DEFAULT_RANK = 512, 8  # Axolotl's and PEFT's


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
    return Job(
        arch=architecture(recipe.model),
        method=_method(train),
        sequence=train.get("sequence_len") or _DEFAULT_LENGTH,
        micro_batch=train.get("micro_batch_size") or 1,
        rank=train.get("lora_r") or _DEFAULT_RANK,
        targets=_targets(train),
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
        eager=train.get("attn_implementation") == "eager",
        accumulation=train.get("gradient_accumulation_steps") or 1,
        zero_stage=_zero_stage(train),
        gpus=card.gpus,
    )


def parts(targets: Any) -> tuple[tuple[str, ...], list[str]]:
    """Which parts of a layer get adapters, from names in any of the usual ways.

    Args:
        targets: a list of module names, a text of them (``q_proj,v_proj``, ``qv``) or ``all
            linear``.

    Returns:
        Parts as in :data:`tools.plan.memory.ALL_LINEAR`, and the names that stand for none.
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


def _method(train: dict[str, Any]) -> Method:
    if train.get("adapter") == "qlora" or train.get("load_in_4bit"):
        return "qlora"
    return "lora" if train.get("adapter") else "full"


def _loss(train: dict[str, Any]) -> Loss:
    # The plugin's own default is true: listing it is enough.
    cut = _CCE in (train.get("plugins") or ()) and train.get("cut_cross_entropy") is not False
    if cut or train.get("cut_cross_entropy") or train.get("liger_fused_linear_cross_entropy"):
        return "fused"
    # Liger's plain one takes the logits whole, and writes the gradient into them.
    chunked = train.get("chunked_cross_entropy") or train.get("liger_cross_entropy")
    return "chunked" if chunked else "hf"


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
