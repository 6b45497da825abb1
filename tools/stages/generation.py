"""A base's ``generation_config.json``, which makers may have written against itself."""

from pathlib import Path
from typing import Any

from tools.base_model.architecture import of_folder
from tools.files import read_json, write_json

FILE, MODEL = "generation_config.json", "config.json"
# What only sampling reads: transformers 5 saves no model that has one of them without do_sample.
_SAMPLING = ("temperature", "top_p", "top_k", "min_p", "top_h", "typical_p", "epsilon_cutoff",
             "eta_cutoff")  # fmt: skip
#: What makers of encoder-decoders wrote for summaries and translations: beams, least lengths and
#: tokens that are forced. BART's would make every answer of one token its end.
_FORCED = ("forced_bos_token_id", "forced_eos_token_id", "forced_decoder_ids", "num_beams",
           "num_beam_groups", "early_stopping", "length_penalty", "diversity_penalty",
           "no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "repetition_penalty",
           "encoder_repetition_penalty", "min_length", "max_length", "bad_words_ids",
           "suppress_tokens", "begin_suppress_tokens", "task_specific_params")  # fmt: skip
_IDS = ("decoder_start_token_id", "bos_token_id", "eos_token_id", "pad_token_id")


def settle(folder: Path) -> None:
    """Make a folder's file agree with itself; one that does is left as it is.

    Llama 2's first release has a temperature and says nothing of sampling: sampling is meant. Where
    ``do_sample`` is false, the words beside it mean nothing and go. Of an encoder-decoder all goes
    that forces an answer's tokens, also where it stands in ``config.json``, as BART's.
    """
    if _has_two_sides(folder):
        _unforce(folder)
    config = read_json(folder / FILE)
    if not isinstance(config, dict):
        return
    named = [key for key in _SAMPLING if config.get(key) is not None]
    if not named or config.get("do_sample"):
        return
    if config.get("do_sample") is None:
        config["do_sample"] = True
    else:
        for key in named:
            del config[key]
    write_json(folder / FILE, config)


def _has_two_sides(folder: Path) -> bool:
    """Whether the folder's model has an encoder and a decoder."""
    return of_folder(folder).parted == "apart"


def _unforce(folder: Path) -> None:
    """Leave of both files what an answer needs: where it begins, and what ends and fills it.

    transformers has defaults of its own for a family, which only a value in the file keeps away:
    so BART's forced end is written as null.
    """
    from transformers import AutoConfig

    known, model = AutoConfig.from_pretrained(folder), read_json(folder / MODEL)
    given = read_json(folder / FILE)
    kept = {k: v for k, v in given.items() if k not in _FORCED} if isinstance(given, dict) else {}
    for key in _IDS:
        value = getattr(known, key, None)
        if value is not None:
            kept.setdefault(key, value)
    write_json(folder / FILE, kept)
    defaults = type(known)()
    for key in _FORCED:
        model.pop(key, None)
        if getattr(defaults, key, None) is not None:
            model[key] = None
    write_json(folder / MODEL, model)


def settle_loaded(config: Any) -> None:
    """The same for what transformers has read; None where a model has none."""
    if config is None or config.do_sample:
        return
    if any(getattr(config, key, None) is not None for key in _SAMPLING):
        config.do_sample = True
