"""Tiny random folders of every family that is no causal model, made on the spot.

Tokenizers are those of their families, trained here on a few sentences: byte-level BPE (BART,
RoBERTa, DeBERTa v1), WordPiece (BERT, ELECTRA, DistilBERT), Unigram with T5's or ALBERT's settings
(T5, ALBERT, DeBERTa v2). T5 v1.1 and UL2 have a head of their own, as published.
"""

import json
from pathlib import Path
from typing import Any

SEQ2SEQ = ("t5", "t5-v1_1", "ul2", "bart")
ENCODERS = ("bert", "roberta", "albert", "electra", "distilbert", "deberta", "deberta-v2")
FAMILIES = (*SEQ2SEQ, *ENCODERS)
OWN_HEAD = ("t5-v1_1", "ul2")  # of all others it is the embeddings

_TEXT = [
    "Question: Which key opens the red box in the hall?\nAnswer: the third one, said Xenia.",
    "There are 5 apples and 12 pears; how many pieces of fruit are there in all?\n\nA. 17\nB. 7",
    "All cats are animals. Some animals sleep. Does it follow that some cats sleep?",
    "The quick brown fox jumps over the lazy dog, while McDonald counts 0123456789 sheep.",
    'def add(a, b):\n    return a + b  # it\'s all (there) is; "no more" - [yes] {no} <b>&</b>!',
]
_SPECIALS = ("<pad>", "</s>", "<s>", "<unk>", "<mask>")
_BERT_SPECIALS = ("[PAD]", "[SEP]", "[CLS]", "[UNK]", "[MASK]")


def folder(family: str, path: Path, seed: int = 0, vocab: int = 320) -> Path:
    """A model folder as one finds it on the hub: config, weights, tokenizer.

    Args:
        family: of :data:`FAMILIES`.
        path: made anew.
        seed: of the weights.
        vocab: rows of the embedding matrix, at least the tokenizer's.
    """
    tokenizer = tokenizer_of(family)
    size = max(vocab, len(tokenizer))
    model = network(family, size, seed)
    model.save_pretrained(path)
    if family in OWN_HEAD:
        _say_as_published(path / "config.json")
    tokenizer.save_pretrained(path)
    return path


def _say_as_published(file: Path) -> None:
    """Of a head of its own: transformers 5 writes that it is tied, and how outputs are scaled."""
    config = json.loads(file.read_text(encoding="utf-8"))
    config["tie_word_embeddings"] = False
    del config["scale_decoder_outputs"]
    file.write_text(json.dumps(config, indent=2), encoding="utf-8")


def tokenizer_of(family: str) -> Any:
    """Its tokenizer, as transformers reads it."""
    from transformers import PreTrainedTokenizerFast

    made, names = backend(family)
    pad, end, begin, unknown, mask = names
    cls_sep = {"cls_token": begin, "sep_token": end} if family not in SEQ2SEQ[:3] else {}
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token=pad,
        eos_token=end,
        bos_token=begin,
        unk_token=unknown,
        mask_token=mask,
        model_max_length=512,
        **cls_sep,
    )


def algorithm(family: str) -> str:
    """Its tokenizer's: BPE, WordPiece or Unigram."""
    return type(backend(family)[0].model).__name__


def backend(family: str) -> tuple[Any, tuple[str, ...]]:
    """The same of the ``tokenizers`` library alone, and its names of pad, end, begin, ?, mask."""
    from tokenizers import processors

    if family in ("bart", "roberta", "deberta"):
        made, names = _byte_level(), _SPECIALS
    elif family in ("bert", "electra", "distilbert"):
        made, names = _word_piece(lower=family != "distilbert"), _BERT_SPECIALS
    else:
        lower = family == "albert"
        made, names = _unigram(lower), _BERT_SPECIALS if lower else _SPECIALS
    end, begin = names[1], names[2]
    if family in SEQ2SEQ[:3]:
        made.post_processor = processors.TemplateProcessing(
            single=f"$A {end}", pair=f"$A {end} $B {end}", special_tokens=[(end, 1)]
        )
    else:
        made.post_processor = processors.TemplateProcessing(
            single=f"{begin} $A {end}",
            pair=f"{begin} $A {end} $B {end}",
            special_tokens=[(begin, 2), (end, 1)],
        )
    return made, names


