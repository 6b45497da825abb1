"""langchain-openai, as it comes: both classes, streams, scores, JSON, and the overflow it knows."""

from typing import Any

from langchain_openai import ChatOpenAI, OpenAI
from said import CHAT, LONG, PROMPT, SCHEMA, raised, tell, url

HERE: dict[str, Any] = {
    "base_url": url(), "api_key": "none", "model": "tiny", "temperature": 0, "max_retries": 0,
    "timeout": 300,
}  # fmt: skip


def main() -> None:
    text = OpenAI(**HERE, max_tokens=8)
    scored = OpenAI(**HERE, max_tokens=8, logprobs=2).generate([PROMPT]).generations[0][0]
    chat = ChatOpenAI(**HERE, max_tokens=8)
    answer = chat.bind(logprobs=True, top_logprobs=2).invoke(CHAT)
    schema = {"title": "a", **SCHEMA}
    formed = ChatOpenAI(**HERE, max_tokens=60).with_structured_output(schema, method="json_schema")
    elsewhere = ChatOpenAI(**{**HERE, "base_url": url() + "/nowhere"})
    tell({
        "text": text.invoke(PROMPT),
        "logprobs": (scored.generation_info or {})["logprobs"]["token_logprobs"],
        "streamed": "".join(text.stream(PROMPT)),
        "chat": answer.content,
        "chat_tokens": [one["bytes"] for one in answer.response_metadata["logprobs"]["content"]],
        "chat_streamed": "".join(part.text for part in chat.stream(CHAT)),
        "json": formed.invoke(CHAT),
        "usage": answer.usage_metadata["output_tokens"],
        "overflow": raised(lambda: chat.invoke(LONG)),
        "text_overflow": raised(lambda: text.invoke(LONG)),
        "wrong": raised(lambda: ChatOpenAI(**HERE, max_tokens=-1).invoke(CHAT)),
        "missing": raised(lambda: elsewhere.invoke(CHAT)),
    })  # fmt: skip


main()
