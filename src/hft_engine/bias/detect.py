"""The look-ahead detector: the same past with another future must give the same past.

    the recording ──┬─ as it is ───────────── features, bars, signals, orders
                    ├─ once more ──────────── the same, or something reads a clock or a random number
                    ├─ cut off at t ───────── the same before t, or something knows what came later
                    ├─ other prices from t ── the same before t
                    └─ begun later ────────── what still differs at the end remembers its past (told, no fault)

Every run sees copies of the recorded files at their own relative paths, in a folder that stands for the current one;
so what an extension or a strategy reads of them by itself is cut and changed with the rest. A file outside is copied
aside; who opens the original is named.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np

from hft_engine.backtest.run import with_strategy
from hft_engine.bias.compare import Finding, Memory, differences, memories
from hft_engine.bias.plan import Outcome, ProbeEnd, ProbePlan, read_outcome
from hft_engine.bias.rewrite import NEVER_NS, Future, rewrite
from hft_engine.bias.sandbox import Sandbox
from hft_engine.config.schema import Config
from hft_engine.indicators.features import feature_schema
from hft_engine.instruments import InstrumentTable
from hft_engine.replay import ReplayError, open_source

TICKS_MAX = 50_000
CUTS = 2
LATE_SHARE = 0.3  # of the ticks that the run which begins later does not see
END_SHARE = 0.1  # of the records at the end that are compared with it
TIMEOUT_S = 900


class BiasError(RuntimeError):
    """The detector could not run; the text says why."""


class BiasReport(msgspec.Struct, frozen=True):
    ticks: int
    cuts: tuple[int, ...]  # tick sequences
    runs: int
    compared: dict[str, int]  # records of each kind before the last cut
    findings: tuple[Finding, ...]
    unsteady: tuple[Finding, ...]  # differ in a second run of the very same
    memories: tuple[Memory, ...]

    @property
    def clean(self) -> bool:
        return not self.findings and not self.unsteady


class _Variant(msgspec.Struct, frozen=True):
    name: str
    why: str
    future: Future
    cut: int  # tick sequence
    begin_ns: int = 0


def detect(
    config: Config,
    paths: Sequence[str],
    ticks_max: int = TICKS_MAX,
    cuts: int = CUTS,
    say: Callable[[str], None] = lambda text: None,
) -> BiasReport:
    """Runs ``config`` over ``paths`` with other futures. ``ticks_max``: no more ticks of the recording than these.

    Raises BiasError, ReplayError and what the readers of the files raise.
    """
    stamps = _stamps(paths, config, ticks_max)
    end_ns = int(stamps[-1]) + 1
    variants = _variants(stamps, cuts)
    with tempfile.TemporaryDirectory(prefix="hft-bias-") as folder:
        sandbox = Sandbox(Path(folder), paths)
        config = sandbox.absolute(with_strategy(config))
        plans = [_prepare(sandbox, variant, stamps, end_ns, config) for variant in variants]
        say(f"{len(plans)} runs over {len(stamps):,} ticks ...")
        ends = _probe(plans)
        runs = _outcomes(plans, ends)
        return _judge(config, variants, runs, ends, stamps)


def _stamps(paths: Sequence[str], config: Config, ticks_max: int) -> np.ndarray:
    """Receive times of the ticks that are used."""
    missing = [path for path in paths if not Path(path).exists()]
    if missing:
        raise ReplayError(f"no such file: {', '.join(missing)}")
    table = InstrumentTable.private(config.engine.instruments_max)
    parts, count = [], 0
    for chunk in open_source(paths, table):
        parts.append(chunk["ts_recv_ns"].copy())
        count += len(chunk)
        if count > ticks_max:
            break
    stamps: np.ndarray = np.concatenate(parts) if parts else np.zeros(0, np.int64)
    if count > ticks_max:  # whole instants only: a file is cut between two of them
        stamps = stamps[: int(np.searchsorted(stamps, stamps[ticks_max]))]
    if len(stamps) < 10:
        raise BiasError(f"{len(stamps)} ticks are too few to find anything; give more")
    return stamps


def _variants(stamps: np.ndarray, cuts: int) -> list[_Variant]:
    found = [
        _Variant("base", "", Future.KEEP, len(stamps)),
        _Variant("again", "a second run of the very same", Future.KEEP, len(stamps)),
    ]
    for k in range(1, cuts + 1):
        # The first tick of an instant. Not at round shares: a bar must be open at a cut.
        cut = int(np.searchsorted(stamps, stamps[int(len(stamps) * (k - 0.13) / (cuts + 0.2))]))
        if cut > 0:
            found.append(_Variant(f"cut{k}", f"history ends at tick {cut:,}", Future.CUT, cut))
            found.append(_Variant(f"shift{k}", f"other prices from tick {cut:,} on", Future.SHIFT, cut))
    late = int(stamps[int(len(stamps) * LATE_SHARE)])
    return [*found, _Variant("late", "history begins later", Future.KEEP, len(stamps), late)]


def _prepare(
    sandbox: Sandbox, variant: _Variant, stamps: np.ndarray, end_ns: int, config: Config
) -> ProbePlan:
    folder = sandbox.folder_of(variant.name)
    cut_ns = int(stamps[variant.cut]) if variant.cut < len(stamps) else NEVER_NS
    for source, target in sandbox.copies(folder):
        rewrite(source, target, variant.future, cut_ns, end_ns)
    return ProbePlan(
        str(folder),
        sandbox.names,
        str(sandbox.root / f"{variant.name}.npz"),
        tuple(str(path) for path in sandbox.originals),
        config,
        variant.begin_ns,
    )


def _probe(plans: Sequence[ProbePlan]) -> list[ProbeEnd]:
    done = subprocess.run(
        [sys.executable, "-m", "hft_engine.bias.probe"],
        input=msgspec.msgpack.encode(plans),
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        raise BiasError(f"the detector's process failed: {done.stderr.decode(errors='replace')[-2_000:]}")
    return msgspec.msgpack.decode(done.stdout, type=list[ProbeEnd])


def _outcomes(plans: Sequence[ProbePlan], ends: Sequence[ProbeEnd]) -> list[Outcome]:
    for plan, end in zip(plans, ends, strict=True):
        if end.error:
            raise BiasError(f"run {Path(plan.output).stem} failed: {end.error}")
    return [read_outcome(Path(plan.output)) for plan in plans]


def _judge(
    config: Config,
    variants: Sequence[_Variant],
    runs: Sequence[Outcome],
    ends: Sequence[ProbeEnd],
    stamps: np.ndarray,
) -> BiasReport:
    base, features = runs[0], feature_schema(config.indicators).names
    rules = [rule.name for rule in config.signals.rules]
    unsteady = differences(base, runs[1], len(stamps), features, rules, variants[1].why)
    noisy = {(finding.kind, finding.name) for finding in unsteady}
    findings: dict[tuple[str, str], Finding] = {}
    for variant, run in zip(variants[2:-1], runs[2:-1], strict=True):
        for found in differences(base, run, variant.cut, features, rules, variant.why):
            if (found.kind, found.name) not in noisy:
                findings.setdefault((found.kind, found.name), found)
    for path in dict.fromkeys(path for end in ends for path in end.opened):
        findings["input", path] = Finding(
            "input", path, "", 0, 0, "", "", "a run opened the recording itself"
        )
    skipped = int(np.searchsorted(stamps, variants[-1].begin_ns))
    last = max(variant.cut for variant in variants[2:-1])
    return BiasReport(
        ticks=len(stamps),
        cuts=tuple(dict.fromkeys(variant.cut for variant in variants[2:-1])),
        runs=len(runs),
        compared={
            "feature": int(np.searchsorted(base.heads[:, 0], last)),
            "bar": int(np.sum(base.bars["source_sequence"] < last)),
            "signal": int(np.sum(base.signals["source_sequence"] < last)),
            "order": int(np.sum(base.orders["source_sequence"] < last)),
        },
        findings=tuple(findings.values()),
        unsteady=tuple(unsteady),
        memories=tuple(memories(base, runs[-1], skipped, features, END_SHARE)),
    )
