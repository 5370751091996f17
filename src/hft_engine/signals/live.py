"""The rule table as it may change while it is used: by a person, and again in a replay or in a next life."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from hft_engine.config.errors import ConfigError
from hft_engine.config.live import changed
from hft_engine.config.outputs import output_names
from hft_engine.config.schema import Config, SignalsConfig
from hft_engine.runtime.actor import ActorContext, ControlError, FatalError
from hft_engine.runtime.schedule import Schedule
from hft_engine.runtime.session_events import SessionEvent, of_kinds
from hft_engine.signals.rules import rule_table


class LiveRules:
    """``table``: RULE_DTYPE, rewritten in place between two records when ``schedule`` comes to a change.

    What this session has recorded, or the one that is replayed, is scheduled at once.
    """

    def __init__(self, ctx: ActorContext, schedule: Schedule) -> None:
        """Raises FatalError for a rule on what is not there, or a recorded change of no rule of ours, and ConfigError
        for a model whose files do not say what it puts out.
        """
        self._ctx, self._schedule = ctx, schedule
        self._names = ctx.feature_schema.names, output_names(ctx.config.inference)
        self._config = ctx.config  # with every change that is scheduled so far
        self.table = _table(ctx.config.signals, *self._names)
        for event in of_kinds(ctx.recorded(), "config_change"):
            self._repeat(event)
        schedule.skip_missed(ctx, "predictions")

    def change(self, changes: Mapping[str, Any], tick: int) -> dict[str, object]:
        """All of ``changes`` from the first record of ``tick`` or later on. Raises ControlError, changing nothing."""
        try:
            config = changed(self._config, changes)
        except ConfigError as error:
            raise ControlError(str(error)) from error
        if not self._ctx.record("config_change", tick, {"changes": dict(changes)}):
            raise ControlError("the change cannot be recorded, so it was not made; is the disk full?")
        self._take(config, tick)
        told = ", ".join(f"{key}={value}" for key, value in changes.items())
        self._ctx.event("config_change", f"from tick {tick} on: {told}")
        return {**changes, "sequence": tick}

    def _repeat(self, event: SessionEvent) -> None:
        try:
            config = changed(self._config, event.data["changes"])
        except ConfigError as error:
            raise FatalError(
                f"the session changed its configuration at tick {event.sequence}, which does not go with this "
                f"configuration: {error}; replay it with its own (without --config)"
            ) from error
        self._take(config, event.sequence)

    def _take(self, config: Config, tick: int) -> None:
        self._config = config
        table = _table(config.signals, *self._names)

        def change() -> None:
            self.table[:] = table

        self._schedule.change_at(tick, change)


def _table(config: SignalsConfig, names: tuple[str, ...], outputs: tuple[str, ...]) -> np.ndarray:
    try:
        return rule_table(config, names, outputs)
    except ValueError as error:
        raise FatalError(f"signals.rules: {error}; correct the configuration") from None
