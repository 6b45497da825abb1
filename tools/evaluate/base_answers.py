"""What the base model answers to training prompts, with the day's clock running.

By the worker's own engine, in this process: prompts are read as the worker reads them.
"""

from collections.abc import Iterator, Sequence
from itertools import batched

from serve.contract import GREEDY_TEMPERATURE
from serve.engine.base import Engine, GenRequest
from serve.overflow import fit, fit_examples
from serve.windows import reads_whole
from tools.base_model import folder
from tools.console import duration, each, say
from tools.day import budget
from tools.errors import UserError
from tools.run.folder import Run

TOGETHER = 256  # prompts in flight: more than any engine's batch
MORE = 8  # tokens beyond the completion's own: room to be wrong in
MOST = 256  # tokens of an answer


class BaseAnswers:
    """A recipe's base model, loaded when it is first asked and let go after each call.

    Args:
        run: whose base answers, and whose ledger its time goes to.
    """

    def __init__(self, run: Run) -> None:
        self._run = run

    def __call__(self, prompts: Sequence[str], completions: Sequence[str]) -> list[str]:
        """The greedy answers, each a little longer than its completion at most.

        Args:
            prompts: as they are trained.
            completions: what was wanted; of one line where these are.

        Raises:
            UserError: the day is over.
        """
        if not prompts:
            return []
        from serve.engine import build_engine

        run, base = self._run, folder.local_folder(self._run.recipe.model)
        limit = budget.day(run).limit("data")
        with budget.clock(run).spend("data", run.fingerprint("data"), limit) as allowance:
            engine = build_engine(base, run.recipe.serve, run.recipe.hardware.device)
            whole = reads_whole(base)
            try:
                found: list[str] = []
                parts = list(batched(zip(prompts, completions, strict=True), TOGETHER))
                for part in each(parts, len(parts), "base model's answers", "batch"):
                    if allowance.elapsed() > limit:
                        raise UserError(
                            f"score.by: base: the day's {duration(limit)} for it are over after "
                            f"{len(found):,} of {len(prompts):,} rows; score fewer: sample before"
                        )
                    found += _answered(engine, part, whole)
            finally:
                engine.close()
            say(f"data: the base answered {len(found):,} prompts in {allowance.elapsed():.0f} s")
        return found


def _answered(engine: Engine, part: Sequence[tuple[str, str]], whole: bool) -> Iterator[str]:
    futures = [engine.submit(request(engine, at, *pair, whole)) for at, pair in enumerate(part)]
    for future in futures:
        yield "".join(token.text for token in future.result().tokens)


def request(engine: Engine, at: int, prompt: str, completion: str, whole: bool) -> GenRequest:
    """What an engine is asked, its prompt read as the worker reads it.

    Args:
        engine: with the model's tokenizer.
        at: the prompt's number.
        prompt: as it is trained.
        completion: what was wanted.
        whole: the model reads a prompt as a whole: no half example is left of one that is too long.
    """
    encode, context = engine.text.encode_prompt, engine.info.context
    wanted = min(len(engine.text.encode(completion)) + MORE, MOST)
    if whole:
        fitted = fit_examples(prompt, encode, wanted, context, "truncate_left")
    else:
        fitted = fit(encode(prompt), wanted, context, "truncate_left")
    return GenRequest(
        id=f"base-{at}",
        prompt=fitted.prompt.ids,
        lead=fitted.prompt.lead,
        max_new_tokens=fitted.max_new_tokens,
        temperature=GREEDY_TEMPERATURE,
        stops=() if "\n" in completion.strip() else ("\n",),
    )
