"""What to tell a client whose address, method or header is slightly wrong."""

import re
from typing import Any

#: Our routes and their methods; those of /v1 are asked for without it by a wrong ``base_url``.
ROUTES = {
    "/process": "POST",
    "/tokenize": "POST",
    "/decode": "POST",
    "/detokenize": "POST",
    "/tokenizer_info": "GET",
    "/health": "GET",
    "/metrics": "GET",
    "/openapi.json": "GET",
    "/v1/completions": "POST",
    "/v1/chat/completions": "POST",
    "/v1/models": "GET",
}


def for_address(path: str) -> str:
    """The detail of a 404."""
    tidy = re.sub(r"/+", "/", path).rstrip("/").lower()
    tail = re.sub(r"^(/(api|v\d+))*", "", tidy)
    for near in (tidy, f"/v1{tail}", tail):
        if near in ROUTES:
            base = "; the client's base_url ends in /v1" if near.startswith("/v1/") else ""
            return f"there is no {path} here, but {ROUTES[near]} {near}{base}"
    return f"there is no {path} here; there are {', '.join(ROUTES)}"


def for_method(method: str, path: str) -> str:
    """The detail of a 405."""
    right = ROUTES.get(path.rstrip("/"))
    return f"{path} takes {right}, not {method}" if right else f"{path} takes no {method}"


def for_body(content_type: str, faults: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The faults of a body; one that was not read as JSON at all says which header is wrong."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/json" or kind.endswith("+json"):
        return faults
    sent = f"it is {kind}" if kind else "there is none"
    hint = f"; send Content-Type: application/json ({sent})"
    return [
        fault | {"msg": fault["msg"] + hint} if list(fault["loc"]) == ["body"] else fault
        for fault in faults
    ]
