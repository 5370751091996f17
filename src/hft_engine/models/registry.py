"""The registry: every version of every model, with where it came from and what became of it.

``registry.db`` (SQLite) says what there is and its status; the files of a version lie in ``<model>/<version>/``:

    model.txt  model.txt.meta.json  report.json  card.html

``<model>/saved_model`` is a link to the live version, so that ``load("models/peak_detection/saved_model")`` always has
it. A version's folder is made whole beside its place and renamed into it, then its row is written: what was interrupted
leaves no version, only a folder ``.new-*`` that the next registration clears away.

Status: candidate (trained), shadow (scores beside the live one), refused (by the gate), live, retired (another took its
place), rolled_back.
"""

import contextlib
import errno
import hashlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from hft_engine.inference.model import ModelMetadata, read_metadata, write_model
from hft_engine.models.saved import MODEL_FILE
from hft_engine.runtime.durable import sync_folder
from hft_engine.runtime.faultpoints import fault_point

Status = Literal["candidate", "shadow", "refused", "live", "retired", "rolled_back"]
STATUSES: tuple[Status, ...] = get_args(Status)
DATABASE, LIVE_LINK, REPORT, CARD = "registry.db", "saved_model", "report.json", "card.html"
_NEW = ".new-"
BUSY_S = 5.0  # patience with another process that is writing
SCHEMA = 1

_TABLES = """
CREATE TABLE IF NOT EXISTS models (
  name TEXT NOT NULL, version TEXT NOT NULL, status TEXT NOT NULL, created TEXT NOT NULL, parent TEXT NOT NULL,
  begin_ns INTEGER NOT NULL, end_ns INTEGER NOT NULL, data_hash TEXT NOT NULL, code_hash TEXT NOT NULL,
  feature_hash TEXT NOT NULL, model_hash TEXT NOT NULL, metrics TEXT NOT NULL, unbeaten TEXT NOT NULL,
  calibrated INTEGER NOT NULL, PRIMARY KEY (name, version)) STRICT;
CREATE TABLE IF NOT EXISTS changes (
  id INTEGER PRIMARY KEY, at TEXT NOT NULL, name TEXT NOT NULL, version TEXT NOT NULL, before TEXT NOT NULL,
  after TEXT NOT NULL, reason TEXT NOT NULL) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS one_live ON models(name) WHERE status = 'live';
"""


class RegistryError(RuntimeError):
    """The registry cannot do what was asked; the text says why and what to do."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A version. ``unbeaten``: baselines that it is not better than; ``parent``: the live version when it was made."""

    name: str
    version: str
    status: Status = "candidate"
    created: str = ""
    parent: str = ""
    begin_ns: int
    end_ns: int
    data_hash: str
    code_hash: str
    feature_hash: str
    model_hash: str = ""
    metrics: dict[str, float]
    unbeaten: tuple[str, ...] = ()
    calibrated: bool = False


class Change(msgspec.Struct, frozen=True):
    at: str
    name: str
    version: str
    before: str
    after: str
    reason: str


