"""The files that HELM's scenarios read, by run entry. What is not in the table is left to HELM.

Paths are those below HELM's output folder (``benchmark_output``), so any such folder of an earlier
HELM serves as ``eval.data``. ``tools.questions.data`` finds and fetches them.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from tools.questions.hidden_data import SOURCES
from tools.recipe.run_entries import parts

Arguments = dict[str, str]


@dataclass(frozen=True)
class Need:
    """A file that HELM opens.

    Attributes:
        path: below HELM's output folder.
        urls: where it is to be had, the first that answers; a hub data set's id where ``kind`` is
            ``hub``.
        kind: ``file`` is the file itself; ``tar`` holds it, and is unpacked as ``folder``; ``hub``:
            HELM loads the data set with the ``datasets`` package, whose cache ``other`` is.
        folder: what an archive is unpacked as, below HELM's output folder.
        other: what does as well, where it is there.
    """

    path: str
    urls: tuple[str, ...]
    kind: str = "file"
    folder: str = ""
    other: str = ""


# Where HELM 0.5.16 has its files from (its sources, helm/benchmark/scenarios and augmentations).
_PUBLIC = "https://storage.googleapis.com/crfm-helm-public/source_datasets"
_MMLU = "https://people.eecs.berkeley.edu/~hendrycks/data.tar"
_GSM = "https://raw.githubusercontent.com/openai/grade-school-math/master/grade_school_math/data"
_TRUTHFUL = (
    "https://raw.githubusercontent.com/sylinrl/TruthfulQA/"
    "d71c110897f5d31c5d7f309e7bc316c152f6f031/data/v1/TruthfulQA.csv"
)
_BBQ = "https://raw.githubusercontent.com/nyu-mll/BBQ/main/data"
_BIG_BENCH = "https://raw.githubusercontent.com/google/BIG-bench/main/bigbench/benchmark_tasks"
_SUMMARIES = f"{_PUBLIC}/scenarios/summarization_scenario"
_MATH = "hendrycks/competition_math"
_DIALECT = f"{_PUBLIC}/augmentations/dialect_perturbation/SAE_to_AAVE_mapping.json"
_NAMES = f"{_PUBLIC}/augmentations/person_name_perturbation/person_names.txt"
BBQ_SUBJECTS = (
    "Age",
    "Disability_status",
    "Gender_identity",
    "Nationality",
    "Physical_appearance",
    "Race_ethnicity",
    "Race_x_SES",
    "Race_x_gender",
    "Religion",
    "SES",
    "Sexual_orientation",
)


def needs(description: str) -> list[Need]:
    """The files that a run entry's run specs read, as far as they are known.

    Args:
        description: ``name:argument=value,...``, with or without ``model=``.
    """
    name, words = parts(description)
    arguments = {key: value for key, _, value in (word.partition("=") for word in words)}
    found = list(_TABLE[name](arguments)) if name in _TABLE else []
    return found + list(_perturbations(arguments.get("data_augmentation", "")))


def _mmlu(arguments: Arguments) -> Iterator[Need]:
    subject = arguments.get("subject", "")
    for split in ("dev", "val", "test"):
        path = f"scenarios/mmlu/data/{split}/{subject}_{split}.csv"
        yield Need(path, (_MMLU,), "tar", "scenarios/mmlu/data")


def _gsm(arguments: Arguments) -> Iterator[Need]:
    for split in ("train", "test"):
        yield Need(f"scenarios/gsm/gsm_data_{split}", (f"{_GSM}/{split}.jsonl",))


def _truthful_qa(arguments: Arguments) -> Iterator[Need]:
    yield Need("scenarios/truthful_qa/data/TruthfulQA.csv", (_TRUTHFUL,))


def _bbq(arguments: Arguments) -> Iterator[Need]:
    subject = arguments.get("subject", "all")
    for name in BBQ_SUBJECTS if subject == "all" else [subject]:
        yield Need(f"scenarios/bbq/data/{name}", (f"{_BBQ}/{name}.jsonl",))


def _big_bench(arguments: Arguments) -> Iterator[Need]:
    task = "/".join(filter(None, [arguments.get("task", ""), arguments.get("subtask", "")]))
    yield Need(f"scenarios/big_bench/{task}/task.json", (f"{_BIG_BENCH}/{task}/task.json",))


def _summaries(file: str) -> Callable[[Arguments], Iterator[Need]]:
    def found(arguments: Arguments) -> Iterator[Need]:
        yield Need(f"scenarios/summarization/data/{file}", (f"{_SUMMARIES}/{file}",))

    return found


def _math(arguments: Arguments) -> Iterator[Need]:
    """Two files of ours, see evaluate/helm/local_math.py, or the cache of the hub's data set."""
    for split in ("train", "test"):
        cache = f"scenarios/MATH/data/{_MATH.replace('/', '___')}"
        yield Need(f"scenarios/MATH/data/{split}.jsonl", (_MATH,), "hub", other=cache)


def _hidden(name: str) -> Callable[[Arguments], Iterator[Need]]:
    def found(arguments: Arguments) -> Iterator[Need]:
        source = SOURCES[name]
        yield Need(f"scenarios/{name}/{source.file}", source.urls)

    return found


_TABLE: dict[str, Callable[[Arguments], Iterable[Need]]] = {
    "mmlu": _mmlu,
    "gsm": _gsm,
    "truthful_qa": _truthful_qa,
    "bbq": _bbq,
    "big_bench": _big_bench,
    "summarization_cnndm": _summaries("cnndm.pk"),
    "summarization_xsum": _summaries("xsum.pk"),
    "summarization_xsum_sampled": _summaries("xsum-sampled.pk"),
    "math": _math,
    **{name: _hidden(name) for name in SOURCES},
}


def _perturbations(name: str) -> Iterator[Need]:
    """What ``data_augmentation=NAME`` reads; the other perturbations bring their own words."""
    many = name in ("canonical", "fairness")
    if many or "dialect" in name:
        yield Need("perturbations/dialect/SAE_to_AAVE_mapping.json", (_DIALECT,))
    if many or "person_name" in name:
        yield Need("perturbations/person_name/data/person_names.txt", (_NAMES,))
