"""Do the layers that LoRA is to sit on exist in this model?"""

from pathlib import Path

from tools.base_model import experts
from tools.check.rules.base import Facts, Faults, fail, parts, plain, warn
from tools.files import read_json
from tools.recipe.faults import nearest
from tools.recipe.schema import Model, Recipe

_ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
_LLAMA = (*_ATTENTION, "gate_proj", "up_proj", "down_proj")
_NEOX = ("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h")
_T5 = ("q", "k", "v", "o")
_BERT = ("query", "key", "value", "dense")
_GPT2 = ("c_attn", "c_proj", "c_fc")
#: Names of the linear layers of a block, by transformers' ``model_type``; a test reads them from
#: transformers itself.
LAYERS = {
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "smollm3": _LLAMA,
    "gemma": _LLAMA,
    "gemma2": _LLAMA,
    "phi3": ("qkv_proj", "o_proj", "gate_up_proj", "down_proj"),
    "gpt_neox": _NEOX,
    "falcon": _NEOX,
    "bloom": _NEOX,
    "persimmon": _NEOX,
    "gpt2": _GPT2,
    "gptj": ("q_proj", "k_proj", "v_proj", "out_proj", "fc_in", "fc_out"),
    "gpt_neo": ("q_proj", "k_proj", "v_proj", "out_proj", "c_fc", "c_proj"),
    "opt": ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"),
    "mpt": ("Wqkv", "out_proj", "up_proj", "down_proj"),
    # Without their experts, which are no layers.
    "mixtral": _ATTENTION,
    "qwen2_moe": (*_LLAMA, "shared_expert_gate"),
    "qwen3_moe": _ATTENTION,
    # Not causal. T5's has two forms, the gated one of v1.1 and UL2 beside the first.
    "t5": (*_T5, "wi", "wi_0", "wi_1", "wo"),
    "bart": ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"),
    "bert": _BERT,
    "roberta": _BERT,
    "electra": (*_BERT, "embeddings_project"),
    "albert": (*_BERT, "ffn", "ffn_output", "embedding_hidden_mapping_in"),
    "distilbert": ("q_lin", "k_lin", "v_lin", "out_lin", "lin1", "lin2", "vocab_transform"),
    "deberta": ("in_proj", "pos_proj", "pos_q_proj", "dense"),
    "deberta-v2": (
        "query_proj",
        "key_proj",
        "value_proj",
        "dense",
        "pos_key_proj",
        "pos_query_proj",
    ),
}
# What a family is built as, where its config.json is not at hand.
_FAMILIES = {
    "llama": "llama",
    "llama2": "llama",
    "openllama": "llama",
    "smollm2": "llama",
    "smollm3": "smollm3",
    "mistral": "mistral",
    "qwen": "qwen2",
    "gemma": "gemma",
    "gptneox": "gpt_neox",
    "pythia": "gpt_neox",
    "redpajama": "gpt_neox",
    "falcon": "falcon",
    "bloom": "bloom",
    "persimmon": "persimmon",
    "gpt2": "gpt2",
    "cerebras": "gpt2",
    "gptj": "gptj",
    "gptneo": "gpt_neo",
    "opt": "opt",
    "mpt": "mpt",
    "t5": "t5",
    "ul2": "t5",
    "bart": "bart",
    "bert": "bert",
    "roberta": "roberta",
    "electra": "electra",
    "albert": "albert",
    "distilbert": "distilbert",
}
# Mixtures of experts of these families.
_MIXTURES = {"mistral": "mixtral", "qwen2": "qwen2_moe", "qwen3": "qwen3_moe"}
# A member that is built otherwise: the first Qwen, which is hub code.
_OTHERWISE = {"qwen"}
# Beside the blocks; which of them a model has is for PEFT to say.
ENDS = {"embed_tokens", "embed_in", "embed_out", "wte", "wpe", "word_embeddings", "lm_head"}


def modules(recipe: Recipe, facts: Facts) -> Faults:
    """PEFT stops where no name fits, after the model was loaded, and passes over those that don't.

    A text is a pattern, which only the model itself can answer.
    """
    wanted, key = recipe.train.get("lora_target_modules"), "train.lora_target_modules"
    ways = ("lora_target_modules", "lora_target_linear", "lora_target_parameters")
    if recipe.train.get("adapter") and not any(recipe.train.get(way) for way in ways):
        said = f"{key} is not set, nor train.lora_target_linear: the adapter would sit on no layer"
        yield fail(key, said, "set train.lora_target_linear=true, or compose the model's layer")
    built = kind(recipe.model)
    if not isinstance(wanted, list) or built not in LAYERS:
        return
    known = LAYERS[built]
    lost = [name for name in wanted if name.rpartition(".")[2] not in {*known, *ENDS}]
    if experts.has_experts(recipe.model):  # of those another rule tells
        lost = [name for name in lost if name not in experts.reaching(lost)]
    if not lost:
        return
    said = f"{key}: {recipe.model.id} ({built}) has no layer {lost[0]}{nearest(lost[0], known)}"
    remedy = f"its layers are {', '.join(known)}; or set train.lora_target_linear=true without it"
    none = len(lost) == len(wanted) and not recipe.train.get("lora_target_linear")
    yield (fail if none else warn)(key, said, remedy)


def kind(model: Model) -> str:
    """The ``model_type`` of transformers, empty where nothing tells it."""
    if model.source == "local" and model.path:
        config = read_json(Path(model.path) / "config.json")
        return str(config.get("model_type", "")) if isinstance(config, dict) else ""
    if model.arch and model.arch.encoder:
        return model.arch.encoder.type
    known = _FAMILIES.get(plain(model.family), "")
    words = parts(model.id.rpartition("/")[2])
    if experts.named_so(model.id):
        return _MIXTURES.get("qwen3" if known == "qwen2" and "qwen3" in words else known, "")
    return "" if words & _OTHERWISE else known
