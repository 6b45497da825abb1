"""The rules that ``make check`` holds a recipe against: one function a rule, in this order."""

from tools.check.rules import card, eligibility, sanity, training
from tools.check.rules.base import Rule

_CHALLENGE = "rules §1"

RULES = [
    Rule("family", _CHALLENGE, eligibility.family, eligibility=True),
    Rule("base model", _CHALLENGE, eligibility.base_model, eligibility=True),
    Rule("model licence", _CHALLENGE, eligibility.model_licence, eligibility=True),
    Rule("data licence", _CHALLENGE, eligibility.data_licence, eligibility=True),
    Rule("data origin", _CHALLENGE, eligibility.data_origin, eligibility=True),
    Rule("24 hours", _CHALLENGE, eligibility.day, eligibility=True),
    Rule("one GPU", _CHALLENGE, eligibility.one_gpu, eligibility=True),
    Rule("machine", _CHALLENGE, eligibility.machine, eligibility=True),
    Rule("contract", _CHALLENGE, eligibility.contract, eligibility=True),
    Rule("reproducible", _CHALLENGE, eligibility.reproducible, eligibility=True),
    Rule("secrets", "recipes are published", sanity.secrets),
    Rule("home paths", "recipes are published", sanity.home_paths),
    Rule("numbers", "recipe", sanity.numbers),
    Rule("budget", "recipe", sanity.budget),
    Rule("sources", "recipe", sanity.sources),
    Rule("model source", "recipe", sanity.model_source),
    Rule("eval tier", "recipe", sanity.tier),
    Rule("disk", "transformers' Trainer", sanity.disk),
    Rule("quantize format", "vLLM's table of hardware", card.quantize_format),
    Rule("bf16", "CUDA compute capability", card.bf16),
    Rule("attention", "FlashAttention's README", card.attention_kind),
    Rule("attention package", "installed packages", card.attention_package),
    Rule("kernels", "Axolotl", card.kernels),
    Rule("engine", "vLLM", card.engine),
    Rule("packing", "Axolotl", training.packing),
    Rule("packed evaluation", "Axolotl", training.evaluation_packing),
    Rule("lengths", "model", training.window),
    Rule("padding", "model", training.padding),
    Rule("adapter", "Axolotl", training.adapter),
    Rule("merging", "PEFT", training.merging),
    Rule("4-bit kind", "bitsandbytes", training.four_bits),
    Rule("template", "training = serving", training.template),
    Rule("best checkpoint", "transformers' Trainer", training.best_checkpoint),
    Rule("either or", "Axolotl", training.either),
    Rule("checkpointing", "Axolotl", training.checkpointing),
    Rule("selective checkpointing", "Axolotl", training.selective),
    Rule("new tokens", "PEFT", training.new_tokens),
    Rule("endings", "training = serving", training.endings),
]
