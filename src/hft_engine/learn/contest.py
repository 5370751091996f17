"""Models side by side on the same rows: who is scored, on which blocks, and what the gate makes of it.

A block of time is scored once, when the labels of its rows are known; of a candidate only blocks that began after the
last row that it, or its rival, has learned from.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from hft_engine.config.schema import Config
from hft_engine.inference.model import CompiledModel
from hft_engine.inference.trees import predict
from hft_engine.learn.gate import Gate, Verdict, Watch, block_means
from hft_engine.learn.labels import UNKNOWN
from hft_engine.learn.measures import losses
from hft_engine.learn.samples import Samples, row_ns_of
from hft_engine.learn.standing import Standing
from hft_engine.learn.tasks import Task

Probabilities = Callable[[Samples], np.ndarray]  # float64[n, classes], one row for each of the samples
ROUNDING_S = 0.1  # rows a little more than a second apart are a second apart
REACH_SLACK = 1.5  # a series that rests for a while has fewer rows in the same time


def of_model(model: CompiledModel) -> Probabilities:
    """By the compiled pass, as the engine does."""

    def probabilities(samples: Samples) -> np.ndarray:
        outputs = np.asarray(predict(model.tables, samples.rows))
        return np.column_stack([1.0 - outputs[:, 0], outputs[:, 0]]) if outputs.shape[1] == 1 else outputs

    return probabilities


def of_standing(standing: Standing, name: str) -> Probabilities:
    def probabilities(samples: Samples) -> np.ndarray:
        columns = np.column_stack([samples.column(feature) for feature in standing.features])
        return standing.probabilities(columns)[name]

    return probabilities


@dataclass(frozen=True)
class Blocks:
    """Rows of complete blocks, with their classes. ``number`` int64[n]: the block of each row."""

    samples: Samples
    rows: np.ndarray
    classes: np.ndarray
    number: np.ndarray
    block_ns: int


def block_ns_of(samples: Samples, config: Config) -> int:
    """Length of a block, whole seconds. To be measured once: with another length the blocks have other numbers."""
    learning = config.learning
    seconds = learning.block_horizons * learning.prediction_horizon * row_ns_of(samples) / 1e9
    return max(1, math.ceil(seconds - ROUNDING_S)) * 1_000_000_000


def newest_block(task: Task, samples: Samples, config: Config, block_ns: int) -> int:
    """The last block whose rows' labels are known."""
    reach_ns = int(REACH_SLACK * task.reach(config) * row_ns_of(samples))
    return int((samples.ts_ns.max() - reach_ns) // block_ns) - 1


def complete_blocks(task: Task, samples: Samples, config: Config, block_ns: int) -> Blocks:
    """All blocks of the samples whose labels are known."""
    number = samples.ts_ns // block_ns
    classes = task.label(samples, config, np.ones(len(samples), np.bool_)).classes
    done = number <= newest_block(task, samples, config, block_ns)
    rows = np.flatnonzero(done & samples.usable & (classes != UNKNOWN))
    return Blocks(samples, rows, classes[rows], number[rows], block_ns)


def loss_of(probabilities: Probabilities, blocks: Blocks) -> np.ndarray:
    """float64[n]: log loss of each row of the blocks; a probability that is no number is the least there is."""
    given = np.nan_to_num(probabilities(blocks.samples)[blocks.rows], nan=0.0)
    return losses(given, blocks.classes)


@dataclass
class Pairing:
    """One model against one rival, block by block. ``after_ns``: rows until then may have been learned from."""

    after_ns: int
    _last: int = field(default=-1)

    def differences(self, blocks: Blocks, ours: np.ndarray, theirs: np.ndarray) -> list[float]:
        """Of blocks not seen before, in order of time: mean log loss of the rival minus ours."""
        fresh = (blocks.number > self._last) & (blocks.number * blocks.block_ns > self.after_ns)
        if not fresh.any():
            return []
        stamps = blocks.samples.ts_ns[blocks.rows][fresh]
        means = block_means((theirs - ours)[fresh], stamps, blocks.block_ns)
        self._last = max(means)
        return [means[number] for number in sorted(means)]


class Trial:
    """A candidate against every rival: it must be better than each."""

    def __init__(
        self, candidate: Probabilities, rivals: Mapping[str, Probabilities], config: Config, after_ns: int
    ):
        self._candidate, self._rivals = candidate, rivals
        self.gates = {name: Gate(config.learning.gate_effect) for name in rivals}
        self._pairings = {name: Pairing(after_ns) for name in rivals}
        self._verdicts = dict.fromkeys(rivals, Verdict.UNDECIDED)

    def score(self, blocks: Blocks) -> Verdict:
        """Whoever is beaten once is beaten; one rival that is not is enough to refuse."""
        ours = loss_of(self._candidate, blocks)
        for name, rival in self._rivals.items():
            theirs = loss_of(rival, blocks)
            for difference in self._pairings[name].differences(blocks, ours, theirs):
                if self._verdicts[name] is Verdict.UNDECIDED:
                    self._verdicts[name] = self.gates[name].add(difference)
        verdicts = set(self._verdicts.values())
        if Verdict.NOT_BETTER in verdicts:
            return Verdict.NOT_BETTER
        return Verdict.UNDECIDED if Verdict.UNDECIDED in verdicts else Verdict.BETTER

    @property
    def reason(self) -> str:
        """Where it is refused, of those that it did not beat."""
        lost = [name for name, verdict in self._verdicts.items() if verdict is Verdict.NOT_BETTER]
        return "; ".join(f"against {name} {self.gates[name].reason}" for name in lost or self.gates)

    @property
    def blocks(self) -> int:
        return max(gate.blocks for gate in self.gates.values())


class Vigil:
    """A promoted model beside the one that was live before it."""

    def __init__(self, live: Probabilities, before: Probabilities, after_ns: int) -> None:
        self._live, self._before = live, before
        self.watch = Watch()
        self._pairing = Pairing(after_ns)
        self._sum = 0.0

    def score(self, blocks: Blocks) -> bool:
        """Whether it is proven worse by now."""
        ours, theirs = loss_of(self._live, blocks), loss_of(self._before, blocks)
        for difference in self._pairing.differences(blocks, ours, theirs):
            self._sum += difference
            if self.watch.add(difference):
                return True
        return False

    @property
    def reason(self) -> str:
        mean = self._sum / max(1, self.watch.blocks)
        told = f"{mean:+.4f} nats a row over {self.watch.blocks} blocks, evidence {self.watch.evidence:.3g}"
        return f"worse than the one before it: {told}"
