"""What is refused before a model sees it: a request may fail only itself, never a forward pass."""

from collections.abc import Collection

from serve.engine.base import EngineError, GenRequest, ModelInfo


def check_request(
    request: GenRequest, info: ModelInfo, vocabulary: int, adapters: Collection[str]
) -> None:
    """Refuses what the model would fail on; on a card that would be the end of the process.

    Args:
        request: what is asked.
        info: the model's.
        vocabulary: number of the model's token ids.
        adapters: names of those loaded.

    Raises:
        EngineError: says what is wrong.
    """
    if not request.prompt and request.max_new_tokens:
        raise EngineError("nothing to start from: the prompt has no token and the model no BOS")
    length = len(request.prompt) + request.max_new_tokens
    if length > info.context:
        raise EngineError(f"{length} tokens are more than the context of {info.context}")
    unknown = [token for token in request.prompt if not 0 <= token < vocabulary]
    if unknown:
        raise EngineError(f"token {unknown[0]} is not in the model's vocabulary of {vocabulary}")
    if request.adapter is not None and request.adapter not in adapters:
        raise EngineError(f"no adapter named {request.adapter!r} is loaded")
