"""A job of the worker in the engine's terms: its prompt as ids that fit, and its requests."""

from functools import partial
from typing import TYPE_CHECKING

from serve.config import ServeConfig
from serve.engine.base import Engine, GenRequest
from serve.overflow import Fitted, fit, fit_examples
from serve.rules import Plan
from serve.text import PromptTokens

if TYPE_CHECKING:  # the worker imports this module
    from serve.engine.grammar import Grammar
    from serve.worker import Job


def fit_job(
    job: "Job", engine: Engine, plan: Plan | None, config: ServeConfig, reads_whole: bool
) -> Fitted:
    """The ids of a job's prompt, and the room that its answer has.

    Args:
        job: what is asked.
        engine: who answers.
        plan: what an output rule does to the prompt.
        config: ``overflow`` and ``parse_special``.
        reads_whole: the model reads a prompt as a whole, see :func:`serve.windows.reads_whole`:
            one that is too long loses whole examples first.

    Raises:
        ContextOverflow: it does not fit and nothing may be cut.
    """
    context, new = engine.info.context, job.body.max_new_tokens
    special = config.parse_special if job.parse_special is None else job.parse_special
    encode = partial(engine.text.encode_prompt, parse_special=special)
    text = plan.prompt if plan else job.body.prompt
    if reads_whole and not job.fields:
        return fit_examples(text, encode, new, context, config.overflow)
    prompt = encode(text) if job.ids is None else PromptTokens(job.ids, 0)
    room = max(1, context - len(prompt.ids))  # at least 1, so that fit() sees a full context
    new = room if job.fills else new
    new = min(new, room) if job.shortens else new
    return fit(prompt, new, context, "error" if job.fields else config.overflow)


def engine_request(
    job: "Job",
    fitted: Fitted,
    index: int,
    deadline: float,
    plan: Plan | None,
    grammar: "Grammar | None" = None,
) -> GenRequest:
    """Completion ``index`` of a job in the engine's terms; its seed is the job's plus ``index``."""
    body = job.body
    return GenRequest(
        id=f"{job.id}-{index}",
        prompt=fitted.prompt.ids,
        lead=fitted.prompt.lead,
        max_new_tokens=fitted.max_new_tokens,
        temperature=body.temperature,
        top_k=body.top_k,
        top_p=body.top_p,
        seed=None if body.seed is None else (body.seed + index) % 2**64,  # torch takes 64 bits
        candidates=body.top_k_per_token,
        echo=body.echo_prompt,
        stops=(*body.stop_sequences, *(plan.stops if plan else ())),
        ends=job.ends,
        ignore_eos=job.ignore_eos,
        min_tokens=min(job.min_tokens, fitted.max_new_tokens),
        deadline=deadline,
        adapter=plan.adapter if plan else None,
        grammar=grammar,
        enough=plan.enough if plan else None,
    )
