"""All that the rules look at, made once."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from tools.lint.reading import code
from tools.lint.reading.code import Module
from tools.lint.reading.dockerfile import Dockerfile
from tools.lint.reading.folder import Folder
from tools.lint.reading.image import Image, Step, build


@dataclass
class Submission:
    """A folder, its Dockerfile, and what a build and a start would do.

    Attributes:
        started: the Python that the container runs.
        built: the Python that RUN runs.
    """

    folder: Folder
    dockerfile: Dockerfile
    image: Image
    started: list[Module] = field(default_factory=list)
    built: list[Module] = field(default_factory=list)

    @classmethod
    def of(cls, folder: Folder, dockerfile: Dockerfile) -> "Submission":
        """Follow the build and the start."""
        image = build(folder, dockerfile)
        made = cls(folder, dockerfile, image)
        made.started = code.started(image, folder)
        made.built = code.built(image, folder)
        made.started += [one for step in image.start for one in code.inline(step)]
        made.built += [one for step in image.steps for one in code.inline(step)]
        return made

    def modules(self) -> Iterator[Module]:
        """The Python that runs, each file once."""
        seen: set[tuple[str, bool]] = set()
        for module in [*self.started, *self.built]:
            if (module.name, module.tree is None) not in seen or not module.place:
                seen.add((module.name, module.tree is None))
                yield module

    def steps(self) -> Iterator[Step]:
        """The shell commands of the build, then those of the start."""
        yield from self.image.steps
        yield from self.image.start
