"""Every term has one plain line, and every role of ours and share of the algorithm a term."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError

import pytest
from markupsafe import escape

from circuitwatch import catalogue
from circuitwatch.summary.report import terms
from circuitwatch.summary.report.page import environment
from circuitwatch.summary.report.terms import LONGEST, TERMS, Glossary, docs_link, term, term_of


def test_one_short_line_each() -> None:
    for one in TERMS:
        assert 0 < len(one.line) <= LONGEST and "\n" not in one.line, one.key
        assert not one.line.endswith("."), one.key
        assert one.key == one.key.lower() and " " not in one.key and "_" not in one.key, one.key
    for each in ("key", "name", "line"):
        assert len({getattr(one, each) for one in TERMS}) == len(TERMS), each


def test_every_role_of_ours_has_a_term() -> None:
    for name, role in catalogue.roles().items():
        found = term_of(name)
        assert found is not None and found == term_of(role.quantity.key), name
        assert found.name == role.words, name


def test_every_share_of_the_algorithm_has_a_term() -> None:
    shares = [q.key for q in catalogue.quantities().values() if q.panel == "algorithm"]
    assert len(shares) > 6
    for key in shares:
        assert term_of(key) is not None, key
        assert term_of(key.removeprefix("algorithm/")) == term_of(key), key


def test_terms_of_other_quantities() -> None:
    found = {
        "algorithm/C": "share-c",
        "mlp_push": "later-years",
        "behaviour/effect": "effect",
        "circuit/faithfulness": "faithfulness",
        "overlap/edge_jaccard_final": "jaccard",
        "overlap/edge_jaccard_resampled_ceiling": "noise-ceiling",
        "overlap/node_jaccard_chance": "overlap-by-chance",
    }
    assert {name: one.key for name in found if (one := term_of(name))} == found


def test_what_is_not_ours_has_none() -> None:
    for name in ("my_role", "roles/my_role/max", "text/status", "eval/trend", "behaviour/value"):
        assert term_of(name) is None, name
    with pytest.raises(KeyError):
        term("my_role")


def test_links_to_the_documentation() -> None:
    link = docs_link("stability")
    assert link.startswith("https://") and link.endswith("/reading-a-report/#term-stability")


@pytest.mark.parametrize("said", [None, ["Source, https://example.org/"]])
def test_no_link_where_the_package_names_no_documentation(
    monkeypatch: pytest.MonkeyPatch, said: list[str] | None
) -> None:
    class Metadata:
        def get_all(self, name: str) -> list[str] | None:
            return said

    monkeypatch.setattr(terms, "metadata", lambda package: Metadata())
    assert terms.documentation.__wrapped__() == ""

    def missing(package: str) -> None:
        raise PackageNotFoundError

    monkeypatch.setattr(terms, "metadata", missing)
    assert terms.documentation.__wrapped__() == ""


def test_a_term_is_explained_once_a_page() -> None:
    glossary = Glossary()
    linked = str(glossary("stability", "<stable>"))
    assert "&lt;stable&gt;</a>" in linked and f'title="{escape(term("stability").line)}"' in linked
    assert f'href="{docs_link("stability")}"' in linked
    glossary("drift")
    assert [one.key for one in glossary.first_met()] == ["stability", "drift"]
    glossary("stability")
    glossary("lag")
    assert [one.key for one in glossary.first_met()] == ["lag"]
    assert glossary.first_met() == []


def test_a_term_without_documentation_is_no_link(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terms, "documentation", lambda: "")
    assert str(Glossary()("lag")).startswith('<span class="term" title="')


def test_every_reading_is_short_and_explains_its_terms() -> None:
    module = environment().get_template("reading.html").module
    names = list(module.texts)  # type: ignore[attr-defined]
    assert {"emergence", "algorithm", "stays", "scaling"} <= set(names)
    glossary, explained = Glossary(), []
    for name in names:
        html = str(module.reading(name, glossary))  # type: ignore[attr-defined]
        paragraph, _, below = html.partition("</p>")
        words = re.sub(r"<[^>]+>", "", paragraph)
        assert 1 <= len(re.findall(r"[.:](?=\s|$)", words)) <= 7 and len(words) < 560, name
        assert "{" not in html, name
        explained += re.findall(r"<dt>(.*?)</dt>", below)
    assert len(explained) == len(set(explained)) > 15
    assert str(module.reading("no such section", glossary)).strip() == ""  # type: ignore[attr-defined]
