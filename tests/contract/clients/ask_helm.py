"""HELM's OpenAI and vLLM clients, as they come: legacy completions (best_of 5) and chat.

Its ``VLLMClient`` is not asked: in 0.5.16 it hands OpenAI's client a tokenizer, and is never made.
"""

from dataclasses import asdict
from typing import Any

from helm.clients.openai_client import OpenAILegacyCompletionsClient
from helm.clients.vllm_client import VLLMChatClient
from helm.common.cache import BlackHoleCacheConfig
from helm.common.request import Request
from said import CHAT, LONG, PROMPT, tell, url

NO_CACHE = BlackHoleCacheConfig()


def told(result: Any) -> dict[str, Any]:
    return {
        "success": result.success,
        "error": result.error,
        "completions": [
            {"text": one.text, "logprob": one.logprob, "tokens": [asdict(t) for t in one.tokens]}
            for one in result.completions
        ],
    }


def main() -> None:
    legacy = OpenAILegacyCompletionsClient(NO_CACHE, api_key="none", base_url=url())
    chat = VLLMChatClient(cache_config=NO_CACHE, base_url=url(), vllm_model_name="tiny")
    # As HELM asks every multiple choice: top_k_per_token 5, one token.
    choice = {"model": "openai/tiny", "temperature": 0.0, "max_tokens": 1, "top_k_per_token": 5}
    plain = {"model": "openai/tiny", "temperature": 0.0, "max_tokens": 8, "top_k_per_token": 1}
    several = {**plain, "temperature": 0.7, "num_completions": 2, "random": "3"}
    tell({
        "choice": told(legacy.make_request(Request(prompt=PROMPT, **choice))),
        "legacy": told(legacy.make_request(Request(prompt=PROMPT, **plain))),
        "several": told(legacy.make_request(Request(prompt=PROMPT, **several))),
        "chat": told(chat.make_request(Request(messages=CHAT, **plain))),
        "overflow": told(legacy.make_request(Request(prompt=LONG, **plain))),
    })  # fmt: skip


main()
