"""METEOR by its own program, where that is installed: synonyms and paraphrases count as well."""

import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from vision_attn.language.ngrams import check

JAR = Path("meteor", "meteor-1.5.jar")
"""Where the package pycocoevalcap has the program."""


class Meteor:
    """METEOR 1.5 for English, kept running since it is slow to start. Denkowski, Lavie 2014."""

    def __init__(self, jar: Path, *options: str):
        self.command = ["java", "-Xmx2G", "-jar", str(jar)]
        self.command += ["-", "-", "-stdio", "-l", "en", *options]
        self.java = subprocess.Popen(
            self.command,
            cwd=jar.parent,  # the paraphrases lie beside it
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
        )

    def __call__(
        self, candidates: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]
    ) -> float:
        """Score one candidate an image against its references, all as one text, in [0, 1]."""
        return self.scores(candidates, references)[1]

    def scores(
        self, candidates: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]
    ) -> tuple[list[float], float]:
        """Give the score of each image, and that of all as one text."""
        check(candidates, references)
        counts = []
        for candidate, captions in zip(candidates, references, strict=True):
            self._tell("SCORE", *(" ".join(words) for words in (*captions, candidate)))
            counts.append(self._heard())
        self._tell("EVAL", *counts)
        each = [float(self._heard()) for _ in counts]
        return each, float(self._heard())

    def close(self) -> None:
        """End the program."""
        assert self.java.stdin is not None
        assert self.java.stdout is not None
        self.java.stdin.close()
        self.java.wait()
        self.java.stdout.close()

    def _tell(self, *parts: str) -> None:
        assert self.java.stdin is not None
        self.java.stdin.write(" ||| ".join(parts) + "\n")
        self.java.stdin.flush()

    def _heard(self) -> str:
        assert self.java.stdout is not None
        if line := self.java.stdout.readline().strip():
            return line
        raise ValueError(
            f"METEOR's program must answer, got nothing from {shlex.join(self.command)}; run it by "
            f"hand to see why"
        )


@contextmanager
def meteor_program(*options: str) -> Iterator[Meteor | None]:
    """Start the program as pycocoevalcap does; None where that or Java is not installed.

    Half a minute goes by while it reads its paraphrases.
    """
    package = find_spec("pycocoevalcap")
    folders = package.submodule_search_locations if package else None
    jar = Path(folders[0]) / JAR if folders else None
    if jar is None or not jar.exists() or shutil.which("java") is None:
        yield None
        return
    program = Meteor(jar, "-norm", *options)
    try:
        yield program
    finally:
        program.close()
