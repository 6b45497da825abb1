"""Which numbers of :class:`serve.config.ServeConfig` make sense, beyond their types."""

from serve.config import ServeConfig

#: The ports that LitServe opens.
PORTS = (1024, 65535)


def faults(config: ServeConfig) -> list[tuple[str, str]]:
    """What is out of range.

    Returns:
        (key relative to ``serve``, what is wrong), in the order of the fields.
    """
    low, high = PORTS
    rules = [
        ("port", low <= config.port <= high, f"{low} to {high}"),
        ("context", config.context >= 2, "at least 2 tokens"),  # one to feed, one to make
        ("max_batch", config.max_batch >= 1, "at least 1 request"),
        ("cache_tokens", config.cache_tokens >= 0, "0 (automatic) or more tokens"),
        ("prefill_tokens", config.prefill_tokens >= 16, "at least 16 tokens"),
        ("max_queue", config.max_queue >= 1, "at least 1 request"),
        ("max_body", config.max_body >= 1000, "at least 1000 bytes"),
        ("body_s", config.body_s > 0, "more than 0 seconds"),
        ("deadline_s", config.deadline_s > 0, "more than 0 seconds"),
        ("drain_s", config.drain_s >= 0, "0 seconds or more"),
        ("threads", config.threads >= 0, "0 (automatic) or more"),
    ]
    return [
        (key, f"must be {wanted}, not {getattr(config, key)}")
        for key, holds, wanted in rules
        if not holds
    ]


def of_device(config: ServeConfig, device: str) -> list[tuple[str, str]]:
    """What a device does not compute.

    Args:
        config: the recipe's ``serve`` section.
        device: ``cpu`` or ``cuda``.

    Returns:
        (key relative to ``serve``, what is wrong and the remedy).
    """
    if config.dtype != "int8":
        return []
    faults = []
    if device != "cpu":
        remedy = "set it to auto, and serve a folder that is quantized (quantize.format=int8)"
        faults.append(("dtype", f"int8 is what a CPU computes in, not a card; {remedy}"))
    if config.engine != "transformers":
        remedy = "set engine to transformers, or dtype to float32"
        faults.append(("dtype", f"the engine {config.engine} does not compute in int8; {remedy}"))
    return faults
