"""The lines of a feed: the one that ``feed`` itself describes, called ``main``, and those of ``feed.lines``."""

from collections.abc import Iterator

from msgspec.structs import asdict, replace

from hft_engine.config.schema import FeedConfig, LineConfig
from hft_engine.config.validate import Problem, suggest

MAIN = "main"
MIRRORS_MAX = 3  # of one line
LINES_MAX = 64  # connections of a feed, their parts counted: what ``hft status`` has room for


def line_configs(feed: FeedConfig) -> dict[str, FeedConfig]:
    """By name, each line as a whole feed of one line. A mirror has the symbols and channels of what it mirrors."""
    alone = replace(feed, lines={})
    return {MAIN: alone} | {name: _filled(line, alone, feed.lines) for name, line in feed.lines.items()}


def mirrored(feed: FeedConfig, name: str) -> str:
    """The line whose ticks the line ``name`` brings: itself, unless it is a mirror."""
    return (feed.lines[name].mirrors or name) if name in feed.lines else name


def _filled(line: LineConfig, feed: FeedConfig, lines: dict[str, LineConfig]) -> FeedConfig:
    model = feed
    if line.mirrors is not None and line.mirrors in lines:
        model = _filled(replace(lines[line.mirrors], mirrors=None), feed, lines)
    given = {key: value for key, value in asdict(line).items() if value is not None and key != "mirrors"}
    if given.get("venue", model.venue) != model.venue:
        given = {
            "url": None,
            "delayed_url": None,
            "map": None,
            "api_key": "",
        } | given  # those are the other venue's
    return replace(model, **given)


def check_lines(feed: FeedConfig) -> Iterator[Problem]:
    """What no single key of ``feed.lines`` can say."""
    if MAIN in feed.lines:
        yield Problem(f"feed.lines.{MAIN}", "is the line that feed itself describes; give it another name")
    for name, line in feed.lines.items():
        yield from _check_mirror(feed, name, line)
    for name in (MAIN, *feed.lines):
        mirrors = [other for other, line in feed.lines.items() if line.mirrors == name]
        if len(mirrors) > MIRRORS_MAX:
            yield Problem(f"feed.lines.{mirrors[-1]}.mirrors", f"{name} has {MIRRORS_MAX} mirrors already")
    if all(line.mirrors in (None, MAIN) or line.mirrors in feed.lines for line in feed.lines.values()):
        yield from _check_overlaps(feed)


def _check_mirror(feed: FeedConfig, name: str, line: LineConfig) -> Iterator[Problem]:
    path = f"feed.lines.{name}"
    if line.mirrors is None:
        return
    others = [MAIN, *(other for other in feed.lines if other != name)]
    if line.mirrors not in others:
        yield Problem(f"{path}.mirrors", f"no line {line.mirrors!r}{suggest(line.mirrors, others)}")
    elif line.mirrors != MAIN and feed.lines[line.mirrors].mirrors is not None:
        yield Problem(f"{path}.mirrors", f"{line.mirrors} is a mirror itself; name the line that it mirrors")
    for key in ("channels", "symbols"):
        if getattr(line, key) is not None:
            yield Problem(f"{path}.{key}", f"a mirror has those of the line that it mirrors; leave {key} out")


def _check_overlaps(feed: FeedConfig) -> Iterator[Problem]:
    """Two lines that bring the same ticks without being mirrors of each other would bring each twice."""
    owners: dict[tuple[str, str], str] = {}
    for name, config in line_configs(feed).items():
        own = mirrored(feed, name)
        for pair in ((channel, symbol) for channel in config.channels for symbol in config.symbols):
            other = owners.setdefault(pair, own)
            if other != own:
                yield Problem(
                    f"feed.lines.{name}",
                    f"{pair[1]} on channel {pair[0]} comes from line {other} already; name other symbols or "
                    f"channels, or mirrors: {other}, and whichever is first wins",
                )
                break
