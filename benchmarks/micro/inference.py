"""Time of one row through a model of 100 trees x 31 leaves over 30 features, row by row, 20,000 different rows.

Two fields, each row by row on one thread, the same rows, two looks at the clock included:

    in compiled code   our traversal, as the stage calls it; LightGBM's C API (single row, fast configuration);
                       the model as C by treelite and tl2cgen, ``cc -O3``; the model as machine code by lleaves
    from Python        the same four, the peers through ctypes with their pointers made beforehand; Booster.predict

Each also over the same rows with every column shuffled by itself; and after 10 ms asleep before every call, as a stage
that waits parked finds its caches; ours after 10 ms of spinning too, alone and touched every TOUCH_NS as the engine's
chain of stages does under ``spin`` and ``yield``. The model is trained on random labels, whose lopsided trees let most
rows off with few decisions; ours and the C API also on a model of learnable labels. Outputs are compared with
``Booster.predict``: ours must be equal bit for bit; of a peer the table shows the difference. treelite and lleaves are
given rows without missing values, which they handle at a further cost. ``--with-lleaves`` installs lleaves and the
older llvmlite that it needs into a folder that is removed again.

Which compiled model is fastest depends on the rows: treelite and lleaves branch at each node, ours does not.
"""

import functools
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit, types

from benchmarks import harness, workload
from benchmarks.harness import LeftOutError
from benchmarks.micro import inference_batches
from benchmarks.micro import inference_peers as peers
from hft_engine.inference.lightgbm_text import parse_model
from hft_engine.inference.model_trees import Tree, Trees
from hft_engine.inference.tables import Tables, build_tables
from hft_engine.inference.trees import evaluate, touch
from hft_engine.runtime.chain import TOUCH_NS
from hft_engine.shm.atomics import spin_hint
from hft_engine.shm.clock import mono_ns

TOLERANCE = 1e-12
WRONG_MAX = 0.01  # of a peer's rows: it may have a defect, it may not answer another question
IDLE_US = 10_000
OURS, PYTHON, BOOSTER = "ours", "ours from Python", "Booster.predict"
C_API, TREELITE, LLEAVES = "C API", "treelite", "lleaves"
_AWAKE, _ASLEEP, _SPINNING = 0, 1, 2
_usleep = types.ExternalFunction("usleep", types.int32(types.uint32))


@njit(nogil=True)
def _each_row(kernel, context, rows, out, spent, idle):  # type: ignore[no-untyped-def]
    for i in range(len(rows)):
        if idle == _ASLEEP:
            _usleep(IDLE_US)
        elif idle == _SPINNING:
            due = mono_ns() + IDLE_US * 1_000
            while mono_ns() < due:
                spin_hint()
        started = mono_ns()
        kernel(context, rows[i], out[i])
        spent[i] = mono_ns() - started


@njit(nogil=True)
def traverse(context, row, out):  # type: ignore[no-untyped-def]
    header, columns, nodes, bits, points, scratch = context
    evaluate(header, columns, nodes, bits, points, scratch, row, out)


@njit(nogil=True)
def _each_row_touched(context, rows, out, spent):  # type: ignore[no-untyped-def]
    header, columns, nodes, bits, points, scratch = context
    spare = np.zeros_like(out[0])
    for i in range(len(rows)):
        due = mono_ns() + IDLE_US * 1_000
        touched = mono_ns()
        while mono_ns() < due:
            spin_hint()
            if mono_ns() - touched >= TOUCH_NS:
                touch(header, columns, nodes, bits, points, scratch, rows[i - 1], spare)
                touched = mono_ns()
        started = mono_ns()
        evaluate(header, columns, nodes, bits, points, scratch, rows[i], out[i])
        spent[i] = mono_ns() - started


@dataclass(frozen=True)
class Run:
    """``spent``: ns of each row; ``out``: its output."""

    spent: np.ndarray
    out: np.ndarray

    def us(self, percent: float) -> float:
        return float(np.percentile(self.spent, percent)) / 1e3


