"""Tiny random bases of every family of recipes/models, their files named as the makers' are.

Two layers, 64 wide, a vocabulary of 300. What the published files hold beside the weights (masks,
frequencies), what they leave out of a name, and which of them repeat a tied head is written down
here; a base is drawn by its family, so two calls give the same one.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

VOCAB = 300
Files = dict[str, torch.Tensor]
_LLAMA = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 128,
}
_NEOX = {**_LLAMA, "num_key_value_heads": 4}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
_GPT2 = {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 64}
LLAMA_LAYERS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
FUSED = ["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"]
GPT2_LAYERS = ["c_attn", "c_proj", "c_fc"]


def _same(files: Files) -> Files:
    return files


def _bare(files: Files) -> Files:
    """Without ``transformer.``, as the hub's GPT-2 and Bloom are."""
    return {name.removeprefix("transformer."): tensor for name, tensor in files.items()}


def _gpt2(files: Files) -> Files:
    """As openai-community/gpt2: bare, with the masks of its attention."""
    masks = {f"h.{layer}.attn.bias": torch.ones(1, 1, 64, 64).tril() for layer in range(2)}
    return {**_bare(files), **masks}


def _neox(files: Files) -> Files:
    """As EleutherAI's: the head is ``embed_out``, with masks and frequencies."""
    renamed = {name.replace("lm_head.", "embed_out."): tensor for name, tensor in files.items()}
    for layer in range(2):
        at = f"gpt_neox.layers.{layer}.attention"
        renamed[f"{at}.bias"] = torch.ones(1, 1, 64, 64).tril()
        renamed[f"{at}.masked_bias"] = torch.tensor(-1e9)
        renamed[f"{at}.rotary_emb.inv_freq"] = torch.arange(2.0)
    return renamed


def _with_head(embedding: str) -> Callable[[Files], Files]:
    """The tied head is there, too, as in every pickle."""
    return lambda files: {**files, "lm_head.weight": files[embedding].clone()}


def _opt(files: Files) -> Files:
    """As facebook's: the decoder without ``model.``, the tied head there, too."""
    bare = {name.removeprefix("model."): tensor for name, tensor in files.items()}
    return {**bare, "lm_head.weight": bare["decoder.embed_tokens.weight"].clone()}


def _halves(gate: str, up: str, both: torch.Tensor) -> Files:
    """The two that transformers has one above the other."""
    first, second = both.chunk(2)
    return {gate: first, up: second}


def _parted(block: str, gate: str, up: str, down: str) -> Callable[[Files], Files]:
    """A mixture's experts, a tensor a matrix, as every maker has them.

    Args:
        block: what the feed-forward part is called.
        gate: an expert's first matrix.
        up: its second.
        down: its third.
    """

    def published(files: Files) -> Files:
        parted: Files = {}
        for name, tensor in files.items():
            at, _, leaf = name.replace(".mlp.", f".{block}.").rpartition(".")
            if not at.endswith(".experts"):
                parted[f"{at}.{leaf}"] = tensor
                continue
            for number, one in enumerate(tensor):
                halves = {down: one} if leaf == "down_proj" else _halves(gate, up, one)
                for matrix, part in halves.items():
                    parted[f"{at}.{number}.{matrix}.weight"] = part.clone()
        return parted

    return published


@dataclass(frozen=True)
class Family:
    """A family of bases.

    Attributes:
        kind: transformers' ``model_type``.
        config: of it, beside the vocabulary.
        layers: that LoRA sits on, as in recipes/models.
        embedding: transformers' name of the input embeddings' module.
        published: the maker's files, from transformers' names.
    """

    kind: str
    config: dict[str, Any]
    layers: list[str]
    embedding: str
    published: Callable[[Files], Files] = field(default=_same)


