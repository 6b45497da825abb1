"""In which of some languages a text is written, by its commonest small words.

Enough to take the German rows out of English ones; two languages in a text, or names alone, are
not told. Letters of another script are a language that is none of these.
"""

import re

_SMALL = {
    "de": "der die das und ist nicht ein eine zu den mit von auf für "
    "im dem sich des wie was ich du sie es auch als wird einer kann",
    "en": "the of and to is in that it for was on are with as be this "
    "have from or by not you what which how at an his they will can i",
    "es": "el la de que y en los las un una es por con para "
    "no se del su al como más qué lo esta son pero cuál este",
    "fr": "le la les de des et est un une en que qui dans pour "
    "pas sur du au ne ce il elle avec par vous je sont quelle cette",
    "it": "il di che è e un una per non con del della sono "
    "in la le da si al come nel più gli ha questo quale",
    "nl": "de het een en van is dat niet op te zijn met "
    "voor die er aan ook als wat hoe wordt bij dit naar ik",
    "pl": "i w na z się nie do to jest że jak o po od za dla co który oraz są czy ma przez",
    "pt": "o a de que e do da em um uma para com não "
    "os as no na por mais é se como dos qual são foi",
    "sv": "och i att det som en på är av för med den "
    "till inte om ett de har var vad jag hur kan från",
}  # fmt: skip
_WORDS = {name: frozenset(text.split()) for name, text in _SMALL.items()}
LANGUAGES = tuple(_WORDS)
OTHER = "other"  # written in letters that none of them has

_TOKEN = re.compile(r"[^\W\d_]+")
_LATIN = re.compile(r"[A-Za-zÀ-ɏ]")
_FEW = 5  # words; of fewer nothing is told


def language(text: str) -> str:
    """The language of a text: one of ``LANGUAGES``, ``other``, or empty where it cannot be told.

    Args:
        text: its first 2,000 characters decide.
    """
    found = _TOKEN.findall(text[:2000].casefold())
    if len(found) < _FEW:
        letters = "".join(found)
        foreign = sum(not _LATIN.match(letter) for letter in letters)
        return OTHER if len(letters) >= _FEW and foreign > len(letters) / 2 else ""
    latin = [word for word in found if _LATIN.match(word)]
    if len(latin) < len(found) / 2:
        return OTHER
    counts = {name: sum(word in small for word in latin) for name, small in _WORDS.items()}
    best, second = sorted(counts, key=counts.__getitem__, reverse=True)[:2]
    # A tenth of a text are small words of its language; two languages as often are a guess.
    sure = counts[best] >= 2 and counts[best] * 10 >= len(latin) and counts[best] > counts[second]
    return best if sure else ""
