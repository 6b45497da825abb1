"""A Llama folder as a GGUF file in float32, for llama.cpp: the very same weights and vocabulary."""

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from safetensors.numpy import load_file

#: Our tensor names and llama.cpp's; ``{}`` is the layer.
TENSORS = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
LAYER_TENSORS = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


class NotConvertible(Exception):
    """The folder holds something else than a Llama with a byte-level BPE."""


def convert(folder: Path, target: Path) -> None:
    """Writes ``target``, whole or not at all.

    Args:
        folder: a Hugging Face model: ``model_type`` llama without biases, one safetensors file.
        target: the GGUF file.

    Raises:
        NotConvertible: llama.cpp would compute or tokenize something else.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    _check(config, tokenizer)
    partial = target.with_suffix(".partial")
    writer = gguf.GGUFWriter(partial, "llama")
    _add_sizes(writer, config)
    _add_vocabulary(writer, config, tokenizer)
    for name, tensor in load_file(folder / "model.safetensors").items():
        writer.add_tensor(*_renamed(name, tensor.astype(np.float32), config))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    partial.replace(target)


def _check(config: dict[str, Any], tokenizer: dict[str, Any]) -> None:
    scaling = config["rope_parameters"]["rope_type"]
    if config["model_type"] != "llama" or config["attention_bias"] or scaling != "default":
        raise NotConvertible("only Llama models without biases and RoPE scaling are converted")
    before = tokenizer["pre_tokenizer"] or {}
    if before.get("type") != "ByteLevel" or not before["use_regex"]:
        raise NotConvertible("only tokenizers that split as GPT-2's are converted")


def _add_sizes(writer: gguf.GGUFWriter, config: dict[str, Any]) -> None:
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)


def _add_vocabulary(
    writer: gguf.GGUFWriter, config: dict[str, Any], tokenizer: dict[str, Any]
) -> None:
    """Tokens, merges and special tokens; rows of the model without an entry are unused ones."""
    added = {entry["id"]: entry for entry in tokenizer["added_tokens"]}
    by_id = {index: text for text, index in tokenizer["model"]["vocab"].items()}
    by_id |= {index: entry["content"] for index, entry in added.items()}
    rows = range(config["vocab_size"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([by_id.get(row, f"[UNUSED{row}]") for row in rows])
    writer.add_token_types([_kind(row, added, by_id) for row in rows])
    merges = tokenizer["model"]["merges"]
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in merges])
    if config["eos_token_id"] is not None:
        writer.add_eos_token_id(config["eos_token_id"])
    writer.add_add_bos_token(False)


def _kind(row: int, added: dict[int, dict[str, Any]], by_id: dict[int, str]) -> gguf.TokenType:
    if row in added:
        special = added[row]["special"]
        return gguf.TokenType.CONTROL if special else gguf.TokenType.USER_DEFINED
    return gguf.TokenType.NORMAL if row in by_id else gguf.TokenType.UNUSED


def _renamed(
    name: str, tensor: np.ndarray[Any, Any], config: dict[str, Any]
) -> tuple[str, np.ndarray[Any, Any]]:
    if name in TENSORS:
        return TENSORS[name], tensor
    _, _, layer, rest = name.split(".", 3)
    part = rest.removesuffix(".weight")
    heads = {"q_proj": "num_attention_heads", "k_proj": "num_key_value_heads"}
    for suffix, count in heads.items():
        if part.endswith(suffix):
            tensor = _paired(tensor, config[count])
    return f"blk.{layer}.{LAYER_TENSORS[part]}.weight", tensor


def _paired(weight: np.ndarray[Any, Any], heads: int) -> np.ndarray[Any, Any]:
    """Rows in llama.cpp's order: RoPE turns neighbours there, here the two halves of a head."""
    halves = weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(weight.shape))
