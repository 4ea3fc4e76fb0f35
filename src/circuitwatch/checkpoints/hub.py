"""The model hub: which revisions a repository has, what files they hold, and fetching them.

The client is that of huggingface_hub, so HF_TOKEN, HF_ENDPOINT, HF_HOME and HF_HUB_OFFLINE mean
what they mean everywhere. Around it stand retries with backoff for what may pass (429, 5xx,
time-outs, broken connections), and errors in one line. Only configuration, tokenizer and weight
files are ever fetched.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import huggingface_hub.errors as hub_errors
from huggingface_hub import HfApi, constants, get_session, get_token, hf_hub_url
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status
from huggingface_hub.utils import logging as hub_logging

from circuitwatch.checkpoints.files import WEIGHT_FILES, file_sha256, joint_sha256
from circuitwatch.checkpoints.kinds import held_instead
from circuitwatch.checkpoints.source import Missing, NotFetched
from circuitwatch.checkpoints.unusable import DamagedWeights
from circuitwatch.checkpoints.waiting import TRIES, Cancelled, Patience, status_of, told_to_wait
from circuitwatch.errors import UserError

SMALL_FILES = (
    "config.json adapter_config.json tokenizer.json tokenizer_config.json special_tokens_map.json "
    "vocab.json vocab.txt merges.txt added_tokens.json"
).split()
SENTENCEPIECE = ("tokenizer.model", "spiece.model")
"""Fetched where there is no tokenizer.json, which says the same in less time."""
ANSWER_SECONDS = 30
PIECE = 1 << 18
TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
Got = Callable[[int], None]


class LostNetwork(UserError):
    """The hub can't be reached: nothing more can be fetched now."""


@dataclass(frozen=True)
class RemoteFile:
    """A file of a revision; sha256 is known for large files (LFS) only, `identity` for all."""

    name: str
    size: int
    identity: str
    sha256: str | None


@dataclass(frozen=True)
class Listing:
    """What a revision holds, at one commit."""

    revision: str
    commit: str
    files: tuple[RemoteFile, ...]

    @property
    def kind(self) -> str | None:
        """The kind of weights to fetch: safetensors if there are any, else bin; none without
        weights.
        """
        return next((kind for kind in WEIGHT_FILES if self.weights(kind)), None)

    def weights(self, kind: str) -> tuple[RemoteFile, ...]:
        """The weight files of a kind, by name."""
        here = (file for file in self.files if "/" not in file.name)  # a star would match it
        files = [file for file in here if fnmatchcase(file.name, WEIGHT_FILES[kind])]
        return tuple(sorted(files, key=lambda file: file.name))

    def small(self) -> tuple[RemoteFile, ...]:
        """Configuration and tokenizer."""
        is_there = any(file.name == "tokenizer.json" for file in self.files)
        wanted = {*SMALL_FILES, *(() if is_there else SENTENCEPIECE)}
        return tuple(file for file in self.files if file.name in wanted)

    def instead(self) -> str | None:
        """What a revision without weights holds instead, where that is known."""
        return held_instead((file.name for file in self.files), "FOLDER")

    def needed(self) -> tuple[RemoteFile, ...]:
        """All that a checkpoint needs: small files, weights, and the index of weights in several
        files.
        """
        assert self.kind is not None
        index = f"{WEIGHT_FILES[self.kind].replace('*', '')}.index.json"
        return (
            *self.small(),
            *(f for f in self.files if f.name == index),
            *self.weights(self.kind),
        )

    def sha256(self) -> str | None:
        """The hash that `weights_sha256` will give once the weights are here, where the listing
        tells.
        """
        hashes = {file.name: file.sha256 for file in self.weights(self.kind)} if self.kind else {}
        listed = {name: value for name, value in hashes.items() if value}
        return joint_sha256(listed) if listed and len(listed) == len(hashes) else None

    def identities(self) -> frozenset[str]:
        """One hash for each kind of weights there is."""
        of_kind = {kind: self.weights(kind) for kind in WEIGHT_FILES}
        return frozenset(
            f"{kind} {joint_sha256({f.name: f.identity for f in files})}"
            for kind, files in of_kind.items()
            if files
        )