class Registry:
    """In the folder ``root``, which is made unless ``create`` is false: then RegistryError where there is none.

    Several processes may use it; each change is one transaction.
    """

    def __init__(self, root: Path, create: bool = True) -> None:
        self.root = root
        if not create and not (root / DATABASE).is_file():
            raise RegistryError(
                f"{root} has no models yet; `hft train --data PATH` makes some, --registry FOLDER names another place"
            )
        with _told(root, "nothing was registered"):
            root.mkdir(parents=True, exist_ok=True)
            with self._database() as database:
                found = database.execute("PRAGMA user_version").fetchone()[0]
                if found > SCHEMA:
                    raise RegistryError(
                        f"{root / DATABASE} is of a newer version of the engine; use that one"
                    )
                database.executescript(_TABLES)
                database.execute(f"PRAGMA user_version = {SCHEMA}")

    @contextlib.contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        """One transaction."""
        try:
            with closing(sqlite3.connect(self.root / DATABASE, timeout=BUSY_S)) as database:
                database.row_factory = sqlite3.Row
                with database:
                    database.execute("BEGIN IMMEDIATE")
                    yield database
        except sqlite3.Error as error:
            raise RegistryError(
                f"{self.root / DATABASE}: {error}; is the disk full, or the file damaged?"
            ) from error

    # ---- what there is ------------------------------------------------------------------------------------------

    def entries(self, name: str = "") -> list[Entry]:
        """The oldest first; of one model, or of all."""
        query = "SELECT * FROM models WHERE name = ? OR ? = '' ORDER BY created, version"
        with self._database() as database:
            return [_entry(row) for row in database.execute(query, (name, name))]

    def entry(self, name: str, version: str = "") -> Entry:
        """By a version or its beginning; without one the live version, else the newest. Raises RegistryError."""
        found = [entry for entry in self.entries(name) if entry.version.startswith(version)]
        if not found:
            known = (
                ", ".join(sorted({f"{entry.name} {entry.version}" for entry in self.entries()}))
                or "nothing yet"
            )
            raise RegistryError(
                f"no model {name} {version}".rstrip() + f"; the registry {self.root} has: {known}"
            )
        exact = [entry for entry in found if entry.version == version]
        if version and len(found) > 1 and not exact:
            raise RegistryError(
                f"{version!r} may be {', '.join(entry.version for entry in found)}; say which"
            )
        live = [entry for entry in found if entry.status == "live"]
        return (exact or (live if not version else []) or found)[-1]

    def live(self, name: str) -> Entry | None:
        return next((entry for entry in self.entries(name) if entry.status == "live"), None)

    def changes(self, name: str, version: str = "") -> list[Change]:
        query = "SELECT * FROM changes WHERE name = ? AND (version = ? OR ? = '') ORDER BY id"
        with self._database() as database:
            rows = database.execute(query, (name, version, version)).fetchall()
        return [Change(*(row[key] for key in Change.__struct_fields__)) for row in rows]

    def folder(self, entry: Entry) -> Path:
        return self.root / entry.name / entry.version

    def metadata(self, entry: Entry) -> ModelMetadata:
        """Raises ModelError."""
        return read_metadata(self.folder(entry) / MODEL_FILE)

    # ---- what becomes of it -------------------------------------------------------------------------------------

    def register(
        self, entry: Entry, text: str, metadata: ModelMetadata, files: Mapping[str, bytes] | None = None
    ) -> Entry:
        """A new candidate: its files, then its row. Raises RegistryError; nothing is left of it then."""
        home = self.root / entry.name
        live = self.live(entry.name)
        with _told(self.root, "nothing was registered"):
            home.mkdir(parents=True, exist_ok=True)
            for left in home.glob(f"{_NEW}*"):
                shutil.rmtree(left, ignore_errors=True)
            made = Path(tempfile.mkdtemp(prefix=_NEW, dir=home))
            try:
                written = write_model(
                    made / MODEL_FILE, text, msgspec.structs.replace(metadata, version=entry.version)
                )
                for name, data in (files or {}).items():
                    (made / name).write_bytes(data)
                for file in made.iterdir():
                    _sync(file)
                made.chmod(0o755)
                fault_point("registry.rename")
                made.rename(self.root / entry.name / entry.version)
            except BaseException:
                shutil.rmtree(made, ignore_errors=True)
                raise
            sync_folder(home)
        entry = msgspec.structs.replace(
            entry,
            status="candidate",
            created=_now(),
            parent=live.version if live else "",
            model_hash=written.sha256,
        )
        fault_point("registry.row")
        try:
            with self._database() as database:
                _insert(database, entry)
                _note(database, entry, "", "candidate", "trained")
        except BaseException:
            shutil.rmtree(self.folder(entry), ignore_errors=True)
            raise
        return entry

    def promote(self, name: str, version: str = "", force: bool = False, reason: str = "") -> Entry:
        """Makes a version live; the one before is retired. Raises RegistryError where it does not beat its baselines,
        unless ``force``."""
        entry = (
            self.entry(name, version)
            if version
            else self.entries(name)[-1]
            if self.entries(name)
            else self.entry(name)
        )
        if entry.unbeaten and not force:
            raise RegistryError(
                f"{name} {entry.version} does not beat its baseline ({', '.join(entry.unbeaten)}), so it is not "
                "promoted; train on more data, or use --force if you know why"
            )
        told = reason or ("forced: baseline not beaten" if entry.unbeaten else "promoted")
        return self._make_live(entry, "retired", told)

    def roll_back(self, name: str, reason: str = "") -> Entry:
        """The version that was live before is live again. Raises RegistryError where there was none."""
        live, before = self.live(name), self.before_live(name)
        if live is None or before is None:
            raise RegistryError(
                f"{name} has no earlier live version to go back to; `hft models ls` shows what there is"
            )
        return self._make_live(before, "rolled_back", reason or f"rolled back from {live.version}")

    def before_live(self, name: str) -> Entry | None:
        """The version that was live before the one that is, and was not itself rolled back."""
        live, known = self.live(name), {entry.version: entry for entry in self.entries(name)}
        past = [change.version for change in self.changes(name) if change.after == "live"]
        before = [
            known[version]
            for version in past
            if live is not None and version != live.version and known[version].status != "rolled_back"
        ]
        return before[-1] if before else None

    def set_status(self, name: str, version: str, status: Status, reason: str) -> Entry:
        """Any status but live; of a live version none is live then. Raises RegistryError."""
        entry = self.entry(name, version)
        if status == "live" or status not in STATUSES:
            raise RegistryError(
                f"{status!r} is not set this way; promote or roll back a version to make it live"
            )
        with self._database() as database:
            _change(database, entry, status, reason)
            if entry.status == "live":
                (self.root / name / LIVE_LINK).unlink(missing_ok=True)
        return self.entry(name, entry.version)

    def _make_live(self, entry: Entry, of_the_old: Status, reason: str) -> Entry:
        self._check_files(entry)
        with self._database() as database:
            query = "SELECT * FROM models WHERE name = ? AND status = 'live' AND version <> ?"
            for row in database.execute(query, (entry.name, entry.version)).fetchall():
                _change(database, _entry(row), of_the_old, reason)
            if entry.status != "live":
                _change(database, entry, "live", reason)
            self._link(entry)  # where that fails, nothing is changed
        return self.entry(entry.name, entry.version)

    def _check_files(self, entry: Entry) -> None:
        """A version whose files are gone or damaged is not made live. Raises ModelError, RegistryError."""
        self.metadata(entry)
        path = self.folder(entry) / MODEL_FILE
        with _told(self.root, f"{path} cannot be read, nothing was changed"):
            found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != entry.model_hash:
            raise RegistryError(
                f"{path} is not the model that was registered: SHA-256 {found[:16]}..., registered was "
                f"{entry.model_hash[:16]}...; nothing was changed; restore the file, or train again"
            )

    def _link(self, entry: Entry) -> None:
        """``saved_model`` to the version, in one step."""
        link = self.root / entry.name / LIVE_LINK
        fresh = link.with_name(f"{_NEW}{os.getpid()}")
        with _told(self.root, "nothing was changed"):
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(entry.version)
            fresh.rename(link)


