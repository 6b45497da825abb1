"""How large the KV cache may be."""

import logging
from pathlib import Path

from serve.config import ServeConfig
from serve.engine.keeping import Bounds
from serve.engine.loading import LoadedModel

log = logging.getLogger(__name__)

#: Share of the free memory that the cache may take by itself. A GPU has nothing else to do.
SHARE = {"cpu": 0.25, "cuda": 0.75}

#: On a card, how much of that is for requests that run where it is not enough for all that may.
RUNNING = 0.8

#: On a CPU, how much of the slots' size running requests and what is kept may hold together before
#: what is kept gives way, unless the size was asked for: slots are hardly ever full.
TOGETHER = 1 / 5


def slots(loaded: LoadedModel, token_bytes: int, config: ServeConfig) -> tuple[int, int]:
    """Slots of the cache, and tokens in each.

    Args:
        loaded: the model, in memory.
        token_bytes: memory of one token's keys and values.
        config: ``max_batch`` and ``cache_tokens``.

    Returns:
        (slots, context); their product is at most the budget, with at least one slot.
    """
    context = loaded.info.context
    device = loaded.info.device
    budget = config.cache_tokens
    if not budget:
        free = _share(device) * (RUNNING if device.startswith("cuda") else 1)
        budget = min(config.max_batch * context, int(free / token_bytes))
    context = min(context, budget)  # rather one short slot than none
    count = max(1, min(config.max_batch, budget // context))
    size = count * context * token_bytes / 2**20
    log.info("KV cache: %d slots of %d tokens, %.0f MiB if all are full", count, context, size)
    if count < config.max_batch:
        log.warning(
            "%d requests at a time instead of serve.max_batch=%d: %s",
            count,
            config.max_batch,
            "serve.cache_tokens allows no more" if config.cache_tokens else "memory is short",
        )
    return count, context


def bounds(loaded: LoadedModel, token_bytes: int, tokens: int, config: ServeConfig) -> Bounds:
    """What may be kept of requests that are over; asked before the slots are made.

    Args:
        loaded: the model, in memory.
        token_bytes: memory of one token's keys and values.
        tokens: of all slots.
        config: ``cache_tokens``.
    """
    if not loaded.info.device.startswith("cuda"):
        kept = tokens if config.cache_tokens else int(tokens * TOGETHER)
        return Bounds(tokens, kept, by_need=True)
    left = int(_share(loaded.info.device) / token_bytes) - tokens
    kept = max(0, min(tokens, left))
    log.info("of prompts that are over %d tokens are kept", kept)
    return Bounds(tokens, kept, by_need=False)


def _share(device: str) -> float:
    """Bytes that the whole cache may take."""
    return free_bytes(device) * SHARE[device.split(":")[0]]


def free_bytes(device: str) -> int:
    """Memory that can still be taken on the device, bytes."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.empty_cache()  # what loading has left to torch's allocator is free as well
        return int(torch.cuda.mem_get_info(device)[0])
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    raise RuntimeError("/proc/meminfo has no MemAvailable")
