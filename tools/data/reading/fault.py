"""What is wrong with a row or its file, before anybody knows the source's name."""


class Fault(Exception):
    """One fault of a row or a file.

    Args:
        said: what is wrong and the remedy, without the place.
        number: of the row in its file; None: of the row at hand, or of the whole file.
        whole: the file itself is at fault, not one row of it.
    """

    def __init__(self, said: str, number: int | None = None, whole: bool = False) -> None:
        self.said, self.number, self.whole = said, number, whole
        super().__init__(said)
