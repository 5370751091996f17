"""What a simulated venue does wrong, and when, as data: a scenario is a YAML file of closed, checked steps.

``docs/simulators.md`` describes the language; ``scenarios/`` beside this file has the shipped ones. Nothing here
knows a clock: ``Timeline`` is told what time it is.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import msgspec
import yaml
from msgspec import Meta, Struct

from hft_engine.config.schema import Channel, Fraction, NonNegative, Positive
from hft_engine.feed.simulator.options import VenueOptions

SHIPPED = Path(__file__).parent / "scenarios"
STEPS_MAX = 1_000
TICKS_MAX = 1 << 62  # more than any venue ever sends
Seconds = Annotated[float, Meta(ge=0.0)]


class ScenarioError(Exception):
    """The scenario cannot be used; the text names file, place and remedy."""


class Step(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="fault"):
    """A fault and its time: ``at_s`` after the first client came, or once ``after_ticks`` ticks that somebody had
    asked for were due. It ends after ``lasts_s`` (0: never), and begins again every ``every_s`` (0: once).
    """

    lasting: ClassVar[bool] = True

    at_s: Seconds = 0.0
    after_ticks: NonNegative = 0
    lasts_s: Seconds = 0.0
    every_s: Seconds = 0.0


# ---- on the stream of ticks


class StreamStep(Step, frozen=True, kw_only=True):
    """Of these symbols and channels only; empty: of all."""

    symbols: tuple[str, ...] = ()
    channels: tuple[Channel, ...] = ()


class Mute(StreamStep, frozen=True, kw_only=True, tag="mute"):
    """Nothing comes; it does not come later either."""


class Loss(StreamStep, frozen=True, kw_only=True, tag="loss"):
    """A share of the ticks, drawn at random, is never sent."""

    share: Fraction


class Missing(StreamStep, frozen=True, kw_only=True, tag="missing"):
    """The next ``ticks`` ticks are never sent."""

    ticks: Positive


class Duplicate(StreamStep, frozen=True, kw_only=True, tag="duplicate"):
    """A share of the ticks is sent twice, the second time right after the first."""

    share: Fraction


class Reorder(StreamStep, frozen=True, kw_only=True, tag="reorder"):
    """A share of the ticks is sent after the next tick of the same symbol and channel."""

    share: Fraction


class Lag(StreamStep, frozen=True, kw_only=True, tag="lag"):
    """Ticks come ``delay_ms`` late, a delay that grows from nothing in ``ramp_s``; at the end all that waits comes."""

    delay_ms: Positive
    ramp_s: Seconds = 0.0


class Skew(StreamStep, frozen=True, kw_only=True, tag="clock-skew"):
    """The venue's clock is wrong by ``offset_ms``: its stamps, not when ticks come."""

    offset_ms: int


class Halt(Step, frozen=True, kw_only=True, tag="halt"):
    """Trading stops: one last quote with condition ``code`` (43 LULD pause, 27 news pending), then nothing, and at
    the end a quote with condition 16 (resume). No trade and no quote exists meanwhile, over REST neither.
    """

    symbols: Annotated[tuple[str, ...], Meta(min_length=1)]
    code: Literal[27, 36, 37, 38, 43] = 43


# ---- on how the venue answers


class AnswerStep(Step, frozen=True, kw_only=True):
    """In force until ``count`` answers were given (0: no limit)."""

    count: NonNegative = 0


class AuthFailure(AnswerStep, frozen=True, kw_only=True, tag="auth-failure"):
    """The right key is refused."""


class UpgradeRefusal(AnswerStep, frozen=True, kw_only=True, tag="upgrade-refusal"):
    """The websocket is refused with an HTTP status."""

    status: Annotated[int, Meta(ge=400, le=599)] = 503


class RestFailure(AnswerStep, frozen=True, kw_only=True, tag="rest-failure"):
    """REST requests end with ``status``; ``body`` empty, as a 429 was seen, or the vendor's text."""

    status: Annotated[int, Meta(ge=400, le=599)] = 429
    body: Literal["vendor", "empty"] = "vendor"


class Plan(Step, frozen=True, kw_only=True, tag="plan"):
    """The plan has less than everything."""

    websocket: bool = True
    realtime: bool = True
    channels: tuple[Channel, ...] = ("T", "Q", "A", "AM", "FMV", "LULD")


# ---- on connections


class ConnectionStep(Step, frozen=True, kw_only=True):
    """At once, on the authenticated connections that there are: ``all``, or the ``oldest`` or ``newest`` one."""

    lasting: ClassVar[bool] = False

    which: Literal["all", "oldest", "newest"] = "all"