@contextlib.contextmanager
def _told(root: Path, outcome: str) -> Iterator[None]:
    """Failures of the disk as RegistryError."""
    try:
        yield
    except OSError as error:
        remedy = "free some space" if error.errno == errno.ENOSPC else "check the folder and its owner"
        raise RegistryError(f"registry {root}: {error.strerror or error}; {outcome}; {remedy}") from error


def _sync(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _entry(row: sqlite3.Row) -> Entry:
    values: dict[str, Any] = dict(row)
    values["metrics"] = msgspec.json.decode(values["metrics"])
    values["unbeaten"] = tuple(msgspec.json.decode(values["unbeaten"]))
    values["calibrated"] = bool(values["calibrated"])
    return Entry(**values)


def _insert(database: sqlite3.Connection, entry: Entry) -> None:
    values = {name: getattr(entry, name) for name in Entry.__struct_fields__}
    values["metrics"] = msgspec.json.encode(entry.metrics).decode()
    values["unbeaten"] = msgspec.json.encode(entry.unbeaten).decode()
    names = ", ".join(values)
    database.execute(
        f"INSERT INTO models ({names}) VALUES ({', '.join('?' * len(values))})", tuple(values.values())
    )


def _change(database: sqlite3.Connection, entry: Entry, status: Status, reason: str) -> None:
    database.execute(
        "UPDATE models SET status = ? WHERE name = ? AND version = ?", (status, entry.name, entry.version)
    )
    _note(database, entry, entry.status, status, reason)


def _note(database: sqlite3.Connection, entry: Entry, before: str, after: str, reason: str) -> None:
    database.execute(
        "INSERT INTO changes (at, name, version, before, after, reason) VALUES (?, ?, ?, ?, ?, ?)",
        (_now(), entry.name, entry.version, before, after, reason),
    )
