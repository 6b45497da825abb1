"""inspect-ai, as it comes: an eval task from its dataset to its score, and one that overflows."""

import sys
from typing import Any

from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.model import GenerateConfig, get_model
from inspect_ai.scorer import exact
from inspect_ai.solver import generate
from said import LONG, QUESTION, tell, url


def asked(model: Any, samples: list[Sample], folder: str) -> Any:
    (log,) = eval(
        Task(dataset=samples, solver=generate(), scorer=exact()), model=model, log_dir=folder,
        display="none", log_format="json", fail_on_error=False,
    )  # fmt: skip
    return log


def main() -> None:
    folder, right = sys.argv[2], sys.argv[3]
    model = get_model(
        "openai-api/local/tiny", base_url=url(), api_key="none", max_retries=0,
        config=GenerateConfig(temperature=0, max_tokens=8, logprobs=True, top_logprobs=2),
    )  # fmt: skip
    samples = [
        Sample(id="right", input=QUESTION, target=right),
        Sample(id="wrong", input=QUESTION, target="something else"),
    ]
    log = asked(model, samples, folder)
    choices = [sample.output.choices[0] for sample in log.samples]
    over = asked(model, [Sample(id="long", input=LONG, target="x")], folder)
    (long,) = over.samples
    tell({
        "status": log.status,
        "mean": log.results.scores[0].metrics["mean"].value,
        "answers": [choice.message.text for choice in choices],
        "tokens": [one.bytes for one in choices[0].logprobs.content],
        "overflow": {
            "stop_reason": long.output.stop_reason,
            "text": long.output.completion,
            "error": long.error.message if long.error else "",
        },
    })  # fmt: skip


main()
