"""The FastAPI application around the servers we are compared with: /process, /tokenize, /health."""

import argparse
import time
from collections.abc import Awaitable, Callable
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel


class ProcessRequest(BaseModel):
    """A prompt to continue."""

    prompt: str
    max_new_tokens: int = 50
    top_k: int = 50
    temperature: float = 0.8
    seed: int | None = None


class TokenizeRequest(BaseModel):
    """A text to turn into token ids."""

    text: str


#: Answers a request with its new tokens, as the contract writes them.
Generate = Callable[[ProcessRequest], Awaitable[list[dict[str, Any]]]]


def build(tokenizer: Any, generate: Generate) -> FastAPI:
    """The application; all of it, tokenizing too, in one process and one event loop."""
    app = FastAPI()

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ready"}

    @app.post("/process")
    async def process(request: ProcessRequest) -> dict[str, Any]:
        start = time.perf_counter()
        tokens = await generate(request)
        return {
            "text": "".join(token["text"] for token in tokens),
            "tokens": tokens,
            "logprob": sum(token["logprob"] for token in tokens),
            "request_time": time.perf_counter() - start,
        }

    @app.post("/tokenize")
    async def tokenize(request: TokenizeRequest) -> dict[str, Any]:
        start = time.perf_counter()
        ids = tokenizer(request.text)["input_ids"]
        return {"tokens": ids, "request_time": time.perf_counter() - start}

    return app


def serve(attention: str, make: Callable[[PreTrainedModel, Any], Generate]) -> None:
    """Reads the command line, loads the model and serves it.

    Args:
        attention: transformers' name of the attention implementation.
        make: gives the function that generates, from model and tokenizer.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    # As in our worker: on recent cards it builds a plan for each new length.
    torch.backends.cuda.enable_cudnn_sdp(False)
    model = AutoModelForCausalLM.from_pretrained(
        options.model,
        dtype=getattr(torch, options.dtype),
        attn_implementation=attention,
        device_map={"": options.device},
    ).eval()
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    app = build(tokenizer, make(model, tokenizer))
    uvicorn.run(app, port=options.port, log_level="warning")