def compiled(kernel: Any, context: tuple[Any, ...], rows: np.ndarray, idle: int = _AWAKE) -> Run:
    """Row by row from compiled code."""
    out, spent = np.zeros((len(rows), 1)), np.zeros(len(rows), np.int64)
    _each_row(kernel, context, rows[:1], out[:1], spent, _AWAKE)
    out[0] = 0.0
    _each_row(kernel, context, rows, out, spent, idle)
    return Run(spent, out[:, 0])


def touched(tables: Tables, rows: np.ndarray) -> Run:
    """Ours after 10 ms of spinning in which the model was touched."""
    out, spent = np.zeros((len(rows), 1)), np.zeros(len(rows), np.int64)
    _each_row_touched(context_of(tables), rows[:1], out[:1], spent)
    _each_row_touched(context_of(tables), rows, out, spent)
    return Run(spent, out[:, 0])


def from_python(function: Callable[..., Any], arguments: list[tuple[Any, ...]], idle: int) -> np.ndarray:
    """ns of each call. What it returns is dropped."""
    spent = np.zeros(len(arguments), np.int64)
    for i, given in enumerate(arguments):
        if idle:
            time.sleep(IDLE_US / 1e6)
        started = time.perf_counter_ns()
        function(*given)
        spent[i] = time.perf_counter_ns() - started
    return spent


def peer_from_python(peer: peers.Peer, rows: np.ndarray, idle: int = _AWAKE) -> Run:
    """A peer's C function through ctypes."""
    out = np.zeros(len(rows))
    first, step = rows.ctypes.data, rows.strides[0]
    arguments = [peer.arguments(first + i * step, out.ctypes.data + 8 * i) for i in range(len(rows))]
    return Run(from_python(peer.function, arguments, idle), out)


def ours_from_python(tables: Tables, rows: np.ndarray, idle: int = _AWAKE) -> Run:
    out = np.zeros((len(rows), 1))
    arguments = [(*context_of(tables), row, result) for row, result in zip(rows, out, strict=True)]
    return Run(from_python(evaluate, arguments, idle), out[:, 0])


def booster_predict(booster: Any, rows: np.ndarray, idle: int = _AWAKE) -> Run:
    """``Booster.predict`` on one thread."""
    out = np.zeros(len(rows))

    def predict(i: int, row: np.ndarray) -> None:
        out[i] = booster.predict(row, num_threads=1)[0]

    return Run(from_python(predict, [(i, rows[i : i + 1]) for i in range(len(rows))], idle), out)


def leaf_depths(tree: Tree) -> np.ndarray:
    """Decisions on the way to each leaf of a tree."""
    inner, leaves = np.zeros(len(tree.left_child), np.int64), np.zeros(len(tree.leaf_value), np.int64)
    for node, children in enumerate(zip(tree.left_child, tree.right_child, strict=True)):
        for child in children:  # a child's number is above its parent's
            depths, at = (leaves, ~child) if child < 0 else (inner, child)
            depths[at] = inner[node] + 1
    return leaves


def _depth_note(booster: Any, trees: Trees, rows: np.ndarray) -> str:
    # What a traversal that branches pays for; ours pays for the lane whose trees have the most.
    reached = np.asarray(booster.predict(rows, pred_leaf=True))
    depths = [leaf_depths(tree)[reached[:, i]] for i, tree in enumerate(trees)]
    mean, deepest = np.mean(depths), np.mean([leaf_depths(tree).max() for tree in trees])
    return f"inference: rows meet {mean:.1f} decisions a tree; its deepest leaf is behind {deepest:.1f}, on average."


def context_of(tables: Tables) -> tuple[np.ndarray, ...]:
    return tables.header, tables.columns, tables.nodes, tables.bits, tables.points, tables.row


Contender = Callable[[np.ndarray, int], Run]


