"""``hft sim``: a simulated venue as a program of its own, until it is interrupted."""

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

import click
import msgspec

from hft_engine.config.schema import SimulatorConfig
from hft_engine.feed.recorded import RecordingError
from hft_engine.feed.simulator.scenario import ScenarioError, shipped
from hft_engine.feed.simulator.serving import LOOPBACK, Address, make_venue, serve
from hft_engine.feed.simulator.source import SYNTHETIC
from hft_engine.feed.simulator.vendors import VENDORS
from hft_engine.feed.simulator.venue import Venue, VenueError

_DEFAULTS = SimulatorConfig()
DEMO = "demo"


@click.command(name="sim", help="Serve a simulated vendor on this machine until interrupted.")
@click.argument("vendor", type=click.Choice(list(VENDORS)), default="polygon")
@click.option("--host", default=LOOPBACK, show_default=True)
@click.option("--port", default=_DEFAULTS.port, show_default=True, help="of the websocket; 0 = any free one")
@click.option("--rest-port", default=0, show_default=True, help="of the REST side; 0 = any free one")
@click.option(
    "--rest/--no-rest", default=None, help="a REST side; without either: where the extra web is there"
)
@click.option(
    "--source",
    default=DEMO,
    show_default=True,
    help='"demo" (a synthetic market), or recorded files, comma between',
)
@click.option("--scenario", default="", help=f"what goes wrong: a YAML file or one of {', '.join(shipped())}")
@click.option("--truth", type=click.Path(path_type=Path), help="file for what was really sent, lost, ...")
@click.option(
    "--speed",
    default=_DEFAULTS.speed,
    show_default=True,
    help="of a recording: 1 = real time, 0 = full speed",
)
@click.option("--seed", default=_DEFAULTS.seed, show_default=True)
@click.option(
    "--instruments", default=_DEFAULTS.instruments, show_default=True, help="symbols or option contracts"
)
@click.option("--ticks-per-s", default=_DEFAULTS.ticks_per_s, show_default=True)
@click.option("--api-key", default=_DEFAULTS.api_key, show_default=True)
@click.option("--events-per-frame-max", default=_DEFAULTS.events_per_frame_max, show_default=True)
def command(
    vendor: str,
    host: str,
    rest_port: int,
    rest: bool | None,
    source: str,
    scenario: str,
    truth: Path | None,
    **settings: object,
) -> None:
    try:
        wanted = {"source": SYNTHETIC if source == DEMO else source, "scenario": scenario, **settings}
        config = msgspec.convert(wanted, SimulatorConfig)
        with ExitStack() as files:
            file = files.enter_context(truth.open("wb")) if truth else None
            with_rest = _has_web() if rest is None else rest
            venue = make_venue(config, vendor, rest=with_rest, truth_file=file)
            _serve_until_signal(venue, host, rest_port)
    except (msgspec.ValidationError, RecordingError, ScenarioError, VenueError, OSError) as error:
        raise click.ClickException(str(error)) from error


def _has_web() -> bool:
    found = all(find_spec(name) is not None for name in ("starlette", "uvicorn"))
    if not found:
        click.echo("no REST side: pip install 'hft-engine[web]'")
    return found


@contextmanager
def _stopping_at_signal(stop: threading.Event) -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: stop.set()) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _serve_until_signal(venue: Venue, host: str, rest_port: int) -> None:
    stop = threading.Event()
    click.echo(f"source: {venue.source.description}")
    if venue.scenario.about:
        click.echo(f"scenario: {venue.scenario.about}")

    def announce(address: Address) -> None:
        where = " and ".join(filter(None, address))
        click.echo(f"serving {where}, key {venue.config.api_key!r}; Ctrl-C stops")

    with _stopping_at_signal(stop):
        counts = serve(venue, host, rest_port=rest_port, stop=stop, on_ready=announce)
    click.echo(
        f"stopped: {counts.connections} connections, {counts.frames} frames, {counts.events} events, "
        f"{counts.auth_failures} refused keys, {counts.slow_consumer_kills} slow readers dropped"
    )
    if venue.truth is not None:
        click.echo(
            "truth: " + (", ".join(f"{n} {fate}" for fate, n in venue.truth.counts.items()) or "nothing")
        )


def main(argv: list[str] | None = None) -> int:
    """``hft sim``. Returns the exit code."""
    try:
        command.main(args=argv, prog_name="hft sim", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return 130
    return 0
