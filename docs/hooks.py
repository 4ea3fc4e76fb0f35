"""What mkdocs fills in as it builds the pages, so that they can't drift from the program: the words
of the report, from `circuitwatch.summary.report.terms`.

In a page `<!-- term: status -->` becomes the line that the report shows for that term, and
`<!-- other terms -->` those that the page has no such mark for, each under its anchor. The
notebook's page loses what nbconvert would fetch from another server.
"""

from __future__ import annotations

import re
from typing import Any

from mkdocs.exceptions import PluginError

from circuitwatch.summary.report.terms import TERMS

ONE = re.compile(r"<!-- term: ([\w-]+) -->")
OTHERS = "<!-- other terms -->"
FETCHING = re.compile(
    r"<script[^>]*>(?:(?!</script>).)*cdnjs\.cloudflare(?:(?!</script>).)*</script>", re.S
)


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The page's text with its marks filled in."""
    lines = {term.key: f"*{term.line[0].upper()}{term.line[1:]}.*" for term in TERMS}
    marked = ONE.findall(markdown)
    for key in marked:
        if key not in lines:
            raise PluginError(f"{page.file.src_path}: the report has no term {key!r}")
    others = "\n\n".join(
        f"#### {term.name[0].upper()}{term.name[1:]} {{ #term-{term.key} }}\n\n{lines[term.key]}"
        for term in TERMS
        if term.key not in marked
    )
    return ONE.sub(lambda found: lines[found[1]], markdown).replace(OTHERS, others)


def on_post_page(output: str, **_: Any) -> str:
    """The finished page, without scripts that come from another server (of diagrams)."""
    return FETCHING.sub("", output)
