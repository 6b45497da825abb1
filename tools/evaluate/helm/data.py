"""The files that HELM's scenarios read: which an entry needs, whether they are there, and by link.

HELM downloads each when its run spec's turn comes, and a run spec whose file cannot be had fails
there, after the model was loaded. So what the tier's entries need is looked for, and fetched,
before the worker is started. Paths are those below HELM's output folder (``benchmark_output``), so
any such folder of an earlier HELM serves as ``eval.data``. What is fetched is kept in
``.cache/helm`` for the next evaluation. Scenarios that are not in the table below are left to HELM.
"""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.errors import UserError
from tools.files import file_digest
from tools.helm.fetch import Fetcher
from tools.helm.hidden_data import SOURCES
from tools.run_entries import parts

STORE = Path(".cache/helm")
FOLDERS = ("scenarios", "perturbations")

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
    """Two files of ours, see tools/helm/local_math.py, or the cache of the hub's data set."""
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


class Data:
    """The data of one evaluation.

    Args:
        descriptions: the run entries.
        given: ``eval.data``: a folder laid out like HELM's output folder, or empty.
        store: where what is fetched is kept.

    Attributes:
        online: whether HELM has to load a data set from the hub.

    Raises:
        UserError: ``given`` is no such folder.
    """

    def __init__(self, descriptions: Iterable[str], given: str = "", store: Path = STORE) -> None:
        self.online = False
        self._folders = [*([_given(given)] if given else []), store.absolute()]
        self._asking: dict[Need, list[str]] = {}
        for text in descriptions:
            for need in needs(text):
                self._asking.setdefault(need, []).append(text)

    def fetch(self) -> None:
        """Get what is not there.

        Raises:
            UserError: a fault a file or archive that cannot be had: who needs it, where from,
                what to do.
        """
        fetcher = Fetcher(self._folders[-1])
        missing: dict[tuple[str, str], list[str]] = {}
        for need, asking in self._asking.items():
            if self._find(need):
                continue
            why = fetcher.get(need.urls, need.kind, need.folder or need.path)
            if not why and need.kind == "hub":
                self.online = True
            elif not why and not self._find(need):
                why = f"{need.urls[0]}: the archive holds no such file"
                missing.setdefault((need.path, why), []).extend(asking)
            elif why:
                missing.setdefault((need.folder or need.path, why), []).extend(asking)
        if missing:
            raise UserError(_fault(path, asking, why) for (path, why), asking in missing.items())

    def link(self, output: Path) -> None:
        """Put links to all data into HELM's output folder, where HELM looks first."""
        self.unlink(output)
        for folder in reversed(self._folders):  # what is given wins
            for source in _files(folder):
                link = output / source.relative_to(folder)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.unlink(missing_ok=True)
                link.symlink_to(source)

    def unlink(self, output: Path) -> None:
        """Take the links away; what HELM fetched itself is kept for the next evaluation."""
        for source in list(_files(output)):
            kept = self._folders[-1] / source.relative_to(output)
            if not source.is_symlink() and not kept.exists():
                kept.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(source, kept)
        for name in FOLDERS:
            shutil.rmtree(output / name, ignore_errors=True)

    def digests(self) -> dict[str, str]:
        """SHA-256 of each file that the entries need, by its path below HELM's output folder."""
        files = {need.path: self._find(need) for need in self._asking}
        return {path: file_digest(file) for path, file in files.items() if file and file.is_file()}

    def _find(self, need: Need) -> Path | None:
        names = [need.path, *([need.other] if need.other else [])]
        found = (folder / name for folder in self._folders for name in names)
        return next((path for path in found if path.exists()), None)


def _given(text: str) -> Path:
    folder = Path(text)
    if not folder.is_dir():
        raise UserError(f"eval.data: {folder}: no such folder")
    if not any((folder / name).is_dir() for name in FOLDERS):
        raise UserError(
            f"eval.data: {folder} holds neither scenarios/ nor perturbations/; give a folder laid "
            "out like HELM's benchmark_output"
        )
    return folder.absolute()


def _files(folder: Path) -> Iterator[Path]:
    """All files below the data folders, and links to files; not HELM's locks."""
    for name in FOLDERS:
        for where, _, files in os.walk(folder / name, followlinks=True):
            yield from (Path(where, file) for file in files if not file.endswith(".lock"))


def _fault(path: str, asking: list[str], why: str) -> str:
    """Which run entries miss what, why, and the remedy."""
    names, count = dict.fromkeys(parts(text)[0] for text in asking), len(set(asking))
    who = f"{', '.join(names)} ({count} run entries)" if count > 1 else asking[0]
    return (
        f"eval: {who}: {path}: not there, and {why}; put it below a folder laid out like HELM's "
        "benchmark_output, and give that: make eval DATA=FOLDER"
    )
