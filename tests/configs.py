"""transformers' own configuration of a model with an encoder, from the numbers of a recipe."""

from typing import Any

from tools.recipe.schema import Architecture


def config_of(arch: Architecture) -> Any:
    """As its ``config.json`` would be read; everything that no number tells is the family's own."""
    import transformers

    encoder = arch.encoder
    assert encoder
    name, made = _MADE.get(encoder.type, _MADE["bert"])(arch)
    return getattr(transformers, f"{name}Config")(vocab_size=arch.vocab, **made)


def _t5(arch: Architecture) -> tuple[str, dict[str, Any]]:
    assert arch.encoder
    return "T5", {
        "d_model": arch.hidden,
        "d_kv": arch.head_dim,
        "d_ff": arch.mlp,
        "num_layers": arch.layers,
        "num_decoder_layers": arch.encoder.decoder_layers,
        "num_heads": arch.heads,
        "relative_attention_num_buckets": arch.encoder.relative,
        "feed_forward_proj": "gated-gelu" if arch.gated else "relu",
        "tie_word_embeddings": arch.tied,
        "decoder_start_token_id": 0,
    }


def _bart(arch: Architecture) -> tuple[str, dict[str, Any]]:
    assert arch.encoder
    return "Bart", {
        "d_model": arch.hidden,
        "encoder_layers": arch.layers,
        "decoder_layers": arch.encoder.decoder_layers,
        "encoder_ffn_dim": arch.mlp,
        "decoder_ffn_dim": arch.mlp,
        "encoder_attention_heads": arch.heads,
        "decoder_attention_heads": arch.heads,
        "max_position_embeddings": arch.encoder.positions,
    }


def _distilbert(arch: Architecture) -> tuple[str, dict[str, Any]]:
    assert arch.encoder
    return "DistilBert", {
        "dim": arch.hidden,
        "n_layers": arch.layers,
        "n_heads": arch.heads,
        "hidden_dim": arch.mlp,
        "max_position_embeddings": arch.encoder.positions,
    }


def _deberta(arch: Architecture) -> tuple[str, dict[str, Any]]:
    assert arch.encoder
    name, made = _masked(arch)
    v2 = arch.encoder.type == "deberta-v2"
    made |= {
        "max_position_embeddings": 512,
        "position_biased_input": False,
        "relative_attention": True,
        "pos_att_type": "c2p|p2c",
    }
    if v2:
        made |= {
            "position_buckets": arch.encoder.relative // 2,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
        }
        if arch.encoder.convolution:
            made |= {"conv_kernel_size": arch.encoder.convolution, "conv_act": "gelu"}
    return name, made


def _masked(arch: Architecture) -> tuple[str, dict[str, Any]]:
    encoder = arch.encoder
    assert encoder
    made = {
        "hidden_size": arch.hidden,
        "num_hidden_layers": arch.layers,
        "num_attention_heads": arch.heads,
        "intermediate_size": arch.mlp,
        "max_position_embeddings": encoder.positions,
        "type_vocab_size": encoder.types,
    }
    if encoder.type in ("albert", "electra"):
        made["embedding_size"] = encoder.embedding or arch.hidden
    return _NAMES[encoder.type], made


_NAMES = {
    "bert": "Bert",
    "roberta": "Roberta",
    "albert": "Albert",
    "electra": "Electra",
    "deberta": "Deberta",
    "deberta-v2": "DebertaV2",
}
_MADE = {
    "t5": _t5,
    "bart": _bart,
    "bert": _masked,
    "distilbert": _distilbert,
    "deberta": _deberta,
    "deberta-v2": _deberta,
}
