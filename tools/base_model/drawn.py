"""A small T5 drawn at random, made on the spot from the recipe alone: for demonstrations.

No registry carries a T5's weights, and a demo must not need the hub. So one is made of
``model.arch``, its weights from one seed, and ``model.words``, which its tokenizer knows whole;
that one is a Unigram, as a T5's. The model knows nothing before it is trained.
"""

from pathlib import Path
from typing import Any

from tools.recipe.faults import nearest
from tools.recipe.schema import Architecture, Model

#: Of the weights: the same model everywhere.
SEED = 17
#: How likely a piece is, as logarithms: a word is read whole before it is spelt.
WORD, CHARACTER = -10.0, -20.0
_UNKNOWN = "<unk>"  # a T5's own name
_SPACE = "▁"  # SentencePiece's mark of a word's begin
_CHARACTERS = [chr(code) for code in range(33, 127)]


def fault(model: Model) -> str:
    """Why a model cannot be drawn; empty when it can."""
    arch = model.arch
    if arch is None:
        return (
            "model.arch: missing, and a model that is drawn at random is made of its numbers; give "
            "them, as recipes/models/tiny-t5.yaml does"
        )
    if arch.encoder is None or arch.encoder.type != "t5":
        told = arch.encoder.type if arch.encoder else "none"
        return (
            f"model.arch.encoder.type: {told}{nearest(told, ['t5'])}; source: random draws a T5, "
            "any other base has source: hub, local, gguf or wheel"
        )
    if arch.vocab < (least := len(_pieces(model))):
        return (
            f"model.arch.vocab: {arch.vocab} rows for {least} pieces, model.words and single "
            f"characters; set {least} or more"
        )
    return ""


def make(model: Model, folder: Path) -> None:
    """Write the model as a Hugging Face folder.

    Args:
        model: without a ``fault``.
        folder: made.
    """
    import torch
    from transformers import PreTrainedTokenizerFast, T5ForConditionalGeneration

    assert model.arch is not None
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=_unigram(_pieces(model), model.eos),
        pad_token=model.pad,
        eos_token=model.eos,
        unk_token=_UNKNOWN,
        model_max_length=model.context,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        net = T5ForConditionalGeneration(_config(model.arch, tokenizer))
    net.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _config(arch: Architecture, tokenizer: Any) -> Any:
    """``config.json`` of the numbers; a T5's other values are its makers'."""
    from transformers import T5Config

    assert arch.encoder is not None
    return T5Config(
        vocab_size=arch.vocab,
        d_model=arch.hidden,
        d_kv=arch.head_dim or arch.hidden // arch.heads,
        d_ff=arch.mlp,
        num_layers=arch.layers,
        num_decoder_layers=arch.encoder.decoder_layers,
        num_heads=arch.heads,
        relative_attention_num_buckets=arch.encoder.relative,
        feed_forward_proj="gated-gelu" if arch.gated else "relu",
        tie_word_embeddings=arch.tied,
        dropout_rate=0.0,  # as T5 v1.1 was pretrained; so small a model has nothing to spare
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
    )


def _pieces(model: Model) -> dict[str, float]:
    """Each piece with its score, in the order of ids: a T5's special ones, characters, words."""
    words = dict.fromkeys(_SPACE + word for word in model.words.split())
    return {
        **dict.fromkeys((model.pad, model.eos, _UNKNOWN), 0.0),
        **dict.fromkeys((_SPACE, *_CHARACTERS), CHARACTER),
        **dict.fromkeys(words, WORD),
    }


def _unigram(pieces: dict[str, float], end: str) -> Any:
    """A tokenizer as SentencePiece makes a T5's: line ends and runs of spaces are one space."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from tokenizers.processors import TemplateProcessing

    names = list(pieces)
    made = Tokenizer(models.Unigram(list(pieces.items()), names.index(_UNKNOWN), False))
    made.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex(r"[\n\r\t]"), " "),
            normalizers.NFKC(),
            normalizers.Strip(),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    )
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    made.decoder = decoders.Metaspace(prepend_scheme="always")
    made.add_special_tokens([name for name, score in pieces.items() if score == 0.0])
    made.post_processor = TemplateProcessing(
        single=f"$A {end}", pair=f"$A {end} $B {end}", special_tokens=[(end, names.index(end))]
    )
    return made