class Drop(ConnectionStep, frozen=True, kw_only=True, tag="drop"):
    """TCP ends without a close frame, once what was sent has left."""


class Close(ConnectionStep, frozen=True, kw_only=True, tag="close"):
    """A clean websocket close with ``code``."""

    code: Annotated[int, Meta(ge=1000, le=4999)] = 1001


class HalfOpen(ConnectionStep, frozen=True, kw_only=True, tag="half-open"):
    """The connection stays, nothing comes, no ping is answered; after ``lasts_s`` (0: never) it ends."""


class HalfFrame(ConnectionStep, frozen=True, kw_only=True, tag="half-frame"):
    """Half a data frame, then as ``half-open``, but what the client sends is read."""


class Kick(ConnectionStep, frozen=True, kw_only=True, tag="kick"):
    """The vendor's answer to one connection too many."""


class SlowConsumerKill(ConnectionStep, frozen=True, kw_only=True, tag="slow-consumer-kill"):
    """As if the connection's buffer had run over: it ends, what waits is lost."""


Fault = (
    Mute | Loss | Missing | Duplicate | Reorder | Lag | Skew | Halt | AuthFailure | UpgradeRefusal | RestFailure
    | Plan | Drop | Close | HalfOpen | HalfFrame | Kick | SlowConsumerKill
)  # fmt: skip


class Scenario(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``sequence`` contiguous: the venue numbers each channel of each symbol 1, 2, 3, ...; increasing: as the source
    has them, with gaps, as the real venue. ``seed``: of whatever a step draws.
    """

    about: str = ""
    seed: NonNegative = 1
    sequence: Literal["increasing", "contiguous"] = "increasing"
    venue: VenueOptions = VenueOptions()
    steps: Annotated[tuple[Fault, ...], Meta(max_length=STEPS_MAX)] = ()


# Converted, not called: msgspec looks annotations up at their first use, and crashes where threads do so at once.
CALM = msgspec.convert({}, Scenario)


def shipped() -> tuple[str, ...]:
    """Names of the shipped scenarios."""
    return tuple(sorted(path.stem for path in SHIPPED.glob("*.yaml")))


def load_scenario(name: str) -> Scenario:
    """The shipped scenario of this name, or the file at this path. Raises ScenarioError."""
    path = SHIPPED / f"{name}.yaml" if name in shipped() else Path(name)
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
        return msgspec.convert(found or {}, Scenario)
    except OSError as error:
        raise ScenarioError(
            f"scenario {name}: {error.strerror or error}; name a file or one of: {', '.join(shipped())}"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ScenarioError(f"scenario {path}: not readable as YAML: {error}") from error
    except msgspec.ValidationError as error:
        raise ScenarioError(f"scenario {path}: {error}; docs/simulators.md describes every key") from error


class _Turn:
    """Where one step stands."""

    def __init__(self, step: Fault) -> None:
        self.step = step
        self.begins_s = step.at_s
        self.ends_s: float | None = None  # None: not begun, or without an end
        self.due = True

    def begin(self, now_s: float, ticks: int) -> bool:
        if not self.due or now_s < self.begins_s or ticks < self.step.after_ticks:
            return False
        if self.step.lasting and self.step.lasts_s:
            self.ends_s = now_s + self.step.lasts_s
        self.due = self.step.every_s > 0
        self.begins_s = now_s + self.step.every_s
        return True

    def end(self, now_s: float) -> bool:
        if self.ends_s is None or now_s < self.ends_s:
            return False
        self.ends_s = None
        return True


class Timeline:
    """``advance`` says what begins and ends. Steps at 0 s begin at the first call, whoever came by then."""

    def __init__(self, scenario: Scenario) -> None:
        self._turns = [_Turn(step) for step in scenario.steps]

    def advance(self, now_s: float, ticks: int) -> Iterator[tuple[Fault, bool]]:
        """(step, True) for one that begins at ``now_s`` with ``ticks`` ticks due so far, (step, False) for one that
        ends; ends come first.
        """
        yield from [(turn.step, False) for turn in self._turns if turn.end(now_s)]
        yield from [(turn.step, True) for turn in self._turns if turn.begin(now_s, ticks)]

    def ticks_left(self, ticks: int) -> int:
        """How many more ticks may be due before a step begins by their count; TICKS_MAX where none does."""
        waiting = (turn.step.after_ticks - ticks for turn in self._turns if turn.due)
        return min((left for left in waiting if left > 0), default=TICKS_MAX)
