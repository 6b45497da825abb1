"""A model's numbers, as a recipe's ``model.arch`` and its ``config.json`` tell them."""

from dataclasses import dataclass
from typing import Literal

EncoderType = Literal[
    "t5", "bart", "bert", "roberta", "albert", "electra", "distilbert", "deberta", "deberta-v2"
]


@dataclass
class Encoder:
    """What a model with an encoder has beside the numbers of :class:`Architecture`.

    Those are its encoder's, and its decoder's, too, where it has one.

    Attributes:
        type: whose layers it is built of, as transformers' ``model_type`` says it.
        decoder_layers: number of blocks behind the encoder's; 0 of an encoder alone.
        positions: rows of position embeddings; 0 is none.
        relative: rows of embeddings of relative positions (T5: its buckets); 0 is none.
        types: rows of segment embeddings; 0 is none.
        embedding: width of the embeddings where a matrix makes ``hidden`` of it; 0 is none.
        stored: blocks that are stored, where several go through the same; 0 is all.
        convolution: width of the convolution beside the first block (DeBERTa v2's largest); 0 is
            none.
    """

    type: EncoderType
    decoder_layers: int = 0
    positions: int = 0
    relative: int = 0
    types: int = 0
    embedding: int = 0
    stored: int = 0
    convolution: int = 0


@dataclass
class Architecture:
    """The numbers of a model that memory and speed depend on, as in its ``config.json``.

    Attributes:
        hidden: width of the residual stream.
        layers: number of blocks.
        mlp: inner width of the feed-forward part, of one expert where there are experts.
        vocab: rows of the embedding matrix.
        heads: query heads.
        kv_heads: key and value heads.
        tied: whether the output head is the embedding matrix.
        gated: whether the feed-forward part has three matrices (SwiGLU), not two.
        head_dim: width of a head; 0 is ``hidden / heads``.
        window: keys an attention layer sees; 0 is all.
        experts: feed-forward parts that a layer chooses from for each token; 0 is none to choose.
        experts_used: of them, those that a token goes through.
        shared_mlp: inner width of the part beside them that every token goes through; 0 is none.
        encoder: of a model that has one; none of a decoder alone.
    """

    hidden: int
    layers: int
    mlp: int
    vocab: int
    heads: int
    kv_heads: int
    tied: bool
    gated: bool = True
    head_dim: int = 0
    window: int = 0
    experts: int = 0
    experts_used: int = 0
    shared_mlp: int = 0
    encoder: Encoder | None = None
