"""Refusals and failures on /v1 in the shape that OpenAI's clients read."""

from typing import Any

#: Where OpenAI's endpoints are; answers elsewhere follow ``serve.contract``.
PREFIX = "/v1/"

#: OpenAI's own code for a prompt that does not fit; clients shorten it by that word.
_CODES = {"context_overflow": "context_length_exceeded"}


def as_openai(status: int, detail: Any) -> tuple[int, dict[str, Any]]:
    """A failure's status and body, https://platform.openai.com/docs/guides/error-codes.

    Args:
        status: as elsewhere; what is a 422 there is a 400 here.
        detail: a text, or the faults of a 422: ``{"loc", "msg", "type"}`` each.
    """
    faults = detail if isinstance(detail, list) else []
    lines = [_line(fault) for fault in faults]
    code = faults[0]["type"] if faults else None
    error = {
        "message": "; ".join(lines) if faults else str(detail),
        "type": "server_error" if status >= 500 else "invalid_request_error",
        "param": (_place(faults[0]) or None) if faults else None,
        "code": _CODES.get(code, code) if code else None,
    }
    return (400 if status == 422 else status), {"error": error}


def _line(fault: dict[str, Any]) -> str:
    # OpenAI's sentence stands first: there are clients that look how a message begins. The code
    # behind it is for those that look for it in the text of openai's error, where openai 3.57 puts
    # the message alone (LangChain).
    if code := _CODES.get(fault["type"]):
        return f"{fault['msg']} ({code})"
    return f"{_place(fault)}: {fault['msg']}".removeprefix(": ")


def _place(fault: dict[str, Any]) -> str:
    """Where in the body a fault is, such as ``stop.1``; nothing for the body itself."""
    return ".".join(map(str, fault["loc"][1:]))
