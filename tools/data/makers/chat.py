"""Short chats: somebody tells of things, perhaps takes one back, and asks for one later."""

import random
from dataclasses import dataclass

from tools.data.makers.base import COLOURS, NAMES, PLURALS, THINGS, Question


@dataclass(frozen=True)
class Topic:
    """Something a user may tell.

    Attributes:
        told: what the user says, with ``{}`` for what it is.
        taken_back: how the user mends it.
        heard: what the assistant answers to both.
        asked: what the user asks later.
        answer: what the assistant says then.
        values: what it may be.
    """

    told: str
    taken_back: str
    heard: str
    asked: str
    answer: str
    values: tuple[str, ...]


TOPICS = (
    Topic("My name is {}.", "Sorry, that was a joke. My name is {}.", "Nice to meet you, {}.",
          "What is my name?", "Your name is {}.", NAMES),
    Topic("My favourite colour is {}.", "No, my favourite colour is {} now.", "I like {}, too.",
          "Which colour do I like best?", "You like {} best.", COLOURS),
    Topic("I have lost my {}.", "I was wrong. It is my {} that I have lost.",
          "I hope you will find your {}.", "What have I lost?", "You have lost your {}.",
          tuple(f"{colour} {thing}" for colour in COLOURS for thing in THINGS)),
    Topic("Please remind me to buy {}.", "Not those after all. Please make it {}.",
          "I will remind you to buy {}.", "What did I want to buy?", "You wanted to buy {}.",
          tuple(f"{count} {things}" for count in range(2, 10) for things in PLURALS)),
    Topic("My train leaves at {}.", "It has changed: my train leaves at {}.", "Noted: {}.",
          "When does my train leave?", "Your train leaves at {}.",
          tuple(f"{hour}:{minute:02}" for hour in range(5, 24) for minute in range(0, 60, 5))),
    Topic("My dog is called {}.", "I mean, my dog is called {}.", "{} is a good name for a dog.",
          "What is my dog called?", "Your dog is called {}.",
          tuple("Rex Bello Fido Luna Max Nala Rocky Simba Snoopy Toto".split())),
    Topic("I live in {}.", "I have moved: I live in {}.", "I would like to see {}.",
          "Where do I live?", "You live in {}.",
          tuple("Rome Oslo Cairo Lima Delhi Kyoto Paris Quito Riga Tunis Vienna".split())),
    Topic("There are {} people in my family.", "With the baby there are {} people in my family.",
          "A family of {}, how nice.", "How many people are in my family?",
          "There are {} people in your family.", tuple(str(count) for count in range(3, 13))),
)  # fmt: skip


def make(rng: random.Random, level: int) -> Question:
    """``level`` + 1 exchanges, then the question; the last one may take back an earlier one."""
    told = [(topic, rng.choice(topic.values)) for topic in rng.sample(TOPICS, level + 1)]
    lines = [_exchange(topic.told, topic.heard, value) for topic, value in told]
    known = dict(told)
    if rng.random() < 0.5:
        topic, old = rng.choice(told[:-1])
        # In the place of the last exchange, so that chats of a level are of one length.
        del known[told[-1][0]]
        known[topic] = rng.choice([value for value in topic.values if value != old])
        lines[-1] = _exchange(topic.taken_back, topic.heard, known[topic])
    asked = rng.choice(list(known))
    text = f"{' '.join(lines)} User: {asked.asked} What does the assistant say?"
    return Question(text, asked.answer.format(known[asked]), "string")


def _exchange(told: str, heard: str, value: str) -> str:
    return f"User: {told.format(value)} Assistant: {heard.format(value)}"
