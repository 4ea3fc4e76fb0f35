"""Every term has one plain line, and every role of ours and share of the algorithm a term."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError

import pytest

from circuitwatch import catalogue
from circuitwatch.summary.report import terms
from circuitwatch.summary.report.terms import LONGEST, TERMS, docs_link, term, term_of


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
