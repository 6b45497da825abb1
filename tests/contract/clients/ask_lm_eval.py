"""lm-eval's newest, as it comes: likelihoods and answers, by the worker's own tokenizer."""

import json
import sys

import lm_eval
from lm_eval.tasks import TaskManager
from said import tell, url


def main() -> None:
    folder, names = sys.argv[2], sys.argv[3].split(",")
    found = lm_eval.simple_evaluate(
        model="local-completions",
        model_args={
            "model": "tiny", "base_url": url() + "/completions", "tokenizer_backend": "remote",
            "tokenized_requests": True, "max_length": 512, "num_concurrent": 4, "max_retries": 1,
        },
        tasks=names,
        task_manager=TaskManager(include_path=folder, include_defaults=False),
        batch_size=1,
        log_samples=True,
        bootstrap_iters=0,
    )  # fmt: skip
    samples = {
        name: [(row["doc_id"], row["resps"]) for row in rows]
        for name, rows in found["samples"].items()
    }
    tell({"version": lm_eval.__version__, "samples": json.loads(json.dumps(samples, default=str))})


main()
