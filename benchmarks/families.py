"""``python -m benchmarks.families``: encoders and encoder-decoders, ours beside others, one table.

Models of published shapes with random weights. Ours answers many clients in a closed loop; beside
it transformers alone, one request at a time, and for encoder-decoders ctranslate2 in float32 with
all requests handed over at once, where ``--ctranslate2`` says that it is installed (``pip install
--no-deps --target FOLDER ctranslate2==4.8.5``; it is no part of our environment). Each is a process
of its own, in float32, with the same number of computing threads. Where the processor has units for
bfloat16, ours is measured in that, too (``serve.dtype``): a pass over prompts costs what its
products cost, however many prompts it is shared by, so that only cheaper products make it faster.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Literal

from tabulate import tabulate

from benchmarks import machine
from tools.console import environment

#: Settings of transformers' configurations: ``(kind, model_type, settings)``.
SHAPES: Mapping[str, tuple[str, str, dict[str, Any]]] = {
    "t5-small": ("seq2seq", "t5", {"vocab_size": 32128, "decoder_start_token_id": 0}),
    "bart-base": (
        "seq2seq",
        "bart",
        {
            "vocab_size": 50265, "d_model": 768, "encoder_layers": 6, "decoder_layers": 6,
            "encoder_attention_heads": 12, "decoder_attention_heads": 12, "encoder_ffn_dim": 3072,
            "decoder_ffn_dim": 3072, "decoder_start_token_id": 1, "forced_eos_token_id": None,
            # Of the published config.json: unknown to transformers, wanted by ctranslate2.
            "normalize_before": False, "normalize_embedding": True, "add_final_layer_norm": False,
        },
    ),
    "bert-base": ("encoder", "bert", {"vocab_size": 28996}),
    "minilm-l6": (
        "encoder",
        "bert",
        {
            "vocab_size": 30522, "hidden_size": 384, "num_hidden_layers": 6,
            "intermediate_size": 1536,
        },
    ),
    "t5-tiny": (
        "seq2seq",
        "t5",
        {
            "vocab_size": 320, "d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2,
            "num_heads": 4, "decoder_start_token_id": 0,
        },
    ),
    "bert-tiny": (
        "encoder",
        "bert",
        {
            "vocab_size": 320, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
            "intermediate_size": 128,
        },
    ),
}  # fmt: skip
#: Ids of the tokenizer made here.
SPECIALS = ("<pad>", "</s>", "<s>", "<unk>", "<mask>")
END, BEGIN, MASK = 1, 2, 4

#: Ours again, on processors with units for it.
HALF = "ours in bfloat16"

#: Those with an encoder alone answer one token; clients and new tokens by kind.
LOADS = {"seq2seq": (16, 64), "encoder": (30, 1)}


@dataclass(frozen=True)
class Job:
    """One process's work.

    Attributes:
        folder: of the model.
        kind: ``seq2seq`` or ``encoder``.
        clients: that ask ours at a time.
        requests: how many.
        prompt: tokens of each.
        new: tokens of each answer.
        threads: that compute.
    """

    folder: str
    kind: str
    clients: int
    requests: int
    prompt: int
    new: int
    threads: int

    def prompts(self) -> list[list[int]]:
        """Random ids, the same for all."""
        numbers = Random(self.requests)
        return [
            [numbers.randrange(10, 300) for _ in range(self.prompt)] for _ in range(self.requests)
        ]


def parse_arguments(words: Sequence[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.families", description=__doc__)
    parser.add_argument("--shapes", default="t5-small,bart-base,bert-base,minilm-l6")
    parser.add_argument("--requests", type=int, default=48)
    parser.add_argument("--prompt", type=int, default=128, help="tokens (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--ctranslate2", type=Path, metavar="FOLDER", help="where it is installed")
    parser.add_argument("--busy", action="store_true", help="measure although others use the CPU")
    parser.add_argument("--run", nargs=2, help=argparse.SUPPRESS)  # server and job, in a child
    return parser.parse_args(words)


def save(shape: str, folder: Path) -> None:
    """Writes a model of the shape, its weights random, with a tokenizer of as many entries."""
    import torch
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    transformers.utils.logging.disable_progress_bar()
    kind, model_type, settings = SHAPES[shape]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    entries = [*SPECIALS, *alphabet]
    entries += [f"w{i}" for i in range(len(entries), settings["vocab_size"])]
    made = Tokenizer(models.BPE({entry: i for i, entry in enumerate(entries)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", END)]
    )
    names = dict(zip(("pad", "eos", "bos", "unk", "mask"), SPECIALS, strict=True))
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, **{f"{name}_token": text for name, text in names.items()}
    )
    config = transformers.AutoConfig.for_model(
        model_type, pad_token_id=0, eos_token_id=END, bos_token_id=BEGIN, **settings
    )
    torch.manual_seed(0)
    loader = transformers.AutoModelForSeq2SeqLM
    if kind == "encoder":
        loader = transformers.AutoModelForMaskedLM
    loader.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def timed(work: Callable[[], int]) -> dict[str, float]:
    """Tokens a second of some work, which returns how many tokens it has made."""
    begun = time.perf_counter()
    tokens = work()
    return {"tok_s": tokens / (time.perf_counter() - begun)}


def ours(job: Job, dtype: Literal["float32", "bfloat16"] = "float32") -> dict[str, float]:
    """Our engine, asked by so many clients at a time."""
    from serve.config import ServeConfig
    from serve.engine import build_engine
    from serve.engine.base import GenRequest

    config = ServeConfig(threads=job.threads, dtype=dtype)
    engine = build_engine(Path(job.folder), config, "cpu")

    def ask(pair: tuple[int, list[int]]) -> int:
        place, prompt = pair
        request = GenRequest(str(place), tuple(prompt), max_new_tokens=job.new, ignore_eos=True)
        return len(engine.submit(request).result().tokens)

    # Its thread must have ended: torch, still at work at the interpreter's end, aborts the process.
    with contextlib.closing(engine), ThreadPoolExecutor(job.clients) as clients:
        list(clients.map(ask, enumerate(job.prompts()[: job.clients], start=job.requests)))
        return timed(lambda: sum(clients.map(ask, enumerate(job.prompts()))))


def transformers_alone(job: Job) -> dict[str, float]:
    """``generate``, or a masked model's pass, one request at a time; an eighth of them."""
    import torch
    import transformers

    torch.set_num_threads(job.threads)
    prompts = [torch.tensor([[*prompt, END]]) for prompt in job.prompts()]
    few = prompts[: max(2, job.requests // 8)]
    if job.kind == "encoder":
        masked = transformers.AutoModelForMaskedLM.from_pretrained(job.folder).eval()

        @torch.inference_mode()
        def fill(ids: Any) -> int:
            ids = torch.cat([ids[:, :-1], torch.tensor([[MASK, END]])], 1)
            scores = masked(input_ids=ids).logits[0, -2].log_softmax(-1)
            return int(scores.argmax() >= 0)

        fill(few[0])
        return timed(lambda: sum(map(fill, few)))
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(job.folder).eval()
    lengths = {"max_new_tokens": job.new, "min_new_tokens": job.new}

    def generate(ids: Any) -> int:
        made = model.generate(ids, do_sample=False, num_beams=1, **lengths)
        return int(made.shape[1]) - 1

    generate(few[0])
    return timed(lambda: sum(map(generate, few)))


def ctranslate2(job: Job) -> dict[str, float]:
    """ctranslate2 in float32: all requests at once, so many side by side as ours has clients."""
    import ctranslate2 as library
    import transformers
    from ctranslate2.converters import TransformersConverter

    made = f"{job.folder}-ct2"
    TransformersConverter(job.folder).convert(made, force=True)
    translator = library.Translator(
        made, device="cpu", compute_type="float32", inter_threads=1, intra_threads=job.threads
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(job.folder)
    prompts = [tokenizer.convert_ids_to_tokens([*prompt, END]) for prompt in job.prompts()]

    def translate(chosen: list[list[str]]) -> int:
        results = translator.translate_batch(
            chosen,
            beam_size=1,
            max_batch_size=job.clients,
            max_decoding_length=job.new,
            min_decoding_length=job.new,
            return_scores=True,
        )
        return sum(len(result.hypotheses[0]) for result in results)

    translate(prompts[: job.clients])
    return timed(lambda: translate(prompts))


#: Of whose tokens a second to whose.
RATIOS = (("ours", "transformers"), ("ours", "ctranslate2"), (HALF, "transformers"))

SERVERS: Mapping[str, Callable[[Job], dict[str, float]]] = {
    "ours": ours,
    "transformers": transformers_alone,
    "ctranslate2": ctranslate2,
    HALF: partial(ours, dtype="bfloat16"),
}


def measure(name: str, job: Job, library: Path | None) -> dict[str, float] | None:
    """What a server's own process says; None where it cannot be measured here."""
    if name == "ctranslate2" and (library is None or job.kind == "encoder"):
        return None
    if name == HALF and not machine.computes_bfloat16():
        return None
    words = [sys.executable, "-m", "benchmarks.families", "--run", name, json.dumps(asdict(job))]
    more = {"OMP_NUM_THREADS": str(job.threads), "HF_HUB_OFFLINE": "1"}
    if name == "ctranslate2":
        more["PYTHONPATH"] = str(library)
    done = subprocess.run(words, env=environment(**more), capture_output=True, text=True)
    if done.returncode:
        print(f"{name}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return None
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def compare(options: argparse.Namespace, scratch: Path) -> list[list[str]]:
    """A line a shape: medians of tokens a second, and ours as a multiple of the others."""
    lines = []
    threads = max(1, len(os.sched_getaffinity(0)) - 1)
    for shape in options.shapes.split(","):
        folder, kind = scratch / shape, SHAPES[shape][0]
        save(shape, folder)
        clients, new = LOADS[kind]
        job = Job(str(folder), kind, clients, options.requests, options.prompt, new, threads)
        runs: dict[str, list[float]] = {}
        for _ in range(options.repeats):
            for name in SERVERS:
                found = measure(name, job, options.ctranslate2)
                if found:
                    runs.setdefault(name, []).append(found["tok_s"])
        middle = {name: statistics.median(values) for name, values in runs.items()}
        figures = [f"{middle[name]:.3g}" if name in middle else "-" for name in SERVERS]
        ratios = [
            f"{middle[one] / middle[other]:.2f}" if {one, other} <= middle.keys() else "-"
            for one, other in RATIOS
        ]
        load = f"{options.prompt} + {new} tokens, {clients} clients"
        lines.append([shape, load, *figures, *ratios])
    return lines


def main() -> int:
    """Measures and prints; the exit code."""
    options = parse_arguments(sys.argv[1:])
    if options.run:
        name, job = options.run
        print(json.dumps(SERVERS[name](Job(**json.loads(job)))), flush=True)
        return 0
    if unknown := [name for name in options.shapes.split(",") if name not in SHAPES]:
        print(f"error: --shapes: no {unknown[0]}; known: {', '.join(SHAPES)}", file=sys.stderr)
        return 2
    used = machine.cores_in_use()
    if used > machine.IDLE_CORES and not options.busy:
        print(f"error: others use {used:.2f} cores; stop them or say --busy", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        lines = compare(options, Path(scratch))
    names = [f"{name}, tokens/s" for name in SERVERS]
    head = ["shape", "load", *names, *(f"{one} / {other}" for one, other in RATIOS)]
    print(tabulate(lines, head, tablefmt="github", disable_numparse=True))
    facts = machine.facts("cpu")
    print(
        f"\nfloat32 but where told, medians of {options.repeats}; {facts['cpu']},"
        f" {facts['cores']} cores; load average before: {facts['load_average']}."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
