"""Which fields of other servers' requests are refused, which do nothing, and which are unknown.

Clients of OpenAI's API send what vLLM, SGLang, llama.cpp and TGI have added to it. A field that
would change the answer, and that nothing here honours, is refused by name unless its value changes
nothing. A field that is for the provider's books is taken in silence. Any other is unknown: it is
ignored, and the answer's ``X-Ignored-Fields`` names it.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any
from urllib.parse import quote

Fault = dict[str, Any]

#: The header that names what was ignored.
IGNORED = "X-Ignored-Fields"

#: Most names, and most characters of one, that the header holds: a body could have thousands.
_MOST, _LONGEST = 20, 60

#: Fields that nothing here honours, with the values that change nothing.
REFUSED: dict[str, tuple[Any, ...]] = {
    # OpenAI
    "suffix": ("",),
    "logit_bias": ({},),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "modalities": (["text"],),
    "prediction": (),
    "audio": (),
    "web_search_options": (),
    "reasoning_effort": ("none",),
    # vLLM
    "repetition_penalty": (1,),
    "min_p": (0,),
    "length_penalty": (1,),
    "use_beam_search": (False,),
    "early_stopping": (False,),
    "bad_words": ([],),
    "allowed_token_ids": ([],),
    "logits_processors": ([],),
    "guided_json": (),
    "guided_regex": (),
    "guided_choice": ([],),
    "guided_grammar": (),
    "structured_outputs": ({},),
    "prompt_logprobs": (),
    "truncate_prompt_tokens": (),
    "prompt_embeds": (),
    "skip_special_tokens": (True,),
    "include_stop_str_in_output": (False,),
    "return_token_ids": (False,),
    "return_tokens_as_token_ids": (False,),
    "chat_template": (),
    "documents": ([],),
    "thinking_token_budget": (),
    # SGLang
    "regex": ("",),
    "ebnf": ("",),
    "json_schema": ("", {}),
    "stop_regex": ([], ""),
    "min_new_tokens": (0,),
    "no_stop_trim": (False,),
    "custom_logit_processor": (),
    "lora_path": (),
    "input_embeds": (),
    "return_hidden_states": (False,),
    # llama.cpp
    "n_predict": (),
    "n_probs": (0,),
    "grammar": ("",),
    "typical_p": (1,),
    "top_n_sigma": (-1, 0),
    "dynatemp_range": (0,),
    "mirostat": (0,),
    "xtc_probability": (0,),
    "dry_multiplier": (0,),
    "repeat_penalty": (1,),
    "samplers": (),
    "n_keep": (0,),
    "n_indent": (0,),
    "t_max_predict_ms": (0,),
    "lora": ([],),
    # TGI and Hugging Face's generate
    "max_new_tokens": (),
    "do_sample": (True,),
    "truncate": (),
    "watermark": (False,),
    "decoder_input_details": (False,),
    "top_n_tokens": (0,),
    "return_full_text": (False,),
    "adapter_id": (),
    "num_beams": (1,),
    "no_repeat_ngram_size": (0,),
    # the vocabulary of our own /process
    "max_length": (),
    "num_samples": (1,),
    "num_return_sequences": (1,),
    "top_k_per_token": (),
    "stop_sequences": ([],),
    "echo_prompt": (False,),
}

#: What to say instead, where there is such a field.
_INSTEAD = {
    "max_length": "max_tokens",
    "max_new_tokens": "max_tokens",
    "n_predict": "max_tokens",
    "guided_json": "response_format",
    "json_schema": "response_format",
    "min_new_tokens": "min_tokens",
    "n_probs": "logprobs",
    "top_n_tokens": "logprobs",
    "top_k_per_token": "logprobs",
    "num_samples": "n",
    "num_return_sequences": "n",
    "stop_sequences": "stop",
    "echo_prompt": "echo",
    "return_full_text": "echo",
}

#: Fields that cannot change an answer here: labels, accounts, caches, order.
_SILENT = frozenset(
    "cache_prompt cache_salt id_slot include_reasoning metadata parallel_tool_calls priority"
    " prompt_cache_key prompt_cache_retention request_id rid safety_identifier service_tier"
    " spaces_between_special_tokens store user verbosity".split()
)


def refused(given: Mapping[str, Any], more: Mapping[str, tuple[Any, ...]]) -> Iterator[Fault]:
    """A fault for each field that would change the answer and is not honoured.

    Args:
        given: the body's fields that its model does not have.
        more: fields that are refused on this route only, with the values that change nothing.
    """
    for name, values in {**REFUSED, **more}.items():
        if name in given and given[name] not in values:
            instead = _INSTEAD.get(name)
            say = f"say {instead}" if instead else "leave it out" + _unless(values)
            yield fault(name, f"is not offered here; {say}")


def unknown(given: Collection[str], more: Collection[str]) -> list[str]:
    """Those of the fields that nobody here has heard of.

    Args:
        given: names of the body's fields that its model does not have.
        more: fields that are refused on this route only.
    """
    return [name for name in given if name not in {*REFUSED, *more, *_SILENT}]


def header(names: Collection[str]) -> dict[str, str]:
    """The header that names what was ignored; none where nothing was."""
    if not names:
        return {}
    shown = [quote(name[:_LONGEST], safe="[]", errors="replace") for name in list(names)[:_MOST]]
    rest = [f"and {len(names) - _MOST} more"] if len(names) > _MOST else []
    return {IGNORED: ", ".join(shown + rest)}


def fault(field: str, message: str, kind: str = "not_offered") -> Fault:
    """A fault of the body, as FastAPI describes one."""
    return {"loc": ["body", field], "msg": message, "type": kind}


def _unless(values: tuple[Any, ...]) -> str:
    return f" (or {values[0]!r}, which changes nothing)" if values else ""
