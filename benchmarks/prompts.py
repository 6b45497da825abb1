"""Prompts as HELM writes them, of wanted lengths, from a small vocabulary and a seed.

The same seed gives the same prompts; another seed gives other examples, so that no server finds a
new repeat's prefix in its cache. Lengths count tokens of the model that is served.
"""

from random import Random

from tokenizers import Tokenizer

NAMES = "Anna Ben Clara David Emma Frank Grace Henry Irene Jack Laura Martin Nina Oscar".split()
THINGS = "apples books coins cards stamps pencils marbles tickets shells stickers".split()
PARTS = (
    "nerve artery membrane valve gland muscle tissue statute contract treaty current planet mineral"
    " enzyme polymer market index lens circuit orbit theorem vector dialect dynasty harbour"
).split()
KINDS = (
    "anterior common primary dense federal ancient northern thermal elastic minor major inner outer"
    " stable rapid gradual narrow hidden formal"
).split()
ACTS = (
    "supplies surrounds limits replaces precedes supports divides governs stabilises transports"
    " reflects describes absorbs regulates"
).split()
SUBJECTS = "anatomy law physics history economics chemistry astronomy".split()
LETTERS = "ABCD"


class Writer:
    """Writes prompts.

    Args:
        tokenizer: of the served model; lengths are counted with it.
        seed: of everything written.
    """

    def __init__(self, tokenizer: Tokenizer, seed: str) -> None:
        self._tokenizer, self._random = tokenizer, Random(seed)

    def length(self, text: str) -> int:
        """Tokens of a text, without special ones."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def prose(self, tokens: int) -> str:
        """The beginning of a story, cut after exactly so many tokens."""
        name, other = self._random.sample(NAMES, 2)
        text = f"This is the long story of {name} and {other}, who lived near the old harbour."
        while self.length(text) <= tokens:
            text += " " + self._sentence()
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        return str(self._tokenizer.decode(ids[:tokens], skip_special_tokens=False))

    def multiple_choice(self, count: int, prefix: int, question: tuple[int, int]) -> list[str]:
        """MMLU-like: five answered questions that all prompts share, then one that is open.

        Args:
            count: number of prompts.
            prefix: tokens of the shared part, nearly.
            question: fewest and most tokens of the open one, nearly.
        """
        subject = self._random.choice(SUBJECTS)
        head = f"The following are multiple choice questions (with answers) about {subject}.\n\n"
        room = (prefix - self.length(head)) // 5
        shots = "".join(
            f"{self._question(room - 2)} {self._random.choice(LETTERS)}\n\n" for _ in range(5)
        )
        lengths = [self._random.randint(*question) for _ in range(count)]
        return [head + shots + self._question(length) for length in lengths]

    def sums(self, count: int, shots: int) -> list[str]:
        """GSM8K-like: worked problems (of some 140 tokens) that all share, then an open one."""
        worked = (self._problem() for _ in range(shots))
        head = "".join(f"Question: {problem}\nAnswer: {done}\n\n" for problem, done in worked)
        return [f"{head}Question: {self._problem()[0]}\nAnswer:" for _ in range(count)]

    def _phrase(self) -> str:
        return f"{self._random.choice(KINDS)} {self._random.choice(PARTS)}"

    def _sentence(self) -> str:
        return f"The {self._phrase()} {self._random.choice(ACTS)} the {self._phrase()}."

    def _question(self, tokens: int) -> str:
        """A question with four options, of about so many tokens, up to ``Answer:``."""
        options = "".join(f"\n{letter}. the {self._phrase()}" for letter in LETTERS)
        ending = f" Which of these {self._random.choice(ACTS)} it?{options}\nAnswer:"
        stem = f"Question: {self._sentence()}"
        while self.length(longer := f"{stem} {self._sentence()}") + self.length(ending) <= tokens:
            stem = longer
        return stem + ending

    def _problem(self) -> tuple[str, str]:
        """A small sum in words, and its working."""
        name, other = self._random.sample(NAMES, 2)
        thing = self._random.choice(THINGS)
        first, bought, each, price = (
            self._random.randint(*span) for span in ((12, 60), (3, 30), (2, 4), (2, 9))
        )
        times = self._random.randint(2, 3)
        total, given = first + bought, each * times
        left = total - given
        problem = (
            f"{name} has {first} {thing} and buys {bought} more. Then {name} meets {other} {times}"
            f" times and gives away {each} {thing} each time. {name} sells the rest for {price}"
            " dollars each. How many dollars does that bring?"
        )
        working = (
            f"{name} has {first} + {bought} = {total} {thing} after buying. {name} gives away"
            f" {times} * {each} = {given} {thing}. That leaves {total} - {given} = {left} {thing}."
            f" At {price} dollars each they bring {left} * {price} = {left * price} dollars."
            f" The answer is {left * price}."
        )
        return problem, working
