"""The status object as tables for a terminal; `hft status` prints them once, `hft top` again and again."""

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

BAR_CELLS = 12
_STYLES = {
    "running": "green",
    "live": "green",
    "finished": "green",
    "starting": "yellow",
    "connecting": "yellow",
    "authenticating": "yellow",
    "subscribing": "yellow",
    "replaying": "yellow",
    "stopping": "yellow",
    "quiet": "yellow",
    "backoff": "red",
}
# Counters that say that something was lost, left out or refused: shown as soon as they are not zero.
_LOSSES = (
    "rejected",
    "quarantine",
    "unknown",
    "dropped",
    "gap",
    "late",
    "failed",
    "unjournaled",
    "holes",
    "lapped",
    "shed",
    "suppressed",
    "cooldown",
    "weak",
    "unpriced",
    "congested",
    "duplicates",
    "losses",
    "hung",
    "errors",
    "missing",
    "reordered",
    "repeated",
    "crossed",
    "unobserved",
    "lost",
)
_STATES_SHOWN = (
    "gapped",
    "stale",
    "halted",
    "lagging",
    "repaired",
)  # of an instrument's data, in the header by name
_WORST_SHOWN = 5


def overview(state: dict[str, Any], signals: RenderableType | None = None) -> Group:
    """Header, the feed's lines if several, actors, rings, latency, losses, below them the latest signals if given."""
    parts: list[RenderableType] = [header(state)]
    if len(state["feed"]["lines"]) > 1:
        parts.append(lines(state["feed"]["lines"]))
    parts += [actors(state["actors"]), rings(state["rings"])]
    parts.append(latencies(state["latency_us"]))
    lost = losses(state["counters"])
    if lost:
        parts.append(Panel(Text(lost), title="left out or lost", title_align="left", border_style="yellow"))
    if signals is not None:
        parts.append(signals)
    return Group(*parts)


def header(state: dict[str, Any]) -> Panel:
    feed = state["feed"]
    text = Text.assemble(
        styled(state["state"]),
        f"  {state['run_id']}  {state['layout']}  up {duration(state['uptime_s'])}\nfeed ",
        feed["venue"],
        " ",
        styled(feed["state"]),
        (" DELAYED DATA", "bold yellow") if any(line["delayed"] for line in feed["lines"]) else "",
        f"  {feed['frames']:,} frames  {feed['events']:,} events  {feed['rejected']:,} rejected  "
        f"{feed['gaps']:,} gaps  {feed['reconnects']:,} reconnects\n",
        (f"{state['signals']['published']:,} signals", "bold"),
        "  ",
        _errors(state["errors"]),
    )
    models = models_line(state["models"])
    if models:
        text.append(f"\n{models}")
    if state["learning"] is not None:
        text.append(f"\n{learning_line(state['learning'])}")
    health = health_line(state["health"])
    if health.plain:
        text.append("\n").append_text(health)
    if state["trading_latch"]:
        text.append(f"\norders latched off: {state['trading_latch']}", style="bold red")
    return Panel(text, title="hft engine", title_align="left")


def models_line(models: dict[str, Any]) -> str:
    """ "models peak_detection 3, entry_timing 2; 1,204 of 90,000 records out of distribution" """
    if not models["members"]:
        return ""
    named = ", ".join(f"{each['model']} {each['version']}" for each in models["members"])
    strange = f"{models['out_of_distribution']:,} of {models['predicted']:,} records out of distribution"
    return f"models {named}; {strange}" if models["out_of_distribution"] else f"models {named}"


def learning_line(learning: dict[str, int]) -> str:
    """ "training 45 %, 4,021 rows; 3 models trained, 1 promoted, 1 refused, 0 rolled back; 20 blocks scored" """
    done = learning["permille"]
    now = "between trainings" if done < 0 else f"training {done / 10:.0f} %"
    return (
        f"{now}, {learning['rows']:,} rows; {learning['registered']:,} models trained, "
        f"{learning['promoted']:,} promoted, {learning['refused']:,} refused, "
        f"{learning['rolled_back']:,} rolled back; {learning['blocks']:,} blocks scored"
    )


