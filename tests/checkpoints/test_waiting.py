"""A hub that says how long to wait is waited for as it says, against a hub on loopback and a clock
that is turned by hand.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from circuitwatch.checkpoints.hub import Repository
from circuitwatch.checkpoints.source import NotFetched
from circuitwatch.checkpoints.waiting import TRIES, Cancelled, Patience
from support.hub import Hub, running_hub

NAME = "org/tiny"


class Hand:
    """A clock that moves only when someone waits, and what was said meanwhile."""

    def __init__(self) -> None:
        self.time = 0.0
        self.waits: list[float] = []
        self.said: list[str] = []

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.time += seconds

    def patience(self) -> Patience:
        return Patience(now=lambda: self.time, sleep=self.sleep, say=self.said.append)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    folder = tmp_path / "hub" / NAME / "step0"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"0" * 100)
    with running_hub(tmp_path / "hub") as hub:
        yield hub


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
def repository(hub: Hub, hand: Hand, tmp_path: Path) -> Repository:
    return Repository(NAME, tmp_path / "l", endpoint=hub.url, patience=hand.patience())


@pytest.mark.parametrize("status", [429, 503])
def test_six_answers_that_say_when(
    status: int, repository: Repository, hub: Hub, hand: Hand
) -> None:
    hub.faults.limited, hub.faults.limit, hub.faults.says = 6, status, {"Retry-After": "12"}
    assert set(repository.branches()) == {"step0"}
    assert hand.waits == [12.0] * 6 and hub.asked[f"GET api/models/{NAME}/refs"] == 7
    assert hand.said == [f"{NAME}: the hub answers {status}: waiting 12 s, as it asks"] * 6


def test_downloads_and_listings_wait_too(
    repository: Repository, hub: Hub, hand: Hand, tmp_path: Path
) -> None:
    hub.faults.limited, hub.faults.says = 1, {"Retry-After": "5"}
    listing = repository.listing("step0")
    hub.faults.limited = 2
    repository.download(listing, listing.files, tmp_path / "got", lambda _: None)
    assert hand.waits == [5.0] * 3
    assert (tmp_path / "got/model.safetensors").read_bytes() == b"0" * 100


def test_other_ways_to_say_it(repository: Repository, hub: Hub, hand: Hand) -> None:
    """As a date, and in the hub's own header where there is no Retry-After."""
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    for says, seconds in (({"Retry-After": date}, 90), ({"RateLimit": '"api";r=0;t=55'}, 55)):
        hub.faults.limited, hub.faults.says = 1, says
        repository.branches()
        assert seconds - 60 < hand.waits.pop() <= seconds
    assert not hand.waits


def test_what_says_nothing_is_tried_some_times(
    repository: Repository, hub: Hub, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    hub.faults.limited = 99
    with pytest.raises(NotFetched, match="answers 429, 4 times: too many requests; wait") as caught:
        repository.branches()
    assert "set HF_TOKEN" in str(caught.value) and "same command" in str(caught.value)
    assert len(hand.waits) == TRIES - 1 and hand.waits == sorted(hand.waits) and not hand.said
    monkeypatch.setenv("HF_TOKEN", "hf_one")
    with pytest.raises(NotFetched, match="too many requests; wait") as caught:
        repository.branches()
    assert "HF_TOKEN" not in str(caught.value)


def test_there_is_an_end_to_waiting(repository: Repository, hub: Hub, hand: Hand) -> None:
    """Half an hour for one answer, and none for one that is further away."""
    hub.faults.limited, hub.faults.says = 99, {"Retry-After": "600"}
    with pytest.raises(NotFetched, match="run the same command again in 10 min"):
        repository.branches()
    assert hand.waits == [600.0] * 3
    hub.faults.says = {"Retry-After": "86400"}
    with pytest.raises(NotFetched, match="again in 1440 min"):
        repository.listing("step0")
    assert hand.waits == [600.0] * 3


def test_while_one_waits_none_asks(hand: Hand) -> None:
    """Another thread's request, told nothing itself, waits for the rest of the time."""
    patience = hand.patience()
    patience._hold("x", 429, 20.0)
    hand.time += 5.0
    assert patience.asking(lambda: hand.time, lambda _: False, "y") == 20.0


def test_waiting_ends_with_the_run(hub: Hub, tmp_path: Path) -> None:
    """With the real clock: a run that is stopped waits no longer."""
    said: list[str] = []
    stopped = threading.Event()

    def stop(line: str) -> None:
        said.append(line)
        stopped.set()

    repository = Repository(NAME, tmp_path / "l", endpoint=hub.url, patience=Patience(say=stop))
    listing = repository.listing("step0")
    hub.faults.limited, hub.faults.says = 1, {"Retry-After": "600"}
    with pytest.raises(Cancelled):
        repository.download(listing, listing.files, tmp_path, lambda _: None, stopped)
    assert len(said) == 1
