"""Base images that start a server of their own, and what a CMD on them becomes."""

from pathlib import Path

import pytest

from tests.tools.lint.test_false_errors import START, folder, said

__all__ = ["folder"]
DIGEST = "@sha256:" + "9f0e3c1a" * 8
VLLM = f"FROM vllm/vllm-openai:v0.4.2{DIGEST}"
TGI = f"FROM ghcr.io/huggingface/text-generation-inference:1.1.0{DIGEST}"
LLAMA = f"FROM ghcr.io/ggml-org/llama.cpp:server-b6000{DIGEST}"
OLLAMA = f"FROM ollama/ollama:0.3.0{DIGEST}"
NO_PROCESS = [("no-process-route", "error")]


@pytest.mark.parametrize("base", [VLLM, TGI, LLAMA, OLLAMA])
@pytest.mark.parametrize("start", [START, "CMD uvicorn main:app --host 0.0.0.0 --port 80"])
def test_a_command_is_no_argument(folder: Path, base: str, start: str) -> None:
    copied = [base, "WORKDIR /app", "COPY . ."]
    assert said(folder, *copied, start) == [("inherited-entrypoint", "error")]
    assert said(folder, *copied, "ENTRYPOINT []", start) == []
    assert said(folder, base + " AS first", "ENTRYPOINT []", "FROM first", *copied[1:], start) == []


@pytest.mark.parametrize(
    "lines",
    [
        [VLLM, 'CMD ["--model", "/m", "--port", "80"]'],
        [VLLM, 'CMD ["/m", "--port", "80"]'],
        [VLLM, 'ENTRYPOINT ["python3", "-m", "vllm.entrypoints.openai.api_server", "--port=80"]'],
        [TGI],  # the image sets PORT=80
        [TGI, 'CMD ["--model-id", "/m"]'],
        [TGI, 'ENTRYPOINT ["text-generation-launcher", "--model-id", "/m"]'],
        [LLAMA, "ENV LLAMA_ARG_PORT=80"],  # the image sets LLAMA_ARG_HOST
    ],
)
def test_the_server_of_the_base_has_no_process(folder: Path, lines: list[str]) -> None:
    assert said(folder, *lines) == NO_PROCESS


def test_the_port_of_the_base_holds(folder: Path) -> None:
    assert said(folder, VLLM) == [*NO_PROCESS, ("wrong-port", "error")]
    assert said(folder, TGI, "ENV PORT=3000") == [*NO_PROCESS, ("wrong-port", "error")]


@pytest.mark.parametrize("start", ['CMD ["serve"]', 'CMD ["run", "llama3"]'])
def test_a_word_of_the_base_s_program(folder: Path, start: str) -> None:
    assert said(folder, OLLAMA, start) == []
