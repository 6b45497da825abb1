"""Base images that start a server of their own: what a CMD on them becomes.

Docker gives CMD to the ENTRYPOINT of the base image as its arguments. Sources: the images'
Dockerfiles (vllm-project/vllm, huggingface/text-generation-inference, ggml-org/llama.cpp,
ollama/ollama).
"""

import re
from dataclasses import dataclass, field

from tools.lint.reading.dockerfile import Instruction, Scope, Stage


@dataclass(frozen=True)
class Base:
    """A known image.

    Attributes:
        image: what its name begins with or holds.
        entrypoint: the program it starts and its first arguments.
        environment: variables that the image sets for it.
    """

    image: re.Pattern[str]
    entrypoint: tuple[str, ...]
    environment: Scope = field(default_factory=dict)


_BASES = (
    Base(re.compile(r"(?:^|/)vllm/vllm-openai\b"), ("vllm", "serve")),
    Base(
        re.compile(r"(?:^|/)huggingface/text-generation-inference\b"),
        ("text-generation-launcher",),
        {"PORT": "80"},
    ),
    Base(re.compile(r"/llama\.cpp:server\b"), ("llama-server",), {"LLAMA_ARG_HOST": "0.0.0.0"}),
    Base(re.compile(r"(?:^|/)ollama/ollama\b"), ("ollama",)),
)
_PROGRAM = re.compile(
    r"(?:.*/)?(?:python[\d.]*|bash|sh|env|exec|uvicorn|gunicorn|hypercorn|fastapi|flask|torchrun"
    r"|accelerate|litserve|tini|conda|uv|vllm|text-generation-launcher|llama-server|ollama"
    r"|\S+\.(?:sh|py))"
)


def known(stage: Stage) -> Base | None:
    """The known image that a stage goes back to."""
    return next((base for base in _BASES if base.image.search(stage.image)), None)


def inherited(stage: Stage) -> tuple[str, ...]:
    """The ENTRYPOINT of the base image, where it is known and no stage sets another."""
    own = any(one.name == "ENTRYPOINT" for level in stage.lineage() for one in level.instructions)
    base = known(stage)
    return base.entrypoint if base and not own else ()


def fits(entrypoint: tuple[str, ...], command: Instruction) -> bool:
    """Whether CMD holds arguments for an inherited ENTRYPOINT, not a command of its own."""
    if not command.json:  # then /bin/sh and -c are the arguments
        return False
    first = command.words[0].text if command.words else "-"
    return not _PROGRAM.fullmatch(first) and first != entrypoint[-1]
