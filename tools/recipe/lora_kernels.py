"""Axolotl's own kernels for LoRA: which of them are on."""

from typing import Any

# By the middle of their flag, ``lora_NAME_kernel``, what of a Llama-like layer each computes.
MODULES: dict[str, tuple[str, ...]] = {
    "qkv": ("q_proj", "k_proj", "v_proj"),
    "o": ("o_proj",),
    "mlp": ("gate_proj", "up_proj", "down_proj"),
}


def turned_on(train: dict[str, Any]) -> set[str]:
    """Those of :data:`MODULES` that are on, by flag or by themselves.

    Axolotl turns all on where no flag is written, the embedding's included (0.21.0:
    axolotl.utils.schemas.validation.lora_kernels_auto_enable).
    """
    flags = {name: train.get(f"lora_{name}_kernel") for name in (*MODULES, "embedding")}
    barred = train.get("rl") or train.get("trust_remote_code") or train.get("nvfp4_merge_aware")
    barred = barred or (train.get("adapter") == "lora" and train.get("load_in_8bit"))
    if set(flags.values()) == {None} and train.get("adapter") in ("lora", "qlora") and not barred:
        return set(MODULES)
    return {name for name in MODULES if flags[name] and train.get("adapter")}
