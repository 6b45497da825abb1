"""Where blanks stand in a text that is written in word pieces: one fixed rule.

A WordPiece vocabulary has words, ends of words (``##``) and single punctuation marks, and no entry
says whether a blank stands before it. The rule writes English as HELM's answers have it.
"""

#: Marks that no blank stands before, and that none stands behind.
_CLOSING, _OPENING = frozenset(".,:;!?)]}%'’”…/_^"), frozenset("([{$\\“‘/_^@")
#: What an apostrophe joins to the word before it: it's, don't, we'll.
_CONTRACTED = frozenset(("s", "t", "d", "m", "re", "ve", "ll"))
#: Marks inside a number, and how many digits must follow them: 3.14, 1,000, 12:30; 0: any.
_IN_NUMBERS = {".": 0, ",": 3, ":": 2}
#: From here on the scripts that write no blanks between words (CJK).
_UNSPACED = "\u2e80"


class Spacing:
    """The blanks of one text, piece by piece.

    Args:
        at_start: the first piece begins the text; else the text goes on behind a word.
    """

    def __init__(self, at_start: bool) -> None:
        self._last, self._earlier = "" if at_start else "a", ""  # pieces, their ends glued on
        self._quoted = False

    def before(self, piece: str, glued: bool) -> str:
        """What stands before the next piece: a blank or nothing.

        Args:
            piece: its characters, at least one.
            glued: it goes on with the word before it.
        """
        if glued:
            self._last += piece
            return ""
        joins = self._joins(piece)
        if piece == '"':
            self._quoted = not self._quoted
        self._last, self._earlier = piece, self._last
        return "" if joins else " "

    def _joins(self, piece: str) -> bool:
        last, earlier = self._last, self._earlier[-1:]
        if not last or piece[0] in _CLOSING or last[-1] in _OPENING:
            return True
        if piece == "{":
            return earlier == "\\"  # \boxed{
        if piece == '"' or last == '"':
            return self._quoted
        if last == "'":
            return piece in _CONTRACTED and earlier.isalpha()
        if last == "-":
            return piece == last or (piece.isdigit() and not earlier.isdigit())
        if last in _IN_NUMBERS and piece.isdigit():
            return earlier.isdigit() and _IN_NUMBERS[last] in (0, len(piece))
        if last == piece and not piece.isalnum():
            return True  # ### and ==
        return min(last[-1], piece[0]) >= _UNSPACED
