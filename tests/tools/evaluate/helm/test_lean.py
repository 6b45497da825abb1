"""The metric of summaries where HELM's own lacks its packages; run by HELM's Python."""

import json
import subprocess
from pathlib import Path
from typing import Any

from tools.evaluate.helm.programs import LEAN, venv

SIDE = """
import importlib, json, sys
from importlib.util import module_from_spec, spec_from_file_location
from types import SimpleNamespace as Plain

spec = spec_from_file_location("lean", sys.argv[1])
lean = module_from_spec(spec)
sys.modules["lean"] = lean
spec.loader.exec_module(lean)

def score(made, *summaries):
    module = importlib.import_module("helm.benchmark.metrics.summarization_metrics")
    metric = module.SummarizationMetric(task="summarization_cnndm", device="cpu")
    references = [Plain(output=Plain(text=text)) for text in summaries]
    result = Plain(completions=[Plain(text=made)])
    state = Plain(instance=Plain(references=references), result=result)
    stats = metric.evaluate_generation(None, state, None, "")
    return {stat.name.name: stat.mean for stat in stats}

from helm.benchmark.metrics.evaluate_reference_metrics import get_rouge_function
made, right = "The town opened a bridge.", "The town opened a bridge today."
ours = score(f" {{{made}}}", "The town closed a road.", right)
theirs = get_rouge_function("rouge2")(right, made)
print("\\n" + json.dumps({
    "missing": lean.missing(), "ours": ours, "theirs": theirs,
    "same": score("A b c.", "A b c.") , "empty": score("", "A b c."),
}))
"""


def side() -> dict[str, Any]:
    command = [str(venv() / "bin" / "python"), "-c", SIDE, str(Path(LEAN).absolute())]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_rouge_is_helms_own_and_the_best_over_the_summaries() -> None:
    found = side()
    assert "bert_score" in found["missing"]
    assert set(found["ours"]) == {"rouge_1", "rouge_2", "rouge_l"}
    assert found["ours"]["rouge_2"] == found["theirs"] > 0.5
    assert set(found["same"].values()) == {1.0} and set(found["empty"].values()) == {0.0}
