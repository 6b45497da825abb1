"""Where the programs that fetch an address put it."""

import re
from dataclasses import replace

from tools.lint.reading.image import Step, word_after
from tools.lint.reading.shell import Word

PROGRAMS = {"wget", "curl", "aria2c", "axel"}
# The long option; the short one's letters, behind those that take no value (each one's manual).
_FILE = {
    "wget": ("--output-document", r"-[^-AaBDeiIloOPQRtTUwX]*O"),
    "curl": ("--output", r"-[^-AbcCdDeEFHKmoPQrtTuUwxXyYz]*o"),
    "aria2c": ("--out", "-o"),
    "axel": ("--output", "-o"),
}
_FOLDER = {
    "wget": ("--directory-prefix", r"-[^-AaBDeiIloOPQRtTUwX]*P"),
    "curl": ("--output-dir", ""),
    "aria2c": ("--dir", "-d"),
}


def output_file(step: Step) -> Word | None:
    """The file that it writes: ``-o x``, ``-fsSLo x``, ``-ox``, ``--output=x``; ``-`` is stdout."""
    return _value(step, *_FILE.get(step.command.name, ("", "")))


def output_folder(step: Step) -> Word | None:
    """The folder that it writes into: ``-P x``, ``-qP x``, ``--directory-prefix=x``."""
    return _value(step, *_FOLDER.get(step.command.name, ("", "")))


def _value(step: Step, long: str, short: str) -> Word | None:
    words = step.command.words
    for place, word in enumerate(words[1:], start=1) if short else ():
        if found := re.match(short, word.text):
            own = word.text[found.end() :]
            following = words[place + 1] if place + 1 < len(words) else None
            return replace(word, text=own) if own else following
    return word_after(step, long) if long else None