_WTE = "transformer.wte"
FAMILIES = {
    "gpt2": Family("gpt2", _GPT2, GPT2_LAYERS, "wte", _gpt2),
    "cerebras-gpt": Family("gpt2", {**_GPT2, "activation_function": "gelu"}, GPT2_LAYERS, "wte",
                           _with_head(f"{_WTE}.weight")),
    "bloom": Family("bloom", {"hidden_size": 64, "n_layer": 2, "n_head": 4}, FUSED,
                    "word_embeddings", _bare),
    "pythia": Family("gpt_neox", {**_NEOX, "rotary_pct": 0.25}, FUSED, "embed_in", _neox),
    "gpt-neox": Family("gpt_neox", {**_NEOX, "rotary_pct": 0.25, "use_parallel_residual": True},
                       FUSED, "embed_in", _neox),
    "redpajama": Family("gpt_neox", {**_NEOX, "rotary_pct": 1.0, "use_parallel_residual": False},
                        FUSED, "embed_in", _neox),
    "opt": Family("opt", {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
                          "ffn_dim": 128, "word_embed_proj_dim": 64,
                          "max_position_embeddings": 64},
                  ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"], "embed_tokens", _opt),
    "falcon": Family("falcon", {"hidden_size": 64, "num_hidden_layers": 2,
                                "num_attention_heads": 4},
                     FUSED, "word_embeddings", _with_head("transformer.word_embeddings.weight")),
    "mpt": Family("mpt", {"d_model": 64, "n_layers": 2, "n_heads": 4, "max_seq_len": 64},
                  ["Wqkv", "out_proj", "up_proj", "down_proj"], "wte"),
    "gpt-j": Family("gptj", {**_GPT2, "rotary_dim": 8},
                    ["q_proj", "k_proj", "v_proj", "out_proj", "fc_in", "fc_out"], "wte"),
    "gpt-neo": Family("gpt_neo", {"hidden_size": 64, "num_layers": 2, "num_heads": 4,
                                  "max_position_embeddings": 64,
                                  "attention_types": [[["global", "local"], 1]]},
                      ["q_proj", "k_proj", "v_proj", "out_proj", "c_fc", "c_proj"], "wte"),
    "persimmon": Family("persimmon", _NEOX, FUSED, "embed_tokens"),
    "llama": Family("llama", _LLAMA, LLAMA_LAYERS, "embed_tokens"),
    "smollm2": Family("llama", {**_LLAMA, "tie_word_embeddings": True}, LLAMA_LAYERS,
                      "embed_tokens"),
    "smollm3": Family("smollm3", {**_LLAMA, "tie_word_embeddings": True,
                                  "no_rope_layer_interval": 2},
                      LLAMA_LAYERS, "embed_tokens"),
    "mistral": Family("mistral", _LLAMA, LLAMA_LAYERS, "embed_tokens"),
    "qwen2.5": Family("qwen2", _LLAMA, LLAMA_LAYERS, "embed_tokens"),
    "mixtral": Family("mixtral", {**_LLAMA, "num_local_experts": 4}, ATTENTION, "embed_tokens",
                      _parted("block_sparse_moe", "w1", "w3", "w2")),
    "qwen1.5-moe": Family("qwen2_moe", {**_LLAMA, **_EXPERTS,
                                        "shared_expert_intermediate_size": 48},
                          ATTENTION, "embed_tokens",
                          _parted("mlp", "gate_proj", "up_proj", "down_proj")),
    "qwen3-moe": Family("qwen3_moe", {**_LLAMA, **_EXPERTS, "head_dim": 16}, ATTENTION,
                        "embed_tokens", _parted("mlp", "gate_proj", "up_proj", "down_proj")),
}  # fmt: skip
_GEMMA = {**_LLAMA, "head_dim": 16}
#: Families that recipes/models has none of; ``check`` knows their layers, but for experts'.
BESIDE = {
    "qwen3": Family("qwen3", _GEMMA, LLAMA_LAYERS, "embed_tokens"),
    "gemma": Family("gemma", _GEMMA, LLAMA_LAYERS, "embed_tokens"),
    "gemma2": Family("gemma2", _GEMMA, LLAMA_LAYERS, "embed_tokens"),
    "phi3": Family("phi3", _LLAMA, ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"],
                   "embed_tokens"),
}  # fmt: skip
ALL = {**FAMILIES, **BESIDE}


def weights(family: Family, dtype: torch.dtype = torch.float32) -> tuple[Any, Files]:
    """The configuration and the weights, by the makers' names."""
    ends = {"bos_token_id": 1, "eos_token_id": 1, "pad_token_id": 0}
    config = AutoConfig.for_model(family.kind, vocab_size=VOCAB, **ends, **family.config)
    torch.manual_seed(7)
    net = AutoModelForCausalLM.from_config(config, dtype=dtype)
    for weight in net.parameters():
        # Larger than a fresh model's: logits of a size that a wrong merge moves.
        torch.nn.init.normal_(weight, 1.0 if weight.dim() == 1 else 0.0, 0.1)
    tied = net.all_tied_weights_keys
    state = {name: one.clone() for name, one in net.state_dict().items() if name not in tied}
    return config, family.published(state)


def write(folder: Path, name: str, form: str, dtype: torch.dtype = torch.float32) -> Path:
    """A family's base as a folder; the form is ``safetensors``, ``bin`` or ``bins``."""
    config, files = weights(ALL[name], dtype)
    folder.mkdir(parents=True)
    config.dtype = dtype
    config.save_pretrained(folder)
    if form == "safetensors":
        save_file(files, folder / "model.safetensors", metadata={"format": "pt"})
    elif form == "bin":
        torch.save(files, folder / "pytorch_model.bin")
    else:
        _in_parts(folder, files, form)
    return folder


def _in_parts(folder: Path, files: Files, form: str) -> None:
    """Two files and their index, layers cut in the middle."""
    names = list(files)
    parts = [names[: len(names) // 2], names[len(names) // 2 :]]
    safe = form == "shards"
    stem, end = ("model", "safetensors") if safe else ("pytorch_model", "bin")
    places: dict[str, str] = {}
    for number, part in enumerate(parts, start=1):
        file = f"{stem}-{number:05}-of-00002.{end}"
        held = {name: files[name] for name in part}
        if safe:
            save_file(held, folder / file, metadata={"format": "pt"})
        else:
            torch.save(held, folder / file)
        places |= dict.fromkeys(part, file)
    index = {"metadata": {"total_size": 1}, "weight_map": places}
    (folder / f"{stem}.{end}.index.json").write_text(json.dumps(index))
