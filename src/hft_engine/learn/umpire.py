"""Who is tried against whom, and what becomes of them: the registry's state, carried into the engine.

Each round: what is live in the registry is brought into the engine where it is not there yet; each task's candidate in
shadow is scored against the live model, or where none is live against the baselines of its training; each live model
that took another's place is scored against that one. A decision is a change in the registry with its reason, an event,
and a swap. So ``hft models promote`` and ``rollback`` reach a running engine in the same way as the gate's decisions.
"""

from collections.abc import Callable
from pathlib import Path

import msgspec

from hft_engine.config.schema import Config
from hft_engine.inference.model import CompiledModel, FeatureSchema, load_model
from hft_engine.learn.contest import (
    Blocks,
    Probabilities,
    Trial,
    Vigil,
    block_ns_of,
    complete_blocks,
    newest_block,
    of_model,
    of_standing,
)
from hft_engine.learn.gate import Verdict
from hft_engine.learn.samples import Samples
from hft_engine.learn.standing import FILE as STANDING
from hft_engine.learn.standing import Standing
from hft_engine.learn.tasks import TASKS
from hft_engine.models.registry import Entry, Registry, RegistryError
from hft_engine.models.saved import MODEL_FILE
from hft_engine.runtime.control import Client
from hft_engine.runtime.faultpoints import fault_point
from hft_engine.runtime.messages import ControlError, SwapModel

ROWS_MIN = 200  # of fewer it is not known how long a block is
SWAP_TRIES = 5  # rounds: inference may be starting again
DEATHS_MAX = 2  # of the process while a candidate was scored: it is refused then
MEMORY_FILE = "shadow.json"  # in the run directory: what the next life must know


class Told(msgspec.Struct, frozen=True):
    """For the actor to count and to say; a thread must not use its socket."""

    kind: str = ""
    text: str = ""
    counter: str = ""
    count: int = 1
    fault: bool = False


class Memory(msgspec.Struct):
    """``scoring``: the candidate that is scored now; ``deaths``: of the process, by candidate; ``deployed``: the
    version of each task that the engine was told to use."""

    scoring: str = ""
    deaths: dict[str, int] = {}
    deployed: dict[str, str] = {}