def contenders(
    report: harness.Report, stack: ExitStack, booster: Any, tables: Tables, model: Path, with_lleaves: bool
) -> dict[str, Contender]:
    """By name: what takes rows and a kind of idleness through one way of asking the model."""
    fast = stack.enter_context(peers.FastConfig(model, booster.num_feature()))
    makers = {
        C_API: fast.peer,
        TREELITE: lambda: peers.treelite(model, model.parent),
        LLEAVES: lambda: _lleaves(model, with_lleaves),
    }
    found = report.gather(makers)
    all_: dict[str, Contender] = {
        OURS: lambda rows, idle: compiled(traverse, context_of(tables), rows, idle),
        **{name: functools.partial(_in_compiled_code, peer) for name, peer in found.items()},
        PYTHON: functools.partial(ours_from_python, tables),
        **{_ctypes(name): functools.partial(peer_from_python, peer) for name, peer in found.items()},
        BOOSTER: functools.partial(booster_predict, booster),
    }
    return all_


def _lleaves(model: Path, wanted: bool) -> peers.Peer:
    if not wanted:
        raise LeftOutError("it needs an older llvmlite than ours; remedy: --with-lleaves")
    return peers.lleaves(model, model.parent)


def _in_compiled_code(peer: peers.Peer, rows: np.ndarray, idle: int) -> Run:
    return compiled(peer.kernel, peer.context, rows, idle)


def _ctypes(name: str) -> str:
    return f"{name} through ctypes"


def measure(
    report: harness.Report, all_: dict[str, Contender], rows: np.ndarray, idle: int = _AWAKE
) -> dict[str, list[Run]]:
    """Every contender over the rows, in turn."""
    return report.interleave({name: functools.partial(run, rows, idle) for name, run in all_.items()})


def check(runs: dict[str, list[Run]], expected: np.ndarray) -> dict[str, np.ndarray]:
    """The differences of each contender from ``Booster.predict``, row by row, the worst run.

    Raises RuntimeError where ours differs at all, or a peer beyond rounding in so many rows that it must have been
    asked something else.
    """
    differences: dict[str, np.ndarray] = {}
    for name, several in runs.items():
        worst = np.max([np.abs(run.out - expected) for run in several], axis=0)
        wrong = float(np.mean(~(worst <= TOLERANCE)))
        if wrong > WRONG_MAX or (name in (OURS, PYTHON) and worst.any()):
            raise RuntimeError(
                f"{name} differs by up to {worst.max()} in {wrong:.1%} of the rows: "
                "what is fast must be right first"
            )
        differences[name] = worst
    return differences


@dataclass(frozen=True)
class Measurements:
    """Runs by contender. ``warm``: the market's rows, one after the other; ``shuffled``: each column of them mixed by
    itself, so that no branch can be foreseen; ``asleep``: 10 ms asleep before each row; ``spinning``, ``touched``: ours
    only. ``differences``: see ``check``."""

    warm: dict[str, list[Run]]
    shuffled: dict[str, list[Run]]
    asleep: dict[str, list[Run]]
    spinning: list[Run]
    touched: list[Run]
    differences: dict[str, np.ndarray]


