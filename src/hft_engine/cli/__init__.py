"""The ``hft`` command: parsing only. Every error a person can cause ends in one message and a non-zero code."""

from typing import Any

import click

from hft_engine import __version__
from hft_engine.cli import checking, learning, recorded, running, tools, tuning
from hft_engine.cli.options import die


class _Commands(click.Group):
    """Turns the errors we mean for people into a message without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            if not type(error).__module__.startswith("hft_engine"):
                raise  # a fault of ours: the traceback belongs into the report
            die(str(error))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hft")
def main() -> None:
    """hft_engine: market data in, signals out, through shared memory, in microseconds."""
    from hft_engine.runtime import kernelcache

    kernelcache.use()


for _command in (
    running.start,
    running.stop,
    running.status,
    running.errors,
    running.lat,
    running.top,
    running.tail,
    running.latch,
    running.model,
    running.set_live,
    running.subscribe,
    running.unsubscribe,
    recorded.replay,
    recorded.backtest,
    recorded.explain,
    recorded.bias,
    recorded.journal,
    checking.parity,
    learning.train,
    learning.models,
    tuning.tune,
    tools.sim,
    tools.capture,
    tools.stream,
    tools.doctor,
    tools.config,
    tools.chaos,
    tools.warm,
):
    main.add_command(_command)
