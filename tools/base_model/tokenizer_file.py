"""A base whose tokenizer is a slow one's files (spiece.model): a copy with a tokenizer.json."""

from pathlib import Path

from tools.console import say
from tools.errors import UserError
from tools.files import digest, read_json, whole_folder, write_json


def with_tokenizer(folder: Path, cache: Path) -> Path:
    """The folder itself, or one of links to its files and a ``tokenizer.json``, made on first use.

    Rows are made by that file alone, and the worker reads it without transformers.

    Args:
        folder: a model's.
        cache: where such folders are kept.

    Raises:
        UserError: transformers cannot convert what is there.
    """
    slow = sorted(folder.glob("*.model"))
    if (folder / "tokenizer.json").is_file() or not slow:
        return folder
    state = [(path.name, path.stat().st_size) for path in slow]
    made = cache / f"{folder.name}-tokenizer-{digest([str(folder.absolute()), state])[:12]}"
    if not (made / "tokenizer.json").is_file():
        say(f"model: writing the tokenizer of {folder} as tokenizer.json (once)")
        with whole_folder(made) as copy:
            copy.mkdir()
            _convert(folder, copy)
    return made


def _convert(folder: Path, copy: Path) -> None:
    from google.protobuf.message import DecodeError

    from serve.conversion import convert

    try:
        made = convert(folder)
    except (OSError, ValueError, DecodeError) as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"model: {folder}: its tokenizer cannot be converted: {why}") from None
    for path in folder.iterdir():
        if path.is_file():
            (copy / path.name).symlink_to(path.resolve())
    made.tokenizer.save(str(copy / "tokenizer.json"))
    config = copy / "tokenizer_config.json"
    if not isinstance(told := read_json(config), dict):
        told = {}
    config.unlink(missing_ok=True)  # a link into the original
    write_json(config, {"bos_token": made.bos, "eos_token": made.eos, **told})