class Repository:
    """A repository of models on the hub.

    Listings, which a commit never changes, are kept in a folder.
    """

    def __init__(
        self,
        hub_id: str,
        listings: Path,
        *,
        endpoint: str | None = None,
        patience: Patience | None = None,
    ) -> None:
        hub_logging.set_verbosity_error()
        self.hub_id = hub_id
        self._listings = listings
        self._patience = patience or Patience()
        self._api = HfApi(endpoint=endpoint)

    def branches(self) -> dict[str, str]:
        """Commit of each branch and tag by its name.

        Raises UserError if there is no such repository, LostNetwork if there is no hub.
        """

        # As HfApi.list_repo_refs, which has no time-out and would wait for a hub that hangs.
        def ask() -> Any:
            url = f"{self._api.endpoint}/api/models/{self.hub_id}/refs"
            response = get_session().get(url, headers=build_hf_headers(), timeout=ANSWER_SECONDS)
            hf_raise_for_status(response)
            return response.json()

        refs = self._asking(ask, self.hub_id)
        return {ref["name"]: ref["targetCommit"] for ref in [*refs["tags"], *refs["branches"]]}

    def listing(self, revision: str, commit: str | None = None) -> Listing:
        """The files of a revision.

        Raises Missing if the hub has no such revision, DamagedWeights if it lists a file outside
        the folder, NotFetched or LostNetwork if it does not answer.
        """
        if commit and (path := self._listings / f"{commit}.json").exists():
            listed = json.loads(path.read_text(encoding="utf-8"))
            return Listing(revision, commit, tuple(RemoteFile(**file) for file in listed))
        what = f"{self.hub_id} {revision}"
        info = self._asking(
            lambda: self._api.model_info(
                self.hub_id,
                revision=commit or revision,
                files_metadata=True,
                timeout=ANSWER_SECONDS,
            ),
            what,
        )
        files = tuple(
            RemoteFile(
                s.rfilename,
                s.size or 0,
                s.lfs.sha256 if s.lfs else str(s.blob_id),
                s.lfs and s.lfs.sha256,
            )
            for s in info.siblings or []
        )
        if outside := next((file.name for file in files if leads_out(file.name)), None):
            raise DamagedWeights(f"{what}: lists a file outside its folder, {outside!r}: refused")
        listing = Listing(revision, str(info.sha), files)
        self._listings.mkdir(parents=True, exist_ok=True)
        partial = self._listings / f"{listing.commit}.json.{os.getpid()}"
        partial.write_text(json.dumps([asdict(file) for file in files]), encoding="utf-8")
        partial.replace(self._listings / f"{listing.commit}.json")
        return listing

    def download(
        self,
        listing: Listing,
        files: Sequence[RemoteFile],
        folder: Path,
        got: Got,
        stopped: Event | None = None,
    ) -> None:
        """Fetch files of a revision, resuming where an earlier try stopped. Files whose hash is
        listed are checked against it.

        Raises Missing, NotFetched (after some tries), LostNetwork, UserError for a full disk, and
        Cancelled soon after `stopped` is set.

        Args:
            listing: The revision.
            files: Those of its files that are wanted.
            folder: Where they go.
            got: Told how many bytes have come, again and again.
            stopped: Set by another thread to end the download.
        """
        for file in files:
            what = f"{self.hub_id} {listing.revision} {file.name}"
            path = folder / file.name
            self._asking(partial(self._fetch, listing, file, folder, got, stopped), what, stopped)
            if file.sha256 and file_sha256(path) != file.sha256:
                path.unlink()
                raise NotFetched(f"{what}: SHA-256 mismatch with the hub's listing")

    def _fetch(
        self, listing: Listing, file: RemoteFile, folder: Path, got: Got, stopped: Event | None
    ) -> None:
        """One file, from where an earlier try or run stopped.

        huggingface_hub itself (2.4) begins anew after every failure.
        """
        path = folder / file.name
        part = path.with_name(f"{file.name}.part")
        if path.exists() and path.stat().st_size == file.size:
            return
        folder.mkdir(parents=True, exist_ok=True)
        have = part.stat().st_size if part.exists() else 0
        url = hf_hub_url(
            self.hub_id, file.name, revision=listing.commit, endpoint=self._api.endpoint
        )
        headers = {**build_hf_headers(), "Accept-Encoding": "identity"} | (
            {"Range": f"bytes={have}-"} if have else {}
        )
        if have < file.size:
            timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
            with get_session().stream(
                "GET", url, headers=headers, timeout=timeout, follow_redirects=True
            ) as response:
                hf_raise_for_status(response)
                resumed = response.status_code == 206
                with part.open("ab" if resumed else "wb") as target:
                    for piece in response.iter_bytes(PIECE):
                        if stopped is not None and stopped.is_set():
                            raise Cancelled
                        target.write(piece)
                        got(len(piece))
        part.touch()  # of an empty file nothing is fetched
        if (size := part.stat().st_size) != file.size:
            if size > file.size:
                part.unlink()
            name = f"{self.hub_id} {listing.revision} {file.name}"
            fault = "incomplete download" if size < file.size else "download too long"
            raise NotFetched(f"{name}: {fault}: {size} of {file.size} bytes")
        part.replace(path)

    def _asking(self, action: Callable[[], Any], what: str, stopped: Event | None = None) -> Any:
        """Ask the hub, retrying with backoff what may pass; a lasting failure becomes a
        UserError.
        """
        try:
            return self._patience.asking(action, _may_pass, what, stopped)
        except (UserError, Cancelled):
            raise
        except Exception as error:
            raise _as_user_error(error, what) from error


