"""Checkpoints of a repository on the hub, streamed: the next one is on its way while the present
one is analysed, and used ones are deleted.

What the hub's own cache (HF_HOME) holds already is read from there and left there; what is fetched
goes to a `Store` with a budget. Offline (HF_HUB_OFFLINE) the checkpoints are those that lie in
either.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

from huggingface_hub import constants, scan_cache_dir
from huggingface_hub.errors import CacheNotFound

from circuitwatch.checkpoints.audit import NO_RECORDS, Audit, RecordedWeights, Weights
from circuitwatch.checkpoints.completeness import has_tokenizer
from circuitwatch.checkpoints.files import weight_files
from circuitwatch.checkpoints.hub import Listing, Repository, offline
from circuitwatch.checkpoints.kinds import ADAPTER_CONFIG
from circuitwatch.checkpoints.schedule import Checkpoint
from circuitwatch.checkpoints.settings import CheckpointsConfig, ModelConfig
from circuitwatch.checkpoints.shape import read_config
from circuitwatch.checkpoints.source import Missing, NotFetched, Say
from circuitwatch.checkpoints.stages import Stages
from circuitwatch.checkpoints.store import Held, Store
from circuitwatch.checkpoints.suites import can_be_named, checkpoint_at, checkpoints_named
from circuitwatch.checkpoints.unusable import Unusable
from circuitwatch.errors import UserError
from circuitwatch.units import parse_size

LISTINGS_AT_ONCE = 8
MODEL_FILES = ("config.json", ADAPTER_CONFIG)
"""What is fetched of a revision first: if they say that it can't be analysed, nothing else is."""


