"""``python -m benchmarks.serve`` (``make bench-serve``): our worker beside others, one table.

Each server is a process of its own, started alone, with the same weights in float32 and the same
number of computing threads, or on a card in bfloat16; every load is a closed loop over HTTP;
figures are medians of repeats.
"""

import argparse
import asyncio
import dataclasses
import itertools
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from benchmarks import machine
from benchmarks.client import Post, Refused, Sample, beside, closed_loop, connect, poster
from benchmarks.loads import CARD, QUICK, STANDARD, Load, Question
from benchmarks.prompts import Writer
from benchmarks.servers import SERVERS, Server, Setup, Unavailable, running
from benchmarks.table import Figures, figures, probe_figures, table, verdicts
from tools.console import say
from tools.errors import StageError, UserError
from tools.recipe.faults import nearest
from tools.run.folder import write_json

#: What /tokenize is asked for beside load (b).
PROBE_TEXT = "HELM counts the tokens of every reference, such as this one, while answers are made. "

#: Seconds of a run above which it is not repeated: the table would take hours.
LONG = 90.0

#: Before anything is measured: requests, tokens of each prompt, clients. A card's libraries load
#: each kernel when it is first needed.
WARM_UP = {"cpu": (4, 16, 2), "cuda": (32, 300, 16)}

#: What is compared where ``--servers`` does not say.
DEFAULT_SERVERS = {"cpu": tuple(SERVERS), "cuda": ("ours", "2023")}


@dataclasses.dataclass
class Plan:
    """What is to be measured.

    Attributes:
        setup: model, settings and scratch folder of all servers.
        loads: in order.
        repeats: of each load; a new seed of prompts each.
        tokenizer: of the model, for the lengths of prompts.
    """

    setup: Setup
    loads: Sequence[Load]
    repeats: int
    tokenizer: Tokenizer


@dataclasses.dataclass
class Outcome:
    """What was measured of one server.

    Attributes:
        figures: of each repeat, by load.
        texts: the answers of each repeat, by load.
        others: most cores that other programs used during a run.
        note: why it was not measured, or not to the end.
    """

    figures: dict[str, list[Figures]] = dataclasses.field(default_factory=dict)
    texts: dict[str, list[list[str]]] = dataclasses.field(default_factory=dict)
    others: float = 0.0
    note: str = ""


