"""Models with an encoder in numbers: their matrices, their parameters, their ``config.json``.

Sources: the modules of transformers' ``modeling_*.py`` of each ``model_type``; a test counts them
on torch's meta device. Of a T5 v1.1 transformers counts one matrix less, for it ties what the files
hold apart.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from tools.recipe.architecture import Architecture, Encoder, EncoderType


@dataclass(frozen=True)
class Linear:
    """A linear layer, or as many as are alike.

    Attributes:
        name: the last part of its module's name, as PEFT is told it.
        wide: inputs.
        out: outputs.
        stored: how many there are.
        computed: how many a token goes through: ALBERT's layers are one.
        side: whose tokens it reads: ``encoder``, ``decoder``, or ``cross`` (a decoder's keys and
            values of what the encoder read).
    """

    name: str
    wide: int
    out: int
    stored: int
    computed: int
    side: str = "encoder"

    @property
    def weights(self) -> int:
        """Of those that are stored."""
        return self.stored * self.wide * self.out


@dataclass(frozen=True)
class Names:
    """What a type calls the linear layers of a block; keys, queries and values may be one."""

    attention: tuple[str, str, str, str]
    up: tuple[str, ...]
    down: str
    transform: str = ""  # of the head of a masked language model
    projection: str = ""  # from narrower or wider embeddings


_BERT = ("query", "key", "value", "dense")
NAMES = {
    "t5": Names(("q", "k", "v", "o"), ("wi",), "wo"),
    "bart": Names(("q_proj", "k_proj", "v_proj", "out_proj"), ("fc1",), "fc2"),
    "bert": Names(_BERT, ("dense",), "dense", "dense"),
    "roberta": Names(_BERT, ("dense",), "dense", "dense"),
    "albert": Names(_BERT, ("ffn",), "ffn_output", "dense", "embedding_hidden_mapping_in"),
    "electra": Names(_BERT, ("dense",), "dense", "dense", "embeddings_project"),
    "distilbert": Names(
        ("q_lin", "k_lin", "v_lin", "out_lin"), ("lin1",), "lin2", "vocab_transform"
    ),
    "deberta": Names(("in_proj",) * 3 + ("dense",), ("dense",), "dense", "dense"),
    "deberta-v2": Names(
        ("query_proj", "key_proj", "value_proj", "dense"), ("dense",), "dense", "dense"
    ),
}
_GATED = ("wi_0", "wi_1")  # T5 v1.1's two, in place of one
#: Of nn.Linear what bitsandbytes leaves whole beside the head (``_keep_in_fp32_modules``).
WHOLE = {"t5": ("wo",)}
#: Types whose attention keeps its scores, in whatever way it was asked for: they have no other.
EAGER = ("deberta", "deberta-v2")


def linears(arch: Architecture) -> list[Linear]:
    """All linear layers but the head, which is the embeddings or as large."""
    encoder = encoder_of(arch)
    names, stored = NAMES[encoder.type], encoder.stored or arch.layers
    found = list(_block(arch, names, stored, arch.layers, "encoder"))
    if encoder.decoder_layers:
        depth = encoder.decoder_layers
        found += _block(arch, names, depth, depth, "decoder")
        found += _attention(arch, names, depth, depth, "decoder", "cross")
    if encoder.type == "deberta":  # of relative positions
        of_keys, of_queries = "pos_proj", "pos_q_proj"
        found += [
            Linear(name, arch.hidden, arch.hidden, arch.layers, arch.layers)
            for name in (of_keys, of_queries)
        ]
    narrow = encoder.embedding
    if narrow:
        found.append(Linear(names.projection, narrow, arch.hidden, 1, 1))
    if names.transform:
        found.append(Linear(names.transform, arch.hidden, narrow or arch.hidden, 1, 1, "mask"))
    return found


def _block(
    arch: Architecture, names: Names, stored: int, computed: int, side: str
) -> Iterator[Linear]:
    yield from _attention(arch, names, stored, computed, side, side)
    for name in _GATED if arch.gated else names.up:
        yield Linear(name, arch.hidden, arch.mlp, stored, computed, side)
    yield Linear(names.down, arch.mlp, arch.hidden, stored, computed, side)


def _attention(
    arch: Architecture, names: Names, stored: int, computed: int, side: str, keys: str
) -> Iterator[Linear]:
    inner = (arch.head_dim or arch.hidden // arch.heads) * arch.heads
    query, key, value, out = names.attention
    if query == key:
        yield Linear(query, arch.hidden, 3 * inner, stored, computed, side)
    else:
        yield Linear(query, arch.hidden, inner, stored, computed, side)
        yield Linear(key, arch.hidden, inner, stored, computed, keys)
        yield Linear(value, arch.hidden, inner, stored, computed, keys)
    yield Linear(out, inner, arch.hidden, stored, computed, side)


def encoder_of(arch: Architecture) -> Encoder:
    """The numbers of the encoder, of a model that has one."""
    assert arch.encoder is not None
    return arch.encoder


def packed(arch: Architecture) -> int:
    """Weights that bitsandbytes packs."""
    whole = WHOLE.get(encoder_of(arch).type, ())
    return sum(one.weights for one in linears(arch) if one.name not in whole)


def matrices(arch: Architecture) -> int:
    """How many matrices of vocabulary size there are."""
    return 1 if arch.tied else 2


def embedding_parameters(arch: Architecture) -> int:
    """Of the embeddings of tokens and of the head, which may be one."""
    return arch.vocab * (encoder_of(arch).embedding or arch.hidden) * matrices(arch)


def parameters(arch: Architecture) -> int:
    """All weights, norms, biases and positions included: to the one."""
    counts = {"t5": _t5, "bart": _bart}
    rest = counts.get(encoder_of(arch).type, _masked)(arch, encoder_of(arch))
    return embedding_parameters(arch) + sum(one.weights for one in linears(arch)) + rest


def _t5(arch: Architecture, encoder: Encoder) -> int:
    """No biases; relative positions once a side; a norm before each part and at the ends."""
    norms = 2 * arch.layers + 3 * encoder.decoder_layers + 2
    return norms * arch.hidden + 2 * encoder.relative * arch.heads


def _bart(arch: Architecture, encoder: Encoder) -> int:
    """Biases everywhere; positions and a norm behind the embeddings a side."""
    width, depth = arch.hidden, encoder.decoder_layers
    attention, mlp = 4 * width, arch.mlp + width
    layers = arch.layers * (attention + mlp + 4 * width) + depth * (2 * attention + mlp + 6 * width)
    # Its positions begin at 2: two rows more than there are positions.
    return layers + 2 * (encoder.positions + 2) * width + 4 * width


def _masked(arch: Architecture, encoder: Encoder) -> int:
    """Biases, a norm behind both parts of a layer, behind the embeddings and in the head."""
    width, narrow = arch.hidden, encoder.embedding or arch.hidden
    # DeBERTa: of queries and values one each, of the positions' queries one; keys have none.
    attention = 4 * width
    layers = (encoder.stored or arch.layers) * (attention + arch.mlp + width + 4 * width)
    rows = (encoder.positions + encoder.types + 2) * narrow
    projected = width if encoder.embedding else 0
    head = narrow + 2 * narrow + arch.vocab
    return layers + rows + projected + head + _relative(arch, encoder)


def _relative(arch: Architecture, encoder: Encoder) -> int:
    """Of DeBERTa: embeddings of relative positions, v2's norm of them, a convolution."""
    width = arch.hidden
    norm = 2 * width if encoder.type == "deberta-v2" else 0
    wide = encoder.convolution
    convolution = wide * width * width + 3 * width if wide else 0
    return encoder.relative * width + norm + convolution