class HubSource:
    """A `Source` over a repository on the hub."""

    def __init__(self, model: ModelConfig, config: CheckpointsConfig) -> None:
        assert model.hub_id and model.revisions
        self.model = model
        self.keep = config.keep
        folder = store_folder(config)
        self.store = Store(folder, parse_size(config.disk, "checkpoints.disk"))
        self.name = model.hub_id.replace("/", "--")
        self.repository = Repository(model.hub_id, folder / "listings" / self.name)
        self.cached = cached_snapshots(model.hub_id)
        self._commits: dict[str, str] | None = None
        self._called: dict[Path, str] = {}

    def commits(self) -> dict[str, str]:
        """Commit of every revision, asked for once; offline none."""
        if self._commits is None:
            self._commits = {} if offline() else self.repository.branches()
        return self._commits

    def here(self) -> dict[str, Path]:
        """Revisions that are on this machine, whole."""
        return self.kept() | self.cached

    def kept(self) -> dict[str, Path]:
        """Revisions whose entries in the store, named <revision>@<commit>, are whole."""
        return {name.rsplit("@", 1)[0]: path for name, path in self.store.whole(self.name).items()}

    def available(self) -> list[Checkpoint]:
        """The suite's published steps, whether the hub still has them or not, else what the hub
        has; offline, what is on this machine.
        """
        model = self.model
        assert model.revisions is not None
        here = self.here() if offline() else {}
        stages = None
        if model.stages == "join":
            stages = Stages(model.stage_steps or (), model.stage_tokens or (), model.ingredient)
        is_named = can_be_named(model.revisions, model.tokens_per_step) and stages is None
        if model.steps and is_named:
            checkpoints = [
                checkpoint_at(step, model.revisions, model.tokens_per_step or 0)
                for step in model.steps
            ]
        else:
            names = here if offline() else self.commits()
            checkpoints = checkpoints_named(names, model.revisions, model.tokens_per_step, stages)
            checkpoints = [
                checkpoint
                for checkpoint in checkpoints
                if not model.steps or checkpoint.step in model.steps
            ]
        if offline():
            checkpoints = [checkpoint for checkpoint in checkpoints if checkpoint.revision in here]
        if not checkpoints:
            where = "on this machine, and HF_HUB_OFFLINE is set" if offline() else "on the hub"
            raise UserError(f"{model.hub_id}: no revision named like {model.revisions} {where}")
        return checkpoints

    def about(self, checkpoints: Sequence[Checkpoint]) -> Iterator[Path]:
        """Configuration and tokenizer of each checkpoint that there is, the tokenizer of `main`
        where revisions have none; of several with the same small files one.

        Raises UserError if there is none.
        """
        here = self.here()
        told: set[frozenset[tuple[str, str]]] = set()
        there = False
        for checkpoint in checkpoints:
            if folder := here.get(checkpoint.revision):
                there = True
                yield folder
                continue
            if offline() or checkpoint.revision not in self.commits():
                continue
            try:
                listing = self._listing(checkpoint)
            except (Missing, Unusable):  # it is said where it is skipped
                continue
            there = True
            files = frozenset((file.name, file.identity) for file in listing.small())
            if files in told:
                continue
            told.add(files)
            folder = self.store.folder / "about" / self.name / listing.commit
            self._called[folder] = f"{self.model.hub_id} {checkpoint.revision}"
            of_model = [file for file in listing.small() if file.name in MODEL_FILES]
            self.repository.download(listing, of_model, folder, lambda _: None)
            if is_refused(folder):
                yield folder  # reading it says why, and nothing more is fetched
                continue
            self.repository.download(listing, listing.small(), folder, lambda _: None)
            if not has_tokenizer(folder) and (commit := self.commits().get("main")):
                main = self.repository.listing("main", commit)
                rest = [file for file in main.small() if file.name not in MODEL_FILES]
                self.repository.download(main, rest, folder, lambda _: None)
            yield folder
        if not there:
            raise UserError(
                f"{self.model.hub_id}: none of the {len(checkpoints)} revisions of the schedule "
                f"is there"
            )

    def called(self, folder: Path) -> str:
        """By repository and revision where it was fetched, which nobody has to look for."""
        return self._called.get(folder, str(folder))

    def audit(
        self, checkpoints: Sequence[Checkpoint], say: Say, recorded: RecordedWeights = NO_RECORDS
    ) -> Audit:
        """Hashes from the hub's listings, of several revisions at once; offline, from the files."""
        weights: dict[int, Weights] = {}
        missing: dict[int, str] = {}
        local = self.here() if offline() else {}

        def look(checkpoint: Checkpoint) -> None:
            say(f"{checkpoint.revision}: listing")
            if checkpoint.revision in local:
                weights[checkpoint.step] = Weights.of_folder(local[checkpoint.revision])
                return
            try:
                listing = self._listing(checkpoint)
            except (Missing, Unusable) as error:
                missing[checkpoint.step] = str(error)
                return
            if listing.kind is None:
                missing[checkpoint.step] = (
                    f"{checkpoint.revision}: {instead}"
                    if (instead := listing.instead())
                    else f"{checkpoint.revision} holds no safetensors and no pytorch_model.bin"
                )
                return
            size = sum(file.size for file in listing.weights(listing.kind))
            weights[checkpoint.step] = Weights(
                listing.kind, size, listing.sha256(), listing.identities()
            )

        with ThreadPoolExecutor(LISTINGS_AT_ONCE) as pool:
            for _ in pool.map(look, checkpoints):
                pass
        return Audit.of(checkpoints, weights, missing, recorded)

    def seen(self, checkpoint: Checkpoint) -> str | None:
        """The commit of its revision, which is another one once that is rewritten; None where the
        hub has none such, and offline, where it can't be asked.
        """
        return self.commits().get(checkpoint.revision)

    def hashed(self, checkpoint: Checkpoint) -> str | None:
        """The hash that the hub lists of the weights that the revision has now; None where it lists
        none, or the revision is gone.
        """
        try:
            return self._listing(checkpoint).sha256()
        except (Missing, Unusable):
            return None

    def sha256(self, checkpoint: Checkpoint) -> str | None:
        """None: the hash in a record is that of the files that came, not of the listing."""
        return None

    @contextmanager
    def stream(self, checkpoints: Sequence[Checkpoint]) -> Iterator[HubStream]:
        """Checkpoints one after another; what is on its way when this is left is stopped, and goes
        on at the next run.
        """
        running = HubStream(self, checkpoints)
        try:
            yield running
        finally:
            running.close()

    def fetch(self, checkpoint: Checkpoint, stopped: Event, got: Say) -> Path | Held:
        """A checkpoint in the hub's cache, or held in the store."""
        cached = self.cached.get(checkpoint.revision)
        if cached is not None and (
            offline() or cached.name == self.commits().get(checkpoint.revision)
        ):
            return cached  # and not an older commit of the revision
        if offline():
            folder = self.kept().get(checkpoint.revision)
            if folder is None:
                raise NotFetched(
                    f"{checkpoint.revision}: is no longer on this machine, and "
                    f"HF_HUB_OFFLINE is set"
                )
            size = sum(path.stat().st_size for path in weight_files(folder))
            return self.store.take(self.name, folder.name, size, lambda _: None, stopped)
        listing = self._listing(checkpoint)
        if listing.kind is None:
            raise Missing(f"{checkpoint.revision} holds no weights")
        needed = listing.needed()
        size = sum(file.size for file in needed)
        received = 0

        def count(n: int) -> None:
            nonlocal received
            received += n
            got(f"{received / 1e6:.0f} of {size / 1e6:.0f} MB")

        return self.store.take(
            self.name,
            f"{checkpoint.revision}@{listing.commit[:12]}",
            size,
            lambda folder: self.repository.download(listing, needed, folder, count, stopped),
            stopped,
        )

    def _listing(self, checkpoint: Checkpoint) -> Listing:
        commit = self.commits().get(checkpoint.revision)
        if commit is None:
            raise Missing(
                f"{self.model.hub_id} {checkpoint.revision}: the hub has no such revision"
            )
        return self.repository.listing(checkpoint.revision, commit)


