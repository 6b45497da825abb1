"""litellm, as it comes: both endpoints, streams, scores, JSON, and its own classes of errors."""

from typing import Any

import litellm
from said import CHAT, LONG, PROMPT, SCHEMA, raised, tell, url

HERE: dict[str, Any] = {"api_base": url(), "api_key": "none", "num_retries": 0, "timeout": 300}
TEXT: dict[str, Any] = {**HERE, "model": "text-completion-openai/tiny", "temperature": 0}
TALK: dict[str, Any] = {**HERE, "model": "openai/tiny", "temperature": 0}


def main() -> None:
    litellm.suppress_debug_info = True
    plain = litellm.text_completion(prompt=PROMPT, max_tokens=8, logprobs=2, **TEXT)
    parts = litellm.text_completion(prompt=PROMPT, max_tokens=8, stream=True, **TEXT)
    chat = litellm.completion(messages=CHAT, max_tokens=8, logprobs=True, top_logprobs=2, **TALK)
    talked = litellm.completion(messages=CHAT, max_tokens=8, stream=True, **TALK)
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA, "strict": True}}
    formed = litellm.completion(messages=CHAT, max_tokens=60, response_format=form, **TALK)
    long = [{"role": "user", "content": LONG}]
    elsewhere = {**TALK, "api_base": url() + "/nowhere"}
    tell({
        "text": plain.choices[0].text,
        "logprobs": plain.choices[0].logprobs.token_logprobs,
        "streamed": "".join(part.choices[0].text or "" for part in parts),
        "chat": chat.choices[0].message.content,
        "chat_tokens": [one.bytes for one in chat.choices[0].logprobs.content],
        "chat_streamed": "".join(part.choices[0].delta.content or "" for part in talked),
        "json": formed.choices[0].message.content,
        "usage": chat.usage.completion_tokens,
        "overflow": raised(lambda: litellm.completion(messages=long, **TALK)),
        "text_overflow": raised(lambda: litellm.text_completion(prompt=LONG, max_tokens=8, **TEXT)),
        "wrong": raised(lambda: litellm.completion(messages=CHAT, max_tokens=-1, **TALK)),
        "missing": raised(lambda: litellm.completion(messages=CHAT, **elsewhere)),
    })  # fmt: skip


main()
