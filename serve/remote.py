"""The tokenizer for clients elsewhere, in vLLM's words: /tokenizer_info, /detokenize, /tokenize.

lm-evaluation-harness reads it with ``tokenizer_backend=remote``. A /tokenize that says ``prompt``
where the contract says ``text`` is answered as vLLM answers it: special tokens are read as such.
"""

import json
import time
from pathlib import Path
from typing import Any

from fastapi import HTTPException
from pydantic import BaseModel

from serve.chat import ChatTemplate
from serve.contract import DecodeRequest, TokenizeRequest
from serve.text import Detokenizer, TextCodec


class DetokenizeResponse(BaseModel):
    """The text of token ids, special ones as they are written."""

    prompt: str


def add_remote_routes(app: Any, text: TextCodec, model_dir: Path) -> None:
    """Adds /tokenizer_info and /detokenize; not ``async``: FastAPI runs them in threads."""
    info = tokenizer_info(model_dir)

    @app.get("/tokenizer_info")
    def tokenizer() -> dict[str, Any]:
        return info

    @app.post("/detokenize")
    def detokenize(input_data: DecodeRequest) -> DetokenizeResponse:
        if faults := faults_of(input_data.tokens, text.unknown_ids(input_data.tokens)):
            raise HTTPException(422, faults)
        pieces = Detokenizer(text, at_start=True)
        written = "".join(pieces.push(token, special=True) for token in input_data.tokens)
        return DetokenizeResponse(prompt=written + pieces.flush())


def tokenizer_info(model_dir: Path) -> dict[str, Any]:
    """What ``tokenizer_config.json`` says, its special tokens as texts, and the chat template."""
    path = model_dir / "tokenizer_config.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    for name, value in found.items():
        if name.endswith("_token") and isinstance(value, dict):
            found[name] = value["content"]
    return found | {"chat_template": ChatTemplate.load(model_dir).source}


def tokenized(text: TextCodec, body: TokenizeRequest, context: int) -> dict[str, Any]:
    """VLLM's answer to a /tokenize with ``prompt``.

    Args:
        text: the model's tokenizer.
        body: the request; nothing is cut.
        context: most tokens of prompt and completion together.
    """
    start = time.perf_counter()
    made = text.encode_prompt(body.text, parse_special=True)
    ids = list(made.ids if body.add_special_tokens else made.ids[made.lead :])
    seconds = time.perf_counter() - start
    return {"tokens": ids, "count": len(ids), "max_model_len": context, "request_time": seconds}


def faults_of(ids: list[int], wrong: list[int]) -> list[dict[str, Any]]:
    """A fault for each id at a wrong place; ten show the mistake, however long the body is."""
    return [
        {
            "loc": ["body", "tokens", place],
            "msg": f"id {ids[place]} is not in the vocabulary",
            "type": "unknown_token",
        }
        for place in wrong[:10]
    ]