def add_figures(report: harness.Report, m: Measurements) -> None:
    """Ours beside the C API, each peer beside ours, each from where ours was called from too."""
    warm, p99, shuffled = _us(m.warm, 50), _us(m.warm, 99), _us(m.shuffled, 50)
    asleep = _us(m.asleep, 50)
    c_api = "C API, single row fast, in compiled code"
    report.add("inference_p50_us", warm[OURS], "us", (c_api, warm[C_API]), target=2.0)
    report.add("inference_p99_us", p99[OURS], "us", (c_api, p99[C_API]))
    report.add("inference_shuffled_p50_us", shuffled[OURS], "us", (c_api, shuffled[C_API]))
    through = "C API, single row fast, through ctypes"
    report.add("inference_from_python_p50_us", warm[PYTHON], "us", (through, warm[_ctypes(C_API)]))
    awake = ("ours, never idle", warm[OURS])
    limit = 3 * harness.Measured(tuple(warm[OURS])).median
    idle = [run.us(50) for run in m.touched]
    report.add("inference_idle_10ms_p50_us", idle, "us", awake, target=limit)
    report.add("inference_asleep_10ms_p50_us", asleep[OURS], "us", awake)
    spinning = [run.us(50) for run in m.spinning]
    report.add("inference_spinning_10ms_p50_us", spinning, "us", awake)
    for name in (name for name in warm if name not in (OURS, PYTHON)):
        ours = OURS if _ctypes(name) in warm else PYTHON
        slug = name.lower().replace(".", "_").replace(" through ", "_").replace(" ", "_")
        report.add(f"inference_{slug}_p50_us", warm[name], "us", (ours, warm[ours]))
        if ours == OURS:
            report.add(f"inference_{slug}_p99_us", p99[name], "us", (ours, p99[ours]))
            report.add(
                f"inference_{slug}_shuffled_p50_us", shuffled[name], "us", ("ours, shuffled", shuffled[ours])
            )
            report.add(
                f"inference_{slug}_asleep_10ms_p50_us", asleep[name], "us", ("ours, asleep", asleep[ours])
            )


def learnable(report: harness.Report, rows: np.ndarray) -> None:
    """Ours and the C API with a model whose labels can be learnt."""
    import lightgbm

    with tempfile.TemporaryDirectory(prefix="hft_bench-") as directory, ExitStack() as stack:
        model = Path(directory) / "model.txt"
        text = workload.train_model(model, rows, learnable=True)
        booster = lightgbm.Booster(model_str=text)
        ensemble = parse_model(text.encode(), "benchmark model")
        tables = build_tables(ensemble, range(rows.shape[1]))
        peer = stack.enter_context(peers.FastConfig(model, rows.shape[1])).peer()
        both: dict[str, Contender] = {
            OURS: lambda given, idle: compiled(traverse, context_of(tables), given, idle),
            C_API: functools.partial(_in_compiled_code, peer),
        }
        runs = measure(report, both, rows)
        check(runs, np.asarray(booster.predict(rows, num_threads=1)))
        p50 = _us(runs, 50)
    c_api = "C API, single row fast, in compiled code"
    report.add("inference_learnable_p50_us", p50[OURS], "us", (c_api, p50[C_API]), target=2.0)
    report.add("inference_learnable_c_api_p50_us", p50[C_API], "us", ("ours", p50[OURS]))
    report.note("Learnable labels: " + _depth_note(booster, ensemble.trees, rows[:1_000]))


def show_table(report: harness.Report, m: Measurements) -> None:
    """Medians over the runs, for people."""

    def cells(name: str, asleep: list[Run]) -> list[str]:
        sets = ((m.warm[name], 50), (m.warm[name], 99), (m.shuffled[name], 50), (asleep, 50), (asleep, 99))
        p50, p99, shuffled, slept, slept_99 = (
            harness.Measured(tuple(run.us(percent) for run in runs)).median for runs, percent in sets
        )
        figures = [harness.number(value) for value in (p50, p99, shuffled, slept, slept_99)]
        return [name, *figures, f"{slept / p50:.3g}", _difference(m.differences[name])]

    table = [cells(name, m.asleep[name]) for name in m.warm]
    table.insert(1, ["ours, spinning 10 ms, not asleep", *cells(OURS, m.spinning)[1:]])
    header = ("us a row", "p50", "p99", "shuffled p50", "idle p50", "idle p99", "idle / p50", "result")
    table.insert(1, ["ours, touched every 0.5 ms of 10", *cells(OURS, m.touched)[1:]])
    report.show("in a row, columns shuffled, and after 10 ms asleep before each row", header, table)


def _us(runs: dict[str, list[Run]], percent: float) -> dict[str, list[float]]:
    return {name: [run.us(percent) for run in several] for name, several in runs.items()}