def parse_arguments(words: Sequence[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serve", description=__doc__)
    parser.add_argument("--recipe", type=Path, default=Path("recipes/cpu.yaml"))
    parser.add_argument("--set", action="append", default=[], help="as for make, SET=")
    parser.add_argument("--device", choices=WARM_UP, default="cpu", help="default: %(default)s")
    parser.add_argument(
        "--model", type=Path, metavar="FOLDER", help="weights (default: the recipe's base model)"
    )
    parser.add_argument("--servers", help=f"default: {','.join(SERVERS)}; on a card ours,2023")
    parser.add_argument("--loads", help=f"default: {','.join(load.name for load in STANDARD)}")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--quick", action="store_true", help="short loads, for a tiny model")
    parser.add_argument("--busy", action="store_true", help="measure although others use the CPU")
    return parser.parse_args(words)


def chosen(asked: str | None, known: Sequence[str], option: str) -> list[str]:
    """The names of a comma-separated option.

    Raises:
        UserError: an unknown one.
    """
    names = asked.split(",") if asked else list(known)
    wrong = [name for name in names if name not in known]
    if wrong:
        raise UserError(
            f"{option}: no {name}{nearest(name, list(known))}; known: {', '.join(known)}"
            for name in wrong
        )
    return names


def make_plan(options: argparse.Namespace, scratch: Path) -> Plan:
    """What the options ask for; the model is made when it is not there yet."""
    from tools.base_model.folder import local_folder
    from tools.recipe.load import load as load_recipe

    everywhere = CARD if options.device == "cuda" else STANDARD
    loads = {load.name: load for load in (QUICK if options.quick else everywhere)}
    names = chosen(options.loads, list(loads), "--loads")
    recipe = load_recipe(options.recipe, options.set).recipe
    model = options.model or local_folder(recipe.model)
    if not (model / "tokenizer.json").is_file():
        raise UserError(f"--model: {model} holds no tokenizer.json; give a Hugging Face folder")
    plain = dataclasses.replace(recipe.serve, rules={}, adapters={})
    return Plan(
        Setup(model, plain, scratch, options.device),
        [loads[name] for name in names],
        options.repeats,
        Tokenizer.from_file(str(model / "tokenizer.json")),
    )


def questions(plan: Plan, server: Server, load: Load, repeat: int) -> list[Question]:
    """The questions of one run: the same for all servers, fewer for those that do not batch."""
    made = load.questions(Writer(plan.tokenizer, f"{load.name}-{repeat}"), load.requests)
    return made if server.batches else made[: load.few]


async def run_load(
    post: Post, server: Server, load: Load, asked: list[Question]
) -> tuple[Figures, list[str]]:
    """Figures and answers of one run of one load."""
    bodies = [server.body(question) for question in asked]
    loop = closed_loop(post, server.path, bodies, load.clients)
    probes: list[Sample] = []
    if load.tokenize:
        samples, probes = await beside(loop, post, "/tokenize", server.tokenize(PROBE_TEXT))
    else:
        samples = await loop
    new = [server.new_tokens(sample.answer) for sample in samples]
    found = figures(samples, new, [question.max_new_tokens for question in asked])
    texts = [server.text(sample.answer) for sample in samples]
    return found | (probe_figures(probes) if probes else {}), texts


async def measure(
    plan: Plan, server: Server, url: str, loads: Sequence[Load], outcome: Outcome
) -> None:
    """All repeats of some loads on a running server, after a few requests to warm it up."""
    async with connect(url) as session:
        post = poster(session)
        warm, (count, tokens, clients) = Writer(plan.tokenizer, "warm"), WARM_UP[plan.setup.device]
        bodies = [server.body(Question(warm.prose(tokens), 4)) for _ in range(count)]
        await closed_loop(post, server.path, bodies, clients)
        for repeat in range(plan.repeats):
            for load in loads:
                if any(run["seconds"] > LONG for run in outcome.figures.get(load.name, [])):
                    continue
                asked = questions(plan, server, load, repeat)
                with machine.Others() as others:
                    found, texts = await run_load(post, server, load, asked)
                outcome.figures.setdefault(load.name, []).append(found)
                outcome.texts.setdefault(load.name, []).append(texts)
                outcome.others = max(outcome.others, others.cores)
                _say_step(server, load, repeat, plan.repeats, found, others.cores)


def _say_step(
    server: Server, load: Load, repeat: int, repeats: int, found: Figures, others: float
) -> None:
    busy = f"; OTHERS USED {others:.2f} CORES" if others > machine.IDLE_CORES else ""
    say(
        f"bench: {server.name} {load.name} {repeat + 1}/{repeats}: {found['requests']:.0f} requests"
        f" in {found['seconds']:.1f} s, {found['req_s']:.2f}/s, {found['tok_s']:.1f} tokens/s,"
        f" p50 {found['p50']:.2f} s{busy}"
    )


def compare(plan: Plan, names: Sequence[str]) -> dict[str, Outcome]:
    """Measures one server after the other; one that fails leaves a note and the run goes on."""
    outcomes = {}
    for name in names:
        outcomes[name] = outcome = Outcome()
        say(f"bench: starting {name}")
        server = SERVERS[name]
        try:
            for words, loads in itertools.groupby(plan.loads, server.options):
                with running(server, plan.setup, words) as at:
                    asyncio.run(measure(plan, server, at.url, list(loads), outcome))
        except (Unavailable, StageError) as error:
            outcome.note = str(error)
        except Refused as error:
            outcome.note = f"it failed under load: {error}"
        if outcome.note:
            say(f"bench: {name}: {outcome.note}")
    return outcomes


def add_agreement(outcomes: dict[str, Outcome]) -> None:
    """Adds the figure ``same``: how many percent of the answers are those of the 2023 server.

    Where stop sequences are sent it is left out: that server does not know them.
    """
    if "2023" not in outcomes:
        return
    for outcome in outcomes.values():
        for load, repeats in outcome.figures.items():
            for found, texts, reference in zip(
                repeats, outcome.texts[load], outcomes["2023"].texts.get(load, []), strict=False
            ):
                pairs = list(zip(texts, reference, strict=False))
                found["same"] = 100 * sum(a == b for a, b in pairs) / len(pairs)


def caption(plan: Plan, outcomes: dict[str, Outcome], facts: dict[str, Any]) -> str:
    """What the table is about: machine, versions, conditions, what went wrong."""
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    setup, card = plan.setup, f"{facts['card']}; " if facts["card"] else ""
    where = "on the card" if card else f"{setup.threads} computing threads each"
    lines = [
        f"{setup.model.name}, {setup.dtype}, {where};"
        f" medians of {plan.repeats} runs, of one where it takes over {LONG:.0f} s. Output rules"
        " are off, so that all do the same work; 2023 and hf-cb know no stop sequences. 2023 is"
        " asked fewer requests, so only rates are compared."
        " llama.cpp has four slots in (a), else one for each client, whichever suits it.",
        f"{card}{facts['cpu']}, {facts['cores']} cores, {facts['memory_gib']} GiB; {versions};"
        f" load average before: {facts['load_average']}.",
    ]
    worst = max((outcome.others for outcome in outcomes.values()), default=0.0)
    if worst > machine.IDLE_CORES:
        lines.append(f"THE MACHINE WAS NOT IDLE: others used up to {worst:.2f} cores; run again.")
    lines += [f"{name}: {outcome.note}" for name, outcome in outcomes.items() if outcome.note]
    return "\n".join(lines)


def refuse_busy(busy: bool) -> None:
    """Figures of a machine that does something else are false.

    Raises:
        UserError: others use it, and the user did not say that this does not matter.
    """
    used = machine.cores_in_use()
    if used > machine.IDLE_CORES and not busy:
        raise UserError(
            f"others use {used:.2f} cores of this machine now, so the figures would be false; stop"
            " them, or measure all the same with --busy"
        )


def report(options: argparse.Namespace, scratch: Path) -> None:
    """Measures and prints."""
    default = ",".join(DEFAULT_SERVERS[options.device])
    names = chosen(options.servers or default, list(SERVERS), "--servers")
    plan = make_plan(options, scratch)
    refuse_busy(options.busy)
    facts = machine.facts(options.device)
    outcomes = compare(plan, names)
    add_agreement(outcomes)
    results = {name: outcome.figures for name, outcome in outcomes.items()}
    say("\n" + table(results, {load.name: load.title for load in plan.loads}) + "\n")
    say(caption(plan, outcomes, facts))
    if options.json:
        notes = {name: outcome.note for name, outcome in outcomes.items()}
        others = {name: outcome.others for name, outcome in outcomes.items()}
        content = {"machine": facts, "results": results, "goals": verdicts(results)}
        write_json(options.json, content | {"notes": notes, "others_cores": others})


def main() -> int:
    """Runs the benchmark; the exit code."""
    options = parse_arguments(sys.argv[1:])
    # A polite kill ends like Ctrl+C, so that no server outlives us.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
            report(options, Path(scratch))
    except UserError as error:
        for fault in error.faults:
            print(f"error: {fault}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
