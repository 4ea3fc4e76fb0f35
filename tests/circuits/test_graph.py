"""Names of nodes and receivers say where they are, and back."""

from __future__ import annotations

import pytest

from circuitwatch.circuits.graph import Graph, head_name, place_of


@pytest.mark.parametrize("graph", [Graph(2, 3, True), Graph(12, 12, False)])
def test_every_name_of_a_graph_is_made_from_its_place(graph: Graph) -> None:
    for name in (*graph.senders, *graph.receivers):
        place = place_of(name)
        assert (place is None) == (name in ("input", "logits"))
        assert place is None or head_name(*place) == name


def test_places_are_the_places_in_the_order_of_senders() -> None:
    graph = Graph(3, 4, True)
    for name in graph.senders[1:]:
        place = place_of(name)
        assert place is not None
        head = graph.n_heads if place.head < 0 else place.head
        assert graph.senders.index(name) == graph.sender_of_head(place.layer, head)
    assert place_of("a10.h11<k>") == (10, 11, "k") and place_of("m7") == (7, -1, "")


@pytest.mark.parametrize("name", ["", "a1", "h1", "a1.h2<z>", "m1.h0", "a-1.h0", "xa1.h0", "m1 "])
def test_what_is_no_name_has_no_place(name: str) -> None:
    assert place_of(name) is None
