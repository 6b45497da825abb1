"""``python -m benchmarks.random_model FOLDER``: a model of a real one's shape, its weights random.

A card's speed and memory do not depend on what the weights are, and nothing has to be downloaded:
the weights are drawn on the device itself.
"""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

EOS, PAD = "<|im_end|>", "<|endoftext|>"  # of the tokenizer made here

#: Settings of transformers' configurations.
SHAPES: Mapping[str, dict[str, Any]] = {
    "mistral-7b": {  # mistralai/Mistral-7B-v0.1
        "model_type": "mistral",
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "sliding_window": 4096,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-5,
    },
    "llama-1b": {  # TinyLlama/TinyLlama-1.1B
        "model_type": "llama",
        "vocab_size": 32000,
        "hidden_size": 2048,
        "intermediate_size": 5632,
        "num_hidden_layers": 22,
        "num_attention_heads": 32,
        "num_key_value_heads": 4,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-5,
    },
    "llama-half": {  # 1.14 GB in bf16: half of llama-1b's layers
        "model_type": "llama",
        "vocab_size": 32000,
        "hidden_size": 2048,
        "intermediate_size": 5632,
        "num_hidden_layers": 10,
        "num_attention_heads": 32,
        "num_key_value_heads": 4,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-5,
    },
    "tiny": {
        "model_type": "llama",
        "vocab_size": 258,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "initializer_range": 0.3,  # uneven enough for greedy text to vary
    },
}


def parse_arguments(words: Sequence[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.random_model", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shape", choices=SHAPES, required=True)
    parser.add_argument("--device", default="cpu", help="where it is made (default: cpu)")
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16")
    parser.add_argument(
        "--tokenizer", type=Path, metavar="FOLDER", help="whose tokenizer (default: one of bytes)"
    )
    return parser.parse_args(words)


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """A token a byte, and two special ones."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=EOS, pad_token=PAD)


def make(
    folder: Path,
    shape: str,
    device: str = "cpu",
    dtype: str = "bfloat16",
    tokenizer_folder: Path | None = None,
) -> int:
    """Writes the model folder, the same every time on one kind of device.

    Args:
        folder: to be written.
        shape: one of ``SHAPES``; its vocabulary grows to the tokenizer's where that is larger.
        device: where the weights are drawn.
        dtype: of the weights.
        tokenizer_folder: whose tokenizer it gets; None: one of bytes.

    Returns:
        Number of weights.
    """
    source = tokenizer_folder
    tokenizer = AutoTokenizer.from_pretrained(source) if source else byte_tokenizer()
    settings = dict(SHAPES[shape])
    kind, vocabulary = settings.pop("model_type"), settings.pop("vocab_size")
    config = AutoConfig.for_model(
        kind,
        vocab_size=max(vocabulary, len(tokenizer)),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **settings,
    )
    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))
    _never_ends(model, tokenizer.eos_token_id)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return int(model.num_parameters())


@torch.no_grad()
def _never_ends(model: Any, eos: int | None) -> None:
    """Scores EOS with 0, far below the likeliest: no answer is shorter than it was asked to be."""
    if eos is not None:
        model.get_output_embeddings().weight[eos] = 0


def main(words: Sequence[str] | None = None) -> int:
    """Makes the folder and says what it is."""
    args = parse_arguments(sys.argv[1:] if words is None else words)
    begun = time.monotonic()
    count = make(args.folder, args.shape, args.device, args.dtype, args.tokenizer)
    seconds = time.monotonic() - begun
    print(f"{args.folder}: {args.shape}, {count / 1e9:.3g} G weights, {seconds:.1f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