class Umpire:
    """Used by one thread. ``doing``: what, for whoever waits for it. Raises RegistryError where that cannot be used."""

    def __init__(
        self,
        config: Config,
        schema: FeatureSchema,
        registry: Registry,
        run_dir: Path,
        tell: Callable[[Told], None],
    ) -> None:
        self._config, self._schema, self._registry = config, schema, registry
        self._run_dir, self._tell = run_dir, tell
        self._path = run_dir / MEMORY_FILE
        self._memory = _remembered(self._path)
        self._trials: dict[str, tuple[tuple[str, str], Trial]] = {}
        self._vigils: dict[str, tuple[tuple[str, str], Vigil]] = {}
        self._scored: dict[str, tuple[object, ...]] = {}
        self._refusals: dict[str, int] = {}
        self._block_ns = 0  # of this life, once it is known
        self.doing = "nothing"
        if self._memory.scoring:
            self._memory.deaths[self._memory.scoring] = self._memory.deaths.get(self._memory.scoring, 0) + 1
            self._memory.scoring = ""
            self._remember()

    def round(self, samples: Samples | None) -> None:
        """``samples``: the rows there are, None where there are none yet."""
        for name in self._config.learning.tasks:
            entries = self._registry.entries(name)
            live = next((entry for entry in entries if entry.status == "live"), None)
            shadow = [entry for entry in entries if entry.status == "shadow"]
            self._deploy(live)
            for older in shadow[:-1]:
                self._refuse(older, "a newer candidate took its place")
            before = self._registry.before_live(name) if live is not None else None
            if samples is not None and len(samples) >= ROWS_MIN and (shadow or before is not None):
                self._score(name, samples, shadow[-1] if shadow else None, live, before)

    def _score(
        self, name: str, samples: Samples, candidate: Entry | None, live: Entry | None, before: Entry | None
    ) -> None:
        """Where there is a new block, or somebody new to be scored: labels are dear."""
        who = [entry.version if entry is not None else "" for entry in (candidate, live, before)]
        block_ns = self._block_ns or block_ns_of(samples, self._config)
        self._block_ns = block_ns
        state = (newest_block(TASKS[name], samples, self._config, block_ns), *who)
        if self._scored.get(name) == state:
            return
        self._scored[name] = state
        blocks = complete_blocks(TASKS[name], samples, self._config, block_ns)
        if candidate is not None:
            self._try(candidate, live, blocks)
        if live is not None and before is not None:
            self._look_after(live, before, blocks)

    # ---- the engine ---------------------------------------------------------------------------------------------

    def _deploy(self, live: Entry | None) -> None:
        if live is None or live.feature_hash != self._schema.hash:
            return  # of a configuration with other features: nothing that this engine could use
        if self._memory.deployed.get(live.name) == live.version:
            return
        self.doing = f"swapping to {live.name} {live.version}"
        client = Client(self._run_dir)
        try:
            client.request(SwapModel(str(self._registry.folder(live) / MODEL_FILE)), "inference")
        except ControlError as refusal:
            key = f"{live.name} {live.version}"
            self._refusals[key] = self._refusals.get(key, 0) + 1
            if self._refusals[key] >= SWAP_TRIES:
                self._undo(live, str(refusal))
        else:
            self._memory.deployed[live.name] = live.version
            self._remember()
            self._tell(Told("model_deployed", f"{live.name} {live.version} predicts from now on"))
        finally:
            client.close()

    def _undo(self, live: Entry, refusal: str) -> None:
        """What the engine does not take is not live."""
        reason = f"the engine refused it: {refusal}"
        if self._registry.before_live(live.name) is not None:
            self._registry.roll_back(live.name, reason)
        else:
            self._registry.set_status(live.name, live.version, "refused", reason)
        self._tell(Told("swap_refused", f"{live.name} {live.version}: {reason}", "swaps_refused", fault=True))

    # ---- candidates ---------------------------------------------------------------------------------------------

    def _try(self, candidate: Entry, live: Entry | None, blocks: Blocks) -> None:
        key = f"{candidate.name} {candidate.version}"
        if self._memory.deaths.get(key, 0) >= DEATHS_MAX:
            self._refuse(candidate, f"its scoring ended the process {DEATHS_MAX} times")
            return
        self._memory.scoring, self.doing = key, f"scoring {key}"
        self._remember()
        try:
            fault_point("shadow.score")
            trial = self._trial(candidate, live)
            before = trial.blocks
            verdict = trial.score(blocks)
        except Exception as error:  # noqa: BLE001 - whatever a candidate does to its scoring, it is the candidate's end
            self._refuse(candidate, f"it cannot be scored: {type(error).__name__}: {error}")
            return
        finally:
            self._memory.scoring = ""
            self._remember()
        self._tell(Told(counter="blocks", count=trial.blocks - before))
        if verdict is Verdict.NOT_BETTER:
            self._refuse(candidate, trial.reason)
        elif verdict is Verdict.BETTER:
            self._promote(candidate, trial.reason)

    def _trial(self, candidate: Entry, live: Entry | None) -> Trial:
        """The one that goes on, or a new one where candidate or rival have changed."""
        key = (candidate.version, live.version if live is not None else "")
        if candidate.name not in self._trials or self._trials[candidate.name][0] != key:
            after_ns = max(candidate.end_ns, live.end_ns if live is not None else 0)
            trial = Trial(
                of_model(self._model(candidate)), self._rivals(candidate, live), self._config, after_ns
            )
            self._trials[candidate.name] = key, trial
            rivals = ", ".join(trial.gates)
            self._tell(
                Told("model_shadowed", f"{candidate.name} {candidate.version} is scored beside {rivals}")
            )
        return self._trials[candidate.name][1]

    def _rivals(self, candidate: Entry, live: Entry | None) -> dict[str, Probabilities]:
        if live is not None and live.feature_hash == self._schema.hash:
            return {f"the live {live.version}": of_model(self._model(live))}
        standing = msgspec.json.decode(
            (self._registry.folder(candidate) / STANDING).read_bytes(), type=Standing
        )
        return {name: of_standing(standing, name) for name in ("majority", "logistic")}

    def _model(self, entry: Entry) -> CompiledModel:
        return load_model(self._registry.folder(entry) / MODEL_FILE, self._schema)

    def _refuse(self, candidate: Entry, reason: str) -> None:
        self._registry.set_status(candidate.name, candidate.version, "refused", reason)
        self._trials.pop(candidate.name, None)
        self._tell(Told("gate_refusal", f"{candidate.name} {candidate.version}: {reason}", "refused"))

    def _promote(self, candidate: Entry, reason: str) -> None:
        self._trials.pop(candidate.name, None)
        try:
            live = self._registry.promote(candidate.name, candidate.version, force=True, reason=reason)
        except RegistryError as error:
            self._refuse(candidate, str(error))
            return
        self._tell(Told("model_promoted", f"{live.name} {live.version}: {reason}", "promoted"))
        self._deploy(live)

    # ---- after a promotion --------------------------------------------------------------------------------------

    def _look_after(self, live: Entry, before: Entry, blocks: Blocks) -> None:
        if live.feature_hash != self._schema.hash or before.feature_hash != self._schema.hash:
            return
        key = (live.version, before.version)
        if live.name not in self._vigils or self._vigils[live.name][0] != key:
            begin_ns = int(blocks.samples.ts_ns.max())
            vigil = Vigil(of_model(self._model(live)), of_model(self._model(before)), begin_ns)
            self._vigils[live.name] = key, vigil
        vigil = self._vigils[live.name][1]
        self.doing = f"scoring {live.name} {live.version}"
        if vigil.score(blocks):
            del self._vigils[live.name]
            self._registry.roll_back(live.name, vigil.reason)
            self._tell(
                Told(
                    "model_rolled_back",
                    f"{live.name} {live.version}: {vigil.reason}",
                    "rolled_back",
                    fault=True,
                )
            )
            self._deploy(self._registry.live(live.name))

    def _remember(self) -> None:
        draft = self._path.with_suffix(".draft")
        draft.write_bytes(msgspec.json.encode(self._memory))
        draft.replace(self._path)


def _remembered(path: Path) -> Memory:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Memory)
    except FileNotFoundError:
        return Memory()
