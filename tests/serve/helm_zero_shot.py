"""Run by HELM's own Python: its window service, adapters and client, before our endpoints.

``helm_zero_shot.py URL`` reads a list of prompts; it prints what the window service makes of each,
at all of its length and cut in half, and the prompts of zero-shot requests that it has sent.
"""

# ruff: noqa: E402

import json
import sys
from dataclasses import replace
from typing import Any

import nltk

nltk.download = lambda *args, **kwargs: True  # HELM asks the network for it on import

from helm.benchmark.adaptation.adapters.generation_adapter import GenerationAdapter
from helm.benchmark.adaptation.adapters.multiple_choice_joint_adapter import (
    MultipleChoiceJointAdapter,
)
from helm.benchmark.run_specs import classic_run_specs, lite_run_specs
from helm.benchmark.scenarios.scenario import CORRECT_TAG, Input, Instance, Output, Reference
from helm.benchmark.window_services.default_window_service import DefaultWindowService
from helm.clients.http_model_client import HTTPModelClient
from helm.common.cache import BlackHoleCacheConfig
from helm.tokenizers.http_model_tokenizer import HTTPModelTokenizer

QUESTIONS = {
    "Which key opens\n\nthe Red  box?": ["North", "South", "East"],
    "def add(a, b):\n    return a + b": ["No", "Yes"],
    "Natürlich, überall: café, 東京 😀.": ["Go", "Stop"],
}


def window(url: str) -> Any:
    """HELM's window service of a model of 2,048 tokens whose tokenizer is asked at ``url``."""
    tokenizer: Any = HTTPModelTokenizer(BlackHoleCacheConfig(), base_url=url)
    return DefaultWindowService(tokenizer, "neurips/local", 2048, 2048)


def asked(url: str) -> list[str]:
    """Zero-shot requests of a multiple choice and of a generation, sent as HELM sends them."""
    client = HTTPModelClient(BlackHoleCacheConfig(), base_url=url)
    specs = (
        (MultipleChoiceJointAdapter, lite_run_specs.get_mmlu_spec("anatomy").adapter_spec),
        (GenerationAdapter, classic_run_specs.get_synthetic_reasoning_spec("x").adapter_spec),
    )
    sent = []
    for kind, spec in specs:
        adapter: Any = object.__new__(kind)
        adapter.adapter_spec = replace(spec, max_train_instances=0)
        adapter.window_service = window(url)
        for question, answers in QUESTIONS.items():
            references = [Reference(Output(text=answer), tags=[]) for answer in answers]
            references[0] = replace(references[0], tags=[CORRECT_TAG])
            one = Instance(Input(text=question), references, split="test", id="1")
            [state] = adapter.generate_requests(one, 0, [])
            result = client.make_request(replace(state.request, model="neurips/local"))
            assert result.success, result.error
            assert not state.prompt_truncated
            sent.append(state.request.prompt)
    return sent


def main(url: str) -> None:
    service = window(url)
    prompts = json.load(sys.stdin)
    whole = [service.truncate_from_right(prompt, 64) for prompt in prompts]
    counts = [service.get_num_tokens(prompt) for prompt in prompts]
    halves = [
        service.truncate_from_right(prompt, 2048 - count // 2)
        for prompt, count in zip(prompts, counts, strict=True)
    ]
    print(json.dumps({"whole": whole, "halves": halves, "counts": counts, "sent": asked(url)}))


main(sys.argv[1])
