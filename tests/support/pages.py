"""The pages of the documentation: README.md and docs/, and the code that they show."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^ *```$", flags=re.S | re.M)
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


def pages() -> list[Path]:
    """README.md, and all Markdown of docs/."""
    return [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


def blocks(page: Path | str, language: str) -> list[str]:
    """The fenced blocks of a page (or of docs/<page>) in a language."""
    path = DOCS / page if isinstance(page, str) else page
    found = BLOCK.finditer(path.read_text(encoding="utf-8"))
    return [one[3] for one in found if one[2] == language]


@dataclass(frozen=True)
class Line:
    """A command of the pages: its words, and the page that has it first."""

    words: tuple[str, ...]
    page: str

    def __str__(self) -> str:
        """As it is written, without the quotes of a shell."""
        return " ".join(self.words)


def commands() -> list[Line]:
    """Every command of the pages' bash blocks, once."""
    found: dict[tuple[str, ...], Line] = {}
    for page in pages():
        for block in blocks(page, "bash"):
            for written in block.replace("\\\n", " ").splitlines():
                if words := tuple(shlex.split(written, comments=True)):
                    found.setdefault(words, Line(words, page.name))
    return list(found.values())


def inline(page: Path) -> list[str]:
    """What a page writes as code within its sentences."""
    return INLINE.findall(BLOCK.sub("", page.read_text(encoding="utf-8")))
