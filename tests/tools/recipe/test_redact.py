"""Secrets are known by their shape or their key, and never shown."""

import pytest

from tools.recipe.redact import redact, secret

# Put together here, so that no scanner takes this file for a leak.
SECRETS = {
    "Hugging Face token": "hf" + "_" + "aB3" * 11,
    "OpenAI or Anthropic key": "sk" + "-ant-" + "a1B2" * 8,
    "W&B key": "WANDB_API_KEY=" + "0a" * 20,
    "AWS key": "AKI" + "A" + "Q7" * 8,
    "GitHub token": "gh" + "p_" + "x9" * 18,
    "Google key": "AI" + "za" + "y" * 35,
    "Slack token": "xo" + "xb-" + "1234567890-abc",
    "private key": "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIE",
    "password in an address": "https://anna" + ":geheim@example.org/data",
}


@pytest.mark.parametrize("kind", SECRETS)
def test_shapes(kind: str) -> None:
    value = SECRETS[kind]
    assert secret("train.wandb_name", f"see {value}") == kind
    shown = redact(f"train.x: must be a number, not {value}!")
    assert f"<{kind}>" in shown and value not in shown and "geheim" not in shown


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        ("train.comet_api_key", "short", True),
        ("train.comet_api_key", "", False),
        ("train.password", "geheim", True),
        ("model.eos_token", "</s>", False),
        ("train.wandb_run_id", "0a" * 20, True),
        ("model.revision", "0a" * 20, False),
        ("model.package.sha256", "0a" * 32, False),
        ("data.sources.x.prompt", "a task-oriented-question-that-is-long 123", False),
        ("data.sources.x.path", "hf_data/rows.jsonl", False),
        ("model.id", "sk-learn-org/a-model-of-words-only", False),
    ],
)
def test_keys_and_what_only_looks_alike(key: str, value: str, found: bool) -> None:
    assert bool(secret(key, value)) == found