def health_line(health: dict[str, Any]) -> Text:
    """ "data: 48 live, 2 quiet, 1 stale; venue's stamps reach us after 12.3 ms; AAPL trade stale (silence)"."""
    counted = [(name, count) for name, count in health["instruments"].items() if count]
    if not counted:
        return Text()
    bad = any(name in _STATES_SHOWN for name, _ in counted)
    text = Text("data ", "").append(
        ", ".join(f"{count:,} {name}" for name, count in counted), "yellow" if bad else "green"
    )
    text.append(f"; the venue's stamps reach us after {health['clock_offset_ms']:,.1f} ms")
    worst = [
        f"{w['symbol']} {w['channel']} {w['state']} ({w['cause']})" for w in health["worst"][:_WORST_SHOWN]
    ]
    return text.append("\n     " + ", ".join(worst), "yellow") if worst else text


def lines(rows: Sequence[dict[str, Any]]) -> Table:
    """The feed's connections, two rows of text each, so that 80 columns hold them. Lead: by how much its first copies
    came before those of the lines beside it.
    """
    counted = (">held\nno ack", ">events\nframes", ">reconnects\ngaps", ">first\nlead, µs")
    table = new_table("line\nvenue", "state", *counted)
    table.padding = 0
    for column in table.columns[1:]:
        column.no_wrap = True  # where there is not enough room, names are folded
    table.columns[0].overflow = "fold"
    for row in rows:
        name = f"{row['name']} = {row['mirrors']}" if row["mirrors"] else row["name"]
        first = row["first"] / max(row["first"] + row["second"], 1)
        lead = f"{first:.0%}\n{row['lead_us']['mean']:,}" if row["first"] else "-\n-"
        table.add_row(
            Text(f"{name}\n{row['venue']}"),
            Text.assemble(styled(row["state"]), ("\ndelayed", "bold yellow") if row["delayed"] else ""),
            Text.assemble(
                f"{row['held']:,}\n", (f"{row['acks_missing']:,}", "red" if row["acks_missing"] else "")
            ),
            f"{row['events']:,}\n{row['frames']:,}",
            f"{row['reconnects']:,}\n{row['gaps']:,}",
            lead,
        )
    return table


def _errors(errors: dict[str, int]) -> Text:
    if not errors["distinct"]:
        return Text("no errors", "green")
    return Text(f"{errors['distinct']} distinct errors, {errors['observed']:,} in all: hft errors", "red")


def actors(rows: Sequence[dict[str, Any]]) -> Table:
    table = new_table("actor", "state", ">pid", ">restarts", ">heartbeat")
    for row in rows:
        age = row["heartbeat_age_ms"]
        table.add_row(
            row["role"],
            styled(row["state"]),
            str(row["pid"]),
            str(row["restarts"]),
            "-" if age is None else f"{age:.0f} ms",
        )
    return table


def rings(rows: Sequence[dict[str, Any]]) -> Table:
    table = new_table("ring", ">published", "reader", ">lag", "of the ring", ">lapped")
    for row in rows:
        readers = row["readers"] or [{"role": "-", "lag": 0, "lapped": 0}]
        for i, reader in enumerate(readers):
            table.add_row(
                row["name"] if i == 0 else "",
                f"{row['published']:,}" if i == 0 else "",
                reader["role"],
                f"{reader['lag']:,}",
                bar(reader["lag"] / row["capacity"]),
                Text(f"{reader['lapped']:,}", "red" if reader["lapped"] else ""),
            )
    return table


def latencies(hops: dict[str, dict[str, float]]) -> Table:
    table = new_table("latency, µs", ">count", ">p50", ">p99", ">p99.9", ">max")
    for name, hop in hops.items():
        figures = (f"{hop[key]:,.1f}" for key in ("p50", "p99", "p999", "max"))
        table.add_row(name.replace("_to_", " → "), f"{hop['count']:,}", *figures)
    return table


def losses(counters: dict[str, dict[str, int]]) -> str:
    """ "feed: rejected 3, gaps 1; signals: weak 12", or nothing."""
    found = []
    for role, counted in counters.items():
        named = [f"{n} {v:,}" for n, v in counted.items() if v and any(word in n for word in _LOSSES)]
        if named:
            found.append(f"{role}: {', '.join(named)}")
    return "\n".join(found)


def bar(fraction: float) -> Text:
    """How much of the ring a reader is behind: full means that it is about to be lapped."""
    full = round(min(max(fraction, 0.0), 1.0) * BAR_CELLS)
    style = "green" if fraction < 0.5 else "yellow" if fraction < 0.9 else "red"
    return Text("█" * full + "·" * (BAR_CELLS - full), style)


def styled(state: str) -> Text:
    return Text(state, _STYLES.get(state, "bold red"))


def duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"


def new_table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column.lstrip(">"), justify="right" if column.startswith(">") else "left")
    return table