def _difference(rows: np.ndarray) -> str:
    if not rows.any():
        return "equal"
    wrong = int(np.sum(rows > TOLERANCE))
    return f"{wrong:,} rows WRONG, by up to {rows.max():.2g}" if wrong else f"up to {rows.max():.1e}"


def reading(report: harness.Report, text: str, width: int) -> None:
    """The text of a model made ready to predict, by us and by LightGBM: what a swap does beside the ticks."""
    import lightgbm

    def ours() -> object:
        return build_tables(parse_model(text.encode(), "benchmark model"), range(width))

    def theirs() -> object:
        return lightgbm.Booster(model_str=text)

    ways = {OURS: ours, "Booster(model_str)": theirs}
    runs = report.interleave({name: functools.partial(_read_ms, read) for name, read in ways.items()})
    report.add(
        "inference_model_read_ms", runs[OURS], "ms", ("Booster(model_str)", runs["Booster(model_str)"])
    )


def _read_ms(read: Callable[[], object]) -> float:
    """The median of ten."""
    spent = []
    for _ in range(10):
        began = time.perf_counter()
        read()
        spent.append(time.perf_counter() - began)
    return float(np.median(spent)) * 1e3


def _arguments(parser: harness.Parser) -> None:
    parser.add_argument(
        "--with-lleaves", action="store_true", help="make an environment for lleaves and measure it"
    )


def main() -> int:
    import lightgbm

    report = harness.Report("inference", harness.options(__doc__ or "", extra=_arguments))
    report.progress("training a model ...")
    rows = workload.model_rows(report.opts.count(20_000, 10_000))
    with tempfile.TemporaryDirectory(prefix="hft_bench-") as directory, ExitStack() as stack:
        model = Path(directory) / "model.txt"
        text = workload.train_model(model, rows)
        booster = lightgbm.Booster(model_str=text)
        ensemble = parse_model(text.encode(), "benchmark model")
        tables = build_tables(ensemble, range(rows.shape[1]))
        report.progress("making the contenders ...")
        all_ = contenders(report, stack, booster, tables, model, report.opts.extra["with_lleaves"])
        expected = np.asarray(booster.predict(rows, num_threads=1))
        measured = measure_all(report, all_, tables, rows, expected)
        few = report.opts.count(6_400, 1_280)
        inference_batches.add_figures(report, booster, tables, rows[:few], expected[:few])
    add_figures(report, measured)
    learnable(report, rows)
    reading(report, text, rows.shape[1])
    show_table(report, measured)
    few = len(measured.spinning[0].out)
    report.note(f"inference: {len(rows):,} rows, {few} after idleness, each run; ours equal bit for bit.")
    report.note(_depth_note(booster, ensemble.trees, rows[:1_000]))
    if (measured.differences.get(TREELITE, np.zeros(1)) > TOLERANCE).any():
        report.note(
            "treelite's C takes a number whose low 32 bits are all ones for missing: hence its wrong rows."
        )
    return report.finish()


def measure_all(
    report: harness.Report,
    all_: dict[str, Contender],
    tables: Tables,
    rows: np.ndarray,
    expected: np.ndarray,
) -> Measurements:
    """Everything, checked. ``expected``: the right output of each row."""
    few = rows[: report.opts.count(200, 30)]
    mixed = np.random.default_rng(3).permuted(rows, axis=0)
    measure(harness.Report("inference", harness.Options(runs=1)), all_, rows[:100])  # compiles
    report.sense_jitter()
    warm, shuffled = measure(report, all_, rows), measure(report, all_, mixed)
    asleep = measure(report, all_, few, _ASLEEP)
    spinning = measure(report, {OURS: all_[OURS]}, few, _SPINNING)[OURS]
    warmed = report.measure("ours, touched", lambda: touched(tables, few))
    report.sense_jitter()
    return Measurements(warm, shuffled, asleep, spinning, warmed, check(warm, expected))


if __name__ == "__main__":
    raise SystemExit(main())