# By our name, what a config.json calls it, beside what decoders do.
_NAMED: dict[str, tuple[str, ...]] = {
    "hidden": ("hidden_size", "d_model", "dim"),
    "layers": ("encoder_layers", "num_layers", "num_hidden_layers", "n_layers"),
    "mlp": ("encoder_ffn_dim", "intermediate_size", "d_ff", "hidden_dim"),
    "vocab": ("vocab_size",),
    "heads": ("encoder_attention_heads", "num_attention_heads", "num_heads", "n_heads"),
}


def numbers(config: dict[str, Any]) -> dict[str, Any]:
    """The numbers of an :class:`Architecture` that a ``config.json`` tells; 0 where it does not.

    Args:
        config: of a ``model_type`` in :data:`NAMES`, or one that is built as one of them.
    """
    found: dict[str, Any] = {
        ours: next((config[one] for one in names if config.get(one)), 0)
        for ours, names in _NAMED.items()
    }
    named = str(config.get("model_type"))
    kind = cast("EncoderType", ALIKE.get(named, named))
    # transformers 5 writes that T5's head is tied whatever it is; how its outputs are scaled tells.
    tied = config.get("tie_word_embeddings", True) and config.get("scale_decoder_outputs", True)
    return {
        **found,
        "kv_heads": found["heads"],
        "head_dim": config.get("d_kv") or 0,
        "tied": bool(tied),
        "gated": str(config.get("feed_forward_proj", "")).startswith("gated"),
        "encoder": _READ.get(kind, _read_masked)(kind, config, found),
    }


#: Types that are built as another one.
ALIKE = {"mt5": "t5", "umt5": "t5", "mbart": "bart", "xlm-roberta": "roberta"}


def _read_t5(kind: EncoderType, config: dict[str, Any], found: dict[str, Any]) -> Encoder:
    depth = config.get("num_decoder_layers") or found["layers"]
    buckets = config.get("relative_attention_num_buckets", 32)
    return Encoder(type=kind, decoder_layers=depth, relative=buckets)


def _read_bart(kind: EncoderType, config: dict[str, Any], found: dict[str, Any]) -> Encoder:
    depth = config.get("decoder_layers") or found["layers"]
    rows = config.get("max_position_embeddings", 1024)
    return Encoder(type=kind, decoder_layers=depth, positions=rows)


def _read_masked(kind: EncoderType, config: dict[str, Any], found: dict[str, Any]) -> Encoder:
    rows = config.get("max_position_embeddings", 512)
    narrow = config.get("embedding_size") or 0
    stored = config.get("num_hidden_groups", 1) * config.get("inner_group_num", 1)
    projected = kind == "albert" or (kind == "electra" and narrow != found["hidden"])
    return Encoder(
        type=kind,
        positions=rows,
        types=0 if kind == "distilbert" else config.get("type_vocab_size", 2),
        embedding=narrow if projected else 0,
        stored=stored if kind == "albert" else 0,
    )


def _read_deberta(kind: EncoderType, config: dict[str, Any], found: dict[str, Any]) -> Encoder:
    rows = config.get("max_position_embeddings", 512)
    buckets = max(config.get("position_buckets", -1), 0)
    most = config.get("max_relative_positions", -1)
    distances = buckets or (most if most > 0 else rows)
    return Encoder(
        type=kind,
        positions=rows if config.get("position_biased_input", True) else 0,
        types=config.get("type_vocab_size", 0),
        relative=2 * distances,
        convolution=config.get("conv_kernel_size") or 0,
    )


_READ: dict[str, Callable[[EncoderType, dict[str, Any], dict[str, Any]], Encoder]] = {
    "t5": _read_t5,
    "bart": _read_bart,
    "deberta": _read_deberta,
    "deberta-v2": _read_deberta,
}
