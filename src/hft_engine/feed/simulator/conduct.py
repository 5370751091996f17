"""How a venue answers just now: its options, and what a scenario makes of them for a while."""

from typing import TypeVar

from msgspec.structs import replace

from hft_engine.feed.simulator.options import VenueOptions
from hft_engine.feed.simulator.scenario import AnswerStep, Plan, Step

Answer = TypeVar("Answer", bound=AnswerStep)


class Conduct:
    """``options`` as they hold now."""

    def __init__(self, options: VenueOptions) -> None:
        self._usual = options
        self._plans: list[Plan] = []
        self._answers: list[tuple[AnswerStep, list[int]]] = []  # and how many are left, -1: any number
        self.options = options

    def begin(self, step: Step) -> None:
        if isinstance(step, Plan):
            self._plans.append(step)
            self._apply()
        elif isinstance(step, AnswerStep):
            self._answers.append((step, [step.count or -1]))

    def end(self, step: Step) -> None:
        if isinstance(step, Plan):
            self._plans = [plan for plan in self._plans if plan is not step]
            self._apply()
        self._answers = [(other, left) for other, left in self._answers if other is not step]

    def _apply(self) -> None:
        self.options = self._usual
        for plan in self._plans:
            self.options = replace(
                self.options,
                websocket_in_plan=plan.websocket,
                realtime_in_plan=plan.realtime,
                channels_in_plan=plan.channels,
            )

    def answer(self, kind: type[Answer]) -> Answer | None:
        """The step of this kind that this answer is due to, or None; one answer less is left of it."""
        for step, left in self._answers:
            if isinstance(step, kind) and left[0]:
                left[0] -= 1
                return step
        return None
