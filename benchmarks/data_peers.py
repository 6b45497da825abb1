"""One job of another tool on the rows of ``benchmarks.data``, in a process of its own.

``python benchmarks/data_peers.py JOB ROWS ITEMS COUNT FOLDER`` with the tool on PYTHONPATH; imports
nothing of ours. Prints JSON: CPU seconds, of which ``index``, and the numbers of the rows found.
"""

import contextlib
import io
import json
import re
import resource
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

GRAM, BANDS, HASHES = 3, 16, 8
SIGNS = re.compile(r"[^\w\s]|_")


def cpu() -> float:
    """CPU seconds of this process so far, all threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def grams(text: str) -> list[str]:
    """Word 3-grams of a text, as rensa takes them."""
    words = SIGNS.sub("", text.casefold()).split()
    return [" ".join(words[at : at + GRAM]) for at in range(max(len(words) - GRAM + 1, 1))]


def rensa(texts: list[str], threshold: float) -> list[int]:
    """Near-duplicates by rensa's deduplicator, 16 bands of 8."""
    from rensa import RMinHashDeduplicator

    index = RMinHashDeduplicator(threshold, BANDS * HASHES, True, BANDS, 42)
    found = []
    for start in range(0, len(texts), 1000):
        part = [(str(at), grams(texts[at])) for at in range(start, min(start + 1000, len(texts)))]
        added = index.add_pairs(part)
        found += [start + at for at, new in enumerate(added) if not new]
    return found


class _Words:
    """Words by a regular expression: datatrove's own tokenizer for English wants spaCy."""

    def word_tokenize(self, text: str) -> list[str]:
        """The words of a simplified text."""
        return text.split()


def datatrove(texts: list[str], folder: Path) -> list[int]:
    """Near-duplicates by datatrove's three MinHash stages, on files as it always works."""
    from datatrove.data import Document
    from datatrove.pipeline.dedup import minhash

    minhash.load_word_tokenizer = lambda *_: _Words()
    config = minhash.MinhashConfig(n_grams=GRAM, num_buckets=BANDS, hashes_per_bucket=HASHES)
    signatures = minhash.MinhashDedupSignature(str(folder / "signatures"), config)
    for _ in [signatures.run(documents(texts, Document), 0, 1)]:
        pass
    buckets = minhash.MinhashDedupBuckets(
        str(folder / "signatures"), str(folder / "buckets"), config=config
    )
    for rank in range(BANDS):
        buckets.run(None, rank, BANDS)
    minhash.MinhashDedupCluster(str(folder / "buckets"), str(folder / "gone"), config=config).run()
    kept = minhash.MinhashDedupFilter(str(folder / "gone")).run(documents(texts, Document), 0, 1)
    stay = {int(each.id) for each in kept}
    return [at for at in range(len(texts)) if at not in stay]


def documents(texts: list[str], kind: Any) -> Iterator[Any]:
    """The texts as datatrove's documents."""
    for at, text in enumerate(texts):
        yield kind(text=text, id=str(at))


def janitor(texts: list[str], items: list[str]) -> tuple[float, Iterable[int]]:
    """Contaminated rows by lm-eval's janitor; and when its index was made."""
    from lm_eval.decontamination.janitor import Janitor

    made = Janitor(13)
    for text in items:
        made.register_contaminant_python(text)
    done = cpu()
    dirty = (at for at, text in enumerate(texts) if made.clean_python(text) != [text])
    # Texts shorter than its slices come back empty even where they are clean.
    return done, (at for at in dirty if _dirty(made, texts[at]))


def _dirty(made: Any, text: str) -> bool:
    words = made.normalize_string(text).split()
    return any(" ".join(words[at : at + 13]) in made.dirt_ngrams for at in range(len(words) - 12))


def datatrove_items(texts: list[str], items: list[str], folder: Path) -> tuple[float, list[int]]:
    """Contaminated rows by datatrove's n-gram filter; and when its index was made."""
    from datatrove.data import Document
    from datatrove.pipeline.decont import n_grams

    n_grams.load_word_tokenizer = lambda *_: _Words()
    n_grams.NGramsDecontIndexer._requires_dependencies = []  # lighteval's tasks are not asked for
    config = n_grams.NGramsDecontConfig(n_grams=13)
    index = n_grams.NGramsDecontIndexer(str(folder / "index"), config=config)
    search = n_grams.NGramsDecontFilter(str(folder / "index"), config=config)
    search._index_hashes = {one: "own" for text in items for one in index.compute_hashes(text)}
    done = cpu()
    return done, [
        at for at, doc in enumerate(documents(texts, Document)) if search.filter(doc) is not True
    ]


def read(path: Path, count: int | None = None) -> list[str]:
    """The first texts of a file."""
    with path.open(encoding="utf-8") as file:
        return [json.loads(line)["text"] for line in islice(file, count)]


def main() -> None:
    """Do the job, print what came of it."""
    job, rows, questions, count, work = sys.argv[1:]
    texts, items = read(Path(rows), int(count)), read(Path(questions))
    folder, begun = Path(work), cpu()
    with contextlib.redirect_stdout(io.StringIO()):
        done = begun
        if job == "rensa":
            found = rensa(texts, 0.7)
        elif job == "datatrove":
            found = datatrove(texts, folder)
        elif job == "janitor":
            done, some = janitor(texts, items)
            found = list(some)
        else:
            done, found = datatrove_items(texts, items, folder)
    used = cpu() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"cpu": used, "index": done - begun, "found": found, "peak": peak}))


if __name__ == "__main__":
    main()
