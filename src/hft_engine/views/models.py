"""What `hft models` shows: the registry's versions, one of them, and what differs between two."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from hft_engine.models.registry import CARD, Entry, Registry

_SHOWN = ("auc", "average_precision", "log_loss", "brier", "accuracy")


def listing(registry: Registry, name: str, as_json: bool) -> None:
    entries = registry.entries(name)
    if as_json:
        print(msgspec.json.encode(entries).decode())
        return
    table = Table(
        title=f"{registry.root}", title_justify="left", box=None, padding=(0, 2, 0, 0), pad_edge=False
    )
    for column in ("model", "version", "status", "AUC", "does not beat"):  # narrow enough for 80 columns
        table.add_column(column, no_wrap=column != "does not beat", overflow="fold")
    for entry in entries:
        table.add_row(
            entry.name,
            entry.version,
            entry.status,
            f"{entry.metrics['auc']:.4f}" if "auc" in entry.metrics else "",
            ", ".join(entry.unbeaten) or "-",
        )
    Console().print(
        table if entries else f"{registry.root} has no models yet; `hft train --data PATH` makes some"
    )


def one(registry: Registry, entry: Entry, as_json: bool) -> None:
    metadata, changes = registry.metadata(entry), registry.changes(entry.name, entry.version)
    if as_json:
        print(msgspec.json.encode({"entry": entry, "metadata": metadata, "changes": changes}).decode())
        return
    console = Console()
    console.print(f"[bold]{entry.name} {entry.version}[/]  {entry.status}")
    console.print(
        _facts({**facts_of(entry), "features": f"{len(metadata.features)}", "label": metadata.label})
    )
    for change in changes:
        console.print(f"  {change.at}  {change.before or '-'} → {change.after}  {change.reason}")
    console.print(f"card: {registry.folder(entry) / CARD}")


def facts_of(entry: Entry) -> dict[str, str]:
    return {
        "data": f"{_when(entry.begin_ns)} to {_when(entry.end_ns)} UTC",
        "data hash": entry.data_hash[:16],
        "code hash": entry.code_hash[:16],
        "feature hash": entry.feature_hash[:16],
        "model hash": entry.model_hash[:16],
        "parent": entry.parent or "-",
        "calibrated": "yes" if entry.calibrated else "no",
        **{key.replace("_", " "): f"{entry.metrics[key]:.4f}" for key in _SHOWN if key in entry.metrics},
        "does not beat": ", ".join(entry.unbeaten) or "-",
    }


def difference(registry: Registry, first: Entry, second: Entry, as_json: bool) -> None:
    """What differs between two versions: data, code, features, parameters, figures."""
    found = differences(registry, first, second)
    if as_json:
        print(msgspec.json.encode(found).decode())
        return
    table = Table()
    for column in ("", first.version, second.version):
        table.add_column(column)
    for name, (one_value, other) in found.items():
        table.add_row(name, one_value, other)
    Console().print(table if found else "the two versions do not differ")


def differences(registry: Registry, first: Entry, second: Entry) -> dict[str, tuple[str, str]]:
    """By name (of the first, of the second), where they are not the same."""
    sides: list[Mapping[str, Any]] = []
    for entry in (first, second):
        metadata = registry.metadata(entry)
        params = {f"param {key}": str(value) for key, value in metadata.params.items()}
        features = {f"feature {name}": "used" for name in metadata.features}
        threshold = {"threshold": f"{metadata.threshold:.4f}"}
        sides.append({"status": entry.status, **facts_of(entry), **threshold, **params, **features})
    names = dict.fromkeys([*sides[0], *sides[1]])
    pairs = {name: (str(sides[0].get(name, "-")), str(sides[1].get(name, "-"))) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _facts(rows: Mapping[str, str]) -> Table:
    table = Table(show_header=False)
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _when(ns: int) -> str:
    return datetime.fromtimestamp(ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S")