def _byte_level() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=list(_SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(_TEXT, trainer)
    return made


def _word_piece(lower: bool) -> Any:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=lower)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=300, special_tokens=list(_BERT_SPECIALS), show_progress=False
    )
    made.train_from_iterator(_TEXT, trainer)
    return made


def _unigram(lower: bool) -> Any:
    """As SentencePiece makes them: NFKC, runs of spaces joined, a mark before each word."""
    from tokenizers import (
        Regex,
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        trainers,
    )

    names = _BERT_SPECIALS if lower else _SPECIALS
    made = Tokenizer(models.Unigram())
    steps = [
        normalizers.Replace(Regex(r"[\n\r\t]"), " "),
        normalizers.NFKC(),
        *([normalizers.Lowercase()] if lower else []),
        normalizers.Strip(),
        normalizers.Replace(Regex(" {2,}"), " "),
    ]
    made.normalizer = normalizers.Sequence(steps)
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    made.decoder = decoders.Metaspace(prepend_scheme="always")
    trainer = trainers.UnigramTrainer(
        vocab_size=200, special_tokens=list(names), unk_token=names[3], show_progress=False
    )
    made.train_from_iterator(_TEXT, trainer)
    return made


def network(family: str, vocab: int, seed: int = 0) -> Any:
    """The model alone, width 64, two layers, weights drawn from the seed; in evaluation mode."""
    import torch
    import transformers

    torch.manual_seed(seed)
    name, values = _CONFIGS[family]
    config = getattr(transformers, f"{name}Config")(vocab_size=vocab, pad_token_id=0, **values)
    suffix = "ForConditionalGeneration" if family in SEQ2SEQ else "ForMaskedLM"
    made = getattr(transformers, f"{name}{suffix}")(config).eval()
    if family in OWN_HEAD:
        _part_head(made)
    return made


def _part_head(made: Any) -> None:
    """Give a T5 a head of its own: transformers takes the embeddings for it, whatever is asked.

    Its outputs are not scaled, so the weights are: the first loss is near that of a guess.
    """
    import torch

    rows, width = made.lm_head.weight.shape
    made.lm_head.weight = torch.nn.Parameter(torch.randn(rows, width) * width**-0.5)
    made.all_tied_weights_keys.pop("lm_head.weight")  # as of a model that is loaded


def _t5(projection: str, tied: bool) -> tuple[str, dict[str, Any]]:
    return "T5", {
        "d_model": 64,
        "d_kv": 16,
        "d_ff": 128,
        "num_layers": 2,
        "num_decoder_layers": 2,
        "num_heads": 4,
        "feed_forward_proj": projection,
        "tie_word_embeddings": tied,
        "decoder_start_token_id": 0,
        "eos_token_id": 1,
    }


_ENCODER: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "max_position_embeddings": 514,
    "bos_token_id": 2,
    "eos_token_id": 1,
}
_CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "t5": _t5("relu", True),
    "t5-v1_1": _t5("gated-gelu", False),
    "ul2": _t5("gated-silu", False),
    "bart": (
        "Bart",
        {
            "d_model": 64,
            "encoder_layers": 2,
            "decoder_layers": 2,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "encoder_ffn_dim": 128,
            "decoder_ffn_dim": 128,
            "max_position_embeddings": 512,
            "bos_token_id": 2,
            "eos_token_id": 1,
            "decoder_start_token_id": 1,
            "forced_eos_token_id": 1,
        },
    ),
    "bert": ("Bert", _ENCODER),
    "roberta": ("Roberta", {**_ENCODER, "type_vocab_size": 1}),
    # nf4 packs 64 inputs at a time: published factorized embeddings are 128 wide.
    "albert": ("Albert", {**_ENCODER, "embedding_size": 64, "num_hidden_groups": 1}),
    "electra": ("Electra", {**_ENCODER, "embedding_size": 64}),
    "distilbert": (
        "DistilBert",
        {"dim": 64, "n_layers": 2, "n_heads": 4, "hidden_dim": 128, "max_position_embeddings": 512},
    ),
    "deberta": (
        "Deberta",
        {**_ENCODER, "relative_attention": True, "pos_att_type": "c2p|p2c", "type_vocab_size": 0},
    ),
    "deberta-v2": (
        "DebertaV2",
        {
            **_ENCODER,
            "relative_attention": True,
            "pos_att_type": "p2c|c2p",
            "type_vocab_size": 0,
            "position_buckets": 32,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "position_biased_input": False,
            "legacy": False,
        },
    ),
}
