"""HELM plug-in: summaries scored without the packages that HELM's own metric imports.

HELM's ``SummarizationMetric`` imports torch, bert_score and summ_eval, downloads human judgements
and a spaCy model, and of all that uses nothing for the challenge: its board and its final show
ROUGE-2. Where those packages are missing, as in our lean environment, this metric takes its place
under its name: ROUGE-1, ROUGE-2 and ROUGE-L by HELM's own functions. Left out are coverage, density
and compression (summ_eval), faithfulness and BERTScore (which HELM computes on a GPU only) and the
human judgements of 2022's models. Where the packages are there, nothing is replaced::

    helm-run --plugins tools/evaluate/helm/lean.py
        --run-entries summarization_cnndm:model=neurips/local ...
"""

# mypy: disable-error-code="misc, no-any-return, untyped-decorator"
# (HELM is not in the venv that mypy reads: all it gives is Any there.)

import importlib.util
import sys

from helm.benchmark.adaptation.adapter_spec import AdapterSpec
from helm.benchmark.adaptation.request_state import RequestState
from helm.benchmark.metrics.evaluate_reference_metrics import get_rouge_function
from helm.benchmark.metrics.metric import Metric
from helm.benchmark.metrics.metric_name import MetricName
from helm.benchmark.metrics.metric_service import MetricService
from helm.benchmark.metrics.statistic import Stat

REPLACED = "helm.benchmark.metrics.summarization_metrics"
WANTED = ("torch", "transformers", "bert_score", "summ_eval")
ROUGE = {"rouge_1": "rouge1", "rouge_2": "rouge2", "rouge_l": "rougeL"}


class SummarizationMetric(Metric):
    """ROUGE of summaries.

    Args:
        task: HELM's name of the data set; ROUGE is the same for all.
        device: where HELM would run its models; there are none here.
    """

    def __init__(self, task: str, device: str = "cpu") -> None:
        self.task, self.device = task, device
        self._rouge = {name: get_rouge_function(kind) for name, kind in ROUGE.items()}

    def evaluate_generation(
        self,
        adapter_spec: AdapterSpec,
        request_state: RequestState,
        metric_service: MetricService,
        eval_cache_path: str,
    ) -> list[Stat]:
        """The best of each ROUGE over an article's summaries."""
        summaries = [_bare(one.output.text) for one in request_state.instance.references]
        made = _bare(request_state.result.completions[0].text.strip())
        return [
            Stat(MetricName(name)).add(float(max(rouge(one, made) for one in summaries)))
            for name, rouge in self._rouge.items()
        ]


def _bare(text: str) -> str:
    """Without the braces that HELM's metric takes off, too: old prompts had them."""
    return text.removeprefix("{").removesuffix("}")


def missing() -> list[str]:
    """The packages that HELM's own metric would not find."""
    return [name for name in WANTED if importlib.util.find_spec(name) is None]


# Early enough: HELM imports plug-ins before it makes any metric.
if missing():
    sys.modules[REPLACED] = sys.modules[__name__]