class HubStream:
    """One run's way through its checkpoints: a thread fetches the next one while the present one is
    held.
    """

    def __init__(self, source: HubSource, checkpoints: Sequence[Checkpoint]) -> None:
        self._source = source
        self._checkpoints = list(checkpoints)
        self._stopped = Event()
        self._coming: dict[int, Future[Path | Held]] = {}
        self._progress: dict[int, str] = {}

    @contextmanager
    def hold(self, checkpoint: Checkpoint, say: Say) -> Iterator[Path]:
        """The checkpoint's folder; meanwhile the one after it is fetched."""
        coming = self._start(checkpoint)
        while not coming.done():
            say(f"downloading {self._progress.get(checkpoint.step, '')}".rstrip())
            wait([coming], timeout=0.1)
        place = self._coming.pop(checkpoint.step).result()
        after = self._checkpoints.index(checkpoint) + 1
        if after < len(self._checkpoints):
            self._start(self._checkpoints[after])
        try:
            yield place.folder if isinstance(place, Held) else place
        finally:
            if isinstance(place, Held):
                is_last = checkpoint == self._checkpoints[-1]
                keep = self._source.keep == "all" or (self._source.keep == "last" and is_last)
                self._source.store.release(place, keep=keep)

    def close(self) -> None:
        """Stop what is on its way, and let go of what came and was not used."""
        self._stopped.set()
        for coming in self._coming.values():
            coming.add_done_callback(self._drop)

    def _drop(self, coming: Future[Path | Held]) -> None:
        if coming.exception() is None and isinstance(place := coming.result(), Held):
            self._source.store.release(place, keep=True)

    def _start(self, checkpoint: Checkpoint) -> Future[Path | Held]:
        """Fetch a checkpoint in a thread that ends with the process, unless that has begun
        already.
        """
        if (begun := self._coming.get(checkpoint.step)) is not None:
            return begun
        coming: Future[Path | Held] = Future()
        self._coming[checkpoint.step] = coming

        def fetch() -> None:
            def got(progress: str) -> None:
                self._progress[checkpoint.step] = progress

            try:
                coming.set_result(self._source.fetch(checkpoint, self._stopped, got))
            except BaseException as error:
                coming.set_exception(error)

        Thread(target=fetch, name=f"fetch {checkpoint.revision}", daemon=True).start()
        return coming


def store_folder(config: CheckpointsConfig) -> Path:
    """Where what is fetched lies."""
    if config.folder:
        return Path(config.folder).expanduser()
    return Path(constants.HF_HOME) / "circuitwatch"


def tokenizer_folder(place: str, config: CheckpointsConfig) -> Path:
    """A folder that the tokenizer is in which model.tokenizer names; of a repository its files are
    fetched from its `main`.

    Raises UserError where there is none.
    """
    if (folder := Path(place).expanduser()).is_dir():
        return folder
    below = store_folder(config)
    name = place.replace("/", "--")
    of_repository = below / "about" / name
    if offline():
        fetched = [*of_repository.glob("*"), *cached_snapshots(place).values()]
        for folder in fetched:
            if has_tokenizer(folder):
                return folder
        raise UserError(
            f"model.tokenizer={place}: no such folder, nor is that repository's tokenizer on this "
            f"machine, and HF_HUB_OFFLINE is set"
        )
    repository = Repository(place, below / "listings" / name)
    listing = repository.listing("main")
    files = [file for file in listing.small() if file.name not in MODEL_FILES]
    repository.download(listing, files, of_repository / listing.commit, lambda _: None)
    if not has_tokenizer(of_repository / listing.commit):
        raise UserError(f"model.tokenizer={place}: no tokenizer.json or tokenizer.model in it")
    return of_repository / listing.commit


def is_refused(folder: Path) -> bool:
    """Whether what a checkpoint's config.json says can't be analysed."""
    try:
        read_config(folder)
    except Unusable:
        return True
    return False


def cached_snapshots(hub_id: str) -> dict[str, Path]:
    """Revisions of a repository that the hub's own cache holds with configuration and weights: name
    → folder.
    """
    try:
        repositories = scan_cache_dir().repos
    except CacheNotFound:
        return {}
    return {
        name: revision.snapshot_path
        for repository in repositories
        if repository.repo_id == hub_id and repository.repo_type == "model"
        for revision in repository.revisions
        if (revision.snapshot_path / "config.json").exists() and _is_whole(revision.snapshot_path)
        for name in revision.refs
    }


def _is_whole(folder: Path) -> bool:
    """Whether a folder has its weights, and of weights in several files all of them."""
    shards = {path.name for path in weight_files(folder)}
    totals = {int(name.split("-of-")[1].split(".")[0]) for name in shards if "-of-" in name}
    return bool(shards) and all(
        len([n for n in shards if "-of-" in n]) == total for total in totals
    )
