"""All models of a run as one set: which outputs are whose, how a member is replaced, what is outside their training.

A member is known by its ``metadata.name``. Where the outputs of a member lie never changes while an engine runs: who is
swapped in for it must have as many, of the same names, and one that is new comes behind all others.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from hft_engine.config.outputs import ENSEMBLE, names_of
from hft_engine.config.schema import EnsembleConfig, InferenceConfig
from hft_engine.inference.errors import ModelError
from hft_engine.inference.joined import Combined, Term, join_tables
from hft_engine.inference.model import CompiledModel, FeatureSchema, load_model
from hft_engine.inference.tables import Tables
from hft_engine.records import FEATURES_MAX, OUTPUTS_MAX

NO_MODEL_ID = -1
NOT = "not "  # before an output's name: the probability that it is not


class Member(Struct, frozen=True, eq=False):
    """A model and the index of the first of its outputs."""

    model: CompiledModel
    first_output: int

    @property
    def names(self) -> tuple[str, ...]:
        meta = self.model.metadata
        return names_of(meta.name, meta.classes, self.model.output_count)


class ModelSet(Struct, frozen=True, eq=False):
    """``names``: of the outputs, in order. ``limits``: see ``inference.strange``.

    ``model_id``: of one model its own; of several, or with an ensemble, the first eight bytes, without their highest
    bit, of the SHA-256 of what they are: their SHA-256 and first outputs, and the ensemble. -1: no model.
    """

    members: tuple[Member, ...]
    ensemble: EnsembleConfig | None
    ensemble_output: int  # -1 without one
    names: tuple[str, ...]
    model_id: int
    tables: Tables
    limits: NDArray[np.float64]

    def with_model(self, model: CompiledModel) -> "ModelSet":
        """The set with ``model`` in the place of the member of its name, or behind all. Raises ModelError."""
        name = model.metadata.name
        old = next((member for member in self.members if member.model.metadata.name == name), None)
        if old is None:
            return _made((*self.members, Member(model, len(self.names))), self.ensemble, self.ensemble_output)
        new = Member(model, old.first_output)
        if new.names != old.names:
            raise ModelError(
                f"model {name} {model.metadata.version} puts out {', '.join(new.names)}; the one in use puts out "
                f"{', '.join(old.names)}, which rules refer to; name it in inference.models and start again"
            )
        members = tuple(new if member is old else member for member in self.members)
        return _made(members, self.ensemble, self.ensemble_output)

    def about(self) -> list[dict[str, str]]:
        """Name, version and SHA-256 of each member, as sessions and views tell them."""
        metas = [member.model.metadata for member in self.members]
        return [{"model": meta.name, "version": meta.version, "sha256": meta.sha256} for meta in metas]

    def title(self) -> str:
        """For people, in one line."""
        return "; ".join(title_of(member.model) for member in self.members) or "no model"


def title_of(model: CompiledModel) -> str:
    """A model for people, in one line."""
    meta = model.metadata
    return f"model {meta.name} {meta.version}, {len(model.ensemble.trees)} trees, SHA-256 {meta.sha256[:16]}"


def load_set(config: InferenceConfig, schema: FeatureSchema, paths: Sequence[Path] | None = None) -> ModelSet:
    """The configured models, from ``paths`` where given, else from where the configuration says. Raises ModelError."""
    files = [Path(path) for path in config.paths] if paths is None else paths
    return make_set([load_model(path, schema) for path in files], config.ensemble)


def make_set(models: Sequence[CompiledModel], ensemble: EnsembleConfig | None = None) -> ModelSet:
    """The set of ``models``, their outputs one after the other, then the ensemble's. Raises ModelError."""
    names = [model.metadata.name for model in models]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ModelError(
            f"inference.models: two are called {twice!r}; name one of them, or train it by another name"
        )
    starts = np.cumsum([0, *(model.output_count for model in models)]).tolist()
    members = tuple(Member(model, first) for model, first in zip(models, starts[:-1], strict=True))
    return _made(members, ensemble, starts[-1] if ensemble is not None else -1)


def _made(members: tuple[Member, ...], ensemble: EnsembleConfig | None, ensemble_output: int) -> ModelSet:
    places = {member.first_output + k: name for member in members for k, name in enumerate(member.names)}
    combined = None
    if ensemble is not None:
        combined = _combined(ensemble, {name: k for k, name in places.items()}, ensemble_output)
        places[ensemble_output] = ENSEMBLE
    names = tuple(places[k] for k in sorted(places))
    _check_names(names)
    model_id = _id_of(members, combined)
    starts = [member.first_output for member in members]
    tables = join_tables([member.model.tables for member in members], starts, model_id, combined)
    return ModelSet(members, ensemble, ensemble_output, names, model_id, tables, _limits(members))


def _check_names(names: tuple[str, ...]) -> None:
    if len(names) > OUTPUTS_MAX:
        raise ModelError(
            f"inference: the models have {len(names)} outputs ({', '.join(names)}), a prediction holds {OUTPUTS_MAX}; "
            "leave one out, or train it with fewer classes"
        )
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ModelError(
            f"inference: two outputs are called {twice!r}; train one of the models by another name"
        )


def _combined(config: EnsembleConfig, places: dict[str, int], output: int) -> Combined:
    weights = config.weights or (1.0,) * len(config.outputs)
    terms: list[Term] = []
    for wanted, weight in zip(config.outputs, weights, strict=True):
        name = wanted.removeprefix(NOT)
        if name not in places:
            raise ModelError(
                f"inference.ensemble.outputs: no model puts out {name!r}; there are: {', '.join(places) or 'none'}"
            )
        terms.append((places[name], weight, wanted.startswith(NOT)))
    return Combined(config.method == "stacking", terms, config.intercept, output)


def _id_of(members: tuple[Member, ...], ensemble: Combined | None) -> int:
    if not members:
        return NO_MODEL_ID
    if len(members) == 1 and ensemble is None:
        return members[0].model.model_id
    told = [f"{member.model.metadata.sha256} {member.first_output}" for member in members]
    if ensemble is not None:
        told.append(f"{ensemble.transform.name} {ensemble.output} {ensemble.points.tobytes().hex()}")
    digest = hashlib.sha256("\n".join(told).encode()).digest()
    return int.from_bytes(digest[:8], "big") & 0x7FFF_FFFF_FFFF_FFFF


def _limits(members: tuple[Member, ...]) -> NDArray[np.float64]:
    """The narrowest range that a feature had in the training of a member whose trees ask for it."""
    low, high = np.full(FEATURES_MAX, -np.inf), np.full(FEATURES_MAX, np.inf)
    for member in members:
        for slot, least, most in member.model.ranges:
            low[slot], high[slot] = max(low[slot], least), min(high[slot], most)
    limited = np.isfinite(low)
    return np.concatenate([[float(limited.sum())], low, high])
