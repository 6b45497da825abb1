"""Chat: what was said last of a thing is what the assistant knows."""

import random
import re

from tools.data.makers import chat

#: By what the user asks: where it was told, in all the words it may have been told in.
TOLD = {
    "What is my name?": (r"[Mm]y name is (\w+)\.", "Your name is {}."),
    "Which colour do I like best?": (r"favourite colour is (\w+)", "You like {} best."),
    "What have I lost?": (r"(?:lost my|It is my) (\w+ \w+)", "You have lost your {}."),
    "What did I want to buy?": (r"(?:User: Please remind me to buy|Please make it) (\d \w+)\.",
                                "You wanted to buy {}."),
    "When does my train leave?": (r"train leaves at (\d+:\d+)", "Your train leaves at {}."),
    "What is my dog called?": (r"my dog is called (\w+)\.|My dog is called (\w+)\.",
                               "Your dog is called {}."),
    "Where do I live?": (r"I live in (\w+)\.", "You live in {}."),
    "How many people are in my family?": (r"are (\d+) people",
                                          "There are {} people in your family."),
}  # fmt: skip


def solve(text: str, _: tuple[str, ...] = ()) -> str:
    found = re.fullmatch(r"(.*) User: ([^:]+\?) What does the assistant say\?", text)
    assert found
    said = " ".join(f"User: {turn}" for turn in re.findall(r"User: (.*?) Assistant:", found[1]))
    pattern, answer = TOLD[found[2]]
    told = [next(filter(None, match.groups())) for match in re.finditer(pattern, said)]
    return answer.format(told[-1])


def test_what_was_taken_back_is_asked_for_and_the_old_answer_is_wrong() -> None:
    mended = 0
    for seed in range(500):
        question = chat.make(random.Random(seed), 1 + seed % 4)
        pattern, answer = TOLD[re.findall(r"User: ([^:]+\?) What does", question.input)[0]]
        told = [
            m[0] or m[-1] for m in map(lambda m: m.groups(), re.finditer(pattern, question.input))
        ]
        values = set(told)
        if len(values) > 1:
            mended += 1
            assert question.output == answer.format(told[-1]) != answer.format(told[0])
    assert mended > 50


def test_a_level_is_the_number_of_exchanges() -> None:
    for level in range(1, 5):
        made = chat.make(random.Random(level), level)
        assert made.input.count("Assistant:") == level + 1
