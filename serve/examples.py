"""The examples before a question: what a few-shot prompt can best do without."""

import re
from collections import Counter
from dataclasses import dataclass

#: Where a block of a prompt ends: an empty line, or HELM's own line between worked sums.
_END = re.compile(r"\n(?:[ \t]*\n)+|^###\n", re.MULTILINE)
#: How a block begins that is an example or the question: "Question:", "Passage:", "Q:".
_LABEL = re.compile(r"[^\n:]{1,40}:")


@dataclass(frozen=True)
class Examples:
    """A prompt in parts.

    Attributes:
        instruction: what stands before the first example and belongs to all.
        starts: places where the examples begin, the question's last.
        labelled: they are told by what they begin with; else each block counts as one.
    """

    prompt: str
    instruction: str
    starts: tuple[int, ...]
    labelled: bool

    def without(self, count: int) -> str:
        """The prompt without its first ``count`` examples; the question always stays."""
        return self.instruction + self.prompt[self.starts[count] :]


def examples(prompt: str) -> Examples:
    """Parts a prompt.

    Examples begin alike, with the label that most blocks begin with; so a blank line within one
    does not part it, and what stands before the first one is an instruction. Where no two blocks
    have a label in common, every block is an example and none an instruction.
    """
    starts = [0, *(match.end() for match in _END.finditer(prompt) if match.end() < len(prompt))]
    labels = [match[0] if (match := _LABEL.match(prompt, at)) else "" for at in starts]
    counted = Counter(filter(None, labels)).most_common(1)
    if not counted or counted[0][1] < 2:
        return Examples(prompt, "", tuple(starts), False)
    alike = [at for at, label in zip(starts, labels, strict=True) if label == counted[0][0]]
    return Examples(prompt, prompt[: alike[0]], tuple(alike), True)
