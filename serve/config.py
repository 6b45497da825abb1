"""The recipe's ``serve`` section: all that the worker needs to know besides the model folder."""

from dataclasses import dataclass
from typing import Literal


@dataclass
class ServeConfig:
    """How the worker answers.

    Attributes:
        engine: the implementation behind the engine interface (``serve.engine.base.Engine``).
        weights: which folder of the run is served.
        host: address to listen on; LitServe takes 127.0.0.1, 0.0.0.0 or ``::``.
        port: TCP port, 1024 to 65535 (LitServe refuses lower ones).
        context: most tokens of prompt and completion together (the challenge's limit is 2048).
        overflow: what a prompt that leaves no room meets: its head is cut, or a 422 with figures.
        deadline_s: seconds after which a request is answered with 504.
        threads: torch threads for generation on the CPU; 0 = all cores but one, at least one.
    """

    engine: Literal["transformers"] = "transformers"
    weights: Literal["quantized", "merged"] = "quantized"
    host: Literal["127.0.0.1", "0.0.0.0", "::"] = "127.0.0.1"
    port: int = 8080
    context: int = 2048
    overflow: Literal["truncate_left", "error"] = "truncate_left"
    deadline_s: float = 600.0
    threads: int = 0
