"""transformers' own continuous batching behind the same small FastAPI application.

The manager's generation thread dies for ever of an empty prompt, a token id beyond the vocabulary
or a prompt beyond its cache (seen with transformers 5.16.1; 5.20 was not asked again), so requests
are checked before. It knows no stop sequences and no candidates, and its sampling settings are the
manager's: greedy here.
"""

import asyncio
import uuid
from typing import Any

from fastapi import HTTPException
from transformers import GenerationConfig, PreTrainedModel
from transformers.generation.configuration_utils import ContinuousBatchingConfig

from benchmarks.small_app import Generate, ProcessRequest, serve

BLOCK = 16  # tokens; the default of 256 is for GPUs
BLOCKS = 4096  # 65,536 tokens: as many as our own worker's cache for 32 requests of 2,048


def start_manager(model: PreTrainedModel) -> Any:
    """The running continuous-batching manager."""
    manager = model.init_continuous_batching(
        generation_config=GenerationConfig(
            do_sample=False, eos_token_id=model.generation_config.eos_token_id, pad_token_id=0
        ),
        continuous_batching_config=ContinuousBatchingConfig(
            max_batch_tokens=512, num_blocks=BLOCKS, block_size=BLOCK, return_logprobs=True
        ),
    )
    manager.start()
    return manager


def generate_together(model: PreTrainedModel, tokenizer: Any) -> Generate:
    """Generation by the manager."""
    manager = start_manager(model)

    async def generate(request: ProcessRequest) -> list[dict[str, Any]]:
        ids = tokenizer(request.prompt)["input_ids"]
        if not ids or len(ids) + request.max_new_tokens > BLOCK * BLOCKS:
            raise HTTPException(422, "the prompt is empty or larger than the cache")
        answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        request_id = uuid.uuid4().hex
        manager.register_result_handler(request_id, answered.set_result)
        manager.add_request(ids, request_id=request_id, max_new_tokens=request.max_new_tokens)
        output = await answered
        if output.error:
            raise HTTPException(500, output.error)
        texts = [tokenizer.decode(token) for token in output.generated_tokens]
        return [
            {"text": text, "logprob": logprob, "top_logprob": {text: logprob}}
            for text, logprob in zip(texts, output.logprobs, strict=True)
        ]

    return generate


if __name__ == "__main__":
    serve("paged|sdpa", generate_together)