def leads_out(name: str) -> bool:
    """Whether a file's name in a listing would lie outside the folder that the files go to, on any
    system: absolute, with a drive or backslashes, by `..`, or with characters that end names.
    """
    parts = {*name.split("/")}
    return bool(parts & {"", ".", ".."}) or any(character in name for character in "\\:\0")


def offline() -> bool:
    """Whether HF_HUB_OFFLINE is set."""
    return constants.is_offline_mode()


def _is_network(error: BaseException) -> bool:
    """A connection that failed or broke; the client's HTTP library differs between its versions."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return isinstance(error, ConnectionError | TimeoutError) or "TransportError" in names


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, NotFetched) or _is_network(error) or status_of(error) in TRANSIENT


def _busy(error: BaseException, status: int) -> str:
    """What a hub answers again and again, and what to do."""
    told = told_to_wait(error)
    if told is not None:
        wait = f"run the same command again in {told / 60:.0f} min" if told >= 90 else "wait"
        answer = f"the hub answers {status} and asks to wait longer than is waited for"
    else:
        wait = "wait some minutes, and run the same command again"
        answer = f"the hub answers {status}, {TRIES} times"
    if status != 429:
        return answer if told is None else f"{answer}; {wait}"
    more = "" if get_token() else ", or set HF_TOKEN, with which more requests are allowed"
    return f"{answer}: too many requests; {wait}{more}"


def _as_user_error(error: BaseException, what: str) -> UserError:
    status = status_of(error)
    if isinstance(error, hub_errors.RevisionNotFoundError | hub_errors.EntryNotFoundError):
        return Missing(f"{what}: the hub does not have it (404)")
    if isinstance(error, hub_errors.GatedRepoError):
        return UserError(f"{what}: access must be granted on the hub; then set HF_TOKEN")
    if isinstance(error, hub_errors.RepositoryNotFoundError) or status in (401, 403):
        return UserError(f"{what}: no such repository, or it is private and needs HF_TOKEN")
    if isinstance(error, hub_errors.OfflineModeIsEnabled):
        return UserError(f"{what}: is not on this machine, and HF_HUB_OFFLINE forbids fetching it")
    if status is not None:
        return NotFetched(f"{what}: {_busy(error, status)}")
    if _is_network(error):
        return LostNetwork(f"{what}: the hub can't be reached ({type(error).__name__})")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(
            f"{what}: the disk is full; make room, or choose another folder with "
            f"checkpoints.folder="
        )
    return NotFetched(f"{what}: {' '.join(str(error).split())[:200] or type(error).__name__}")
