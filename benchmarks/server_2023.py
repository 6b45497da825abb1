"""The server of most 2023 submissions: FastAPI in front of ``generate``, one request at a time.

Written for the benchmark after the challenge's two sample servers, their habits included: the
handler is ``async`` and blocks the event loop, so /tokenize waits too; stop sequences are ignored;
logprobs are the softmax of the processed scores.
"""

from typing import Any

import torch
from transformers import PreTrainedModel

from benchmarks.small_app import Generate, ProcessRequest, serve


def generate_alone(model: PreTrainedModel, tokenizer: Any) -> Generate:
    """Generation as an ``async`` function that never yields."""

    @torch.no_grad()
    async def generate(request: ProcessRequest) -> list[dict[str, Any]]:
        if request.seed is not None:
            torch.manual_seed(request.seed)
        prompt = tokenizer(request.prompt, return_tensors="pt").to(model.device)
        output = model.generate(
            **prompt,
            max_new_tokens=request.max_new_tokens,
            do_sample=True,
            temperature=request.temperature,
            top_k=request.top_k,
            return_dict_in_generate=True,
            output_scores=True,
        )
        new = output.sequences[0][prompt["input_ids"].shape[1] :]
        scores = torch.stack(output.scores, dim=1)[0].log_softmax(-1)
        top_values, top_ids = scores.max(-1)
        return [
            {
                "text": tokenizer.decode(token),
                "logprob": scores[place, token].item(),
                "top_logprob": {tokenizer.decode(top_ids[place]): top_values[place].item()},
            }
            for place, token in enumerate(new)
        ]

    return generate


if __name__ == "__main__":
    serve("sdpa", generate_alone)
