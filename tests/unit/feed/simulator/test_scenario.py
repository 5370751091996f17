"""The language of scenarios: what is refused, and when steps begin and end."""

from pathlib import Path

import pytest

from hft_engine.feed.simulator.scenario import (
    Drop,
    Loss,
    Mute,
    Scenario,
    ScenarioError,
    Timeline,
    load_scenario,
    shipped,
)

DOCS = Path(__file__).parents[4] / "docs/simulators.md"


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_scenario_loads_says_what_it_does_and_is_documented(name: str) -> None:
    scenario = load_scenario(name)
    assert scenario.about and (scenario.steps or scenario.venue)
    assert f"`{name}`" in DOCS.read_text()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("steps: [{fault: explode}]", "explode"),
        ("steps: [{fault: loss}]", "share"),
        ("steps: [{fault: loss, share: 2}]", "share"),
        ("steps: [{fault: mute, channel: [T]}]", "channel"),
        ("steps: [{fault: halt, symbols: []}]", "symbols"),
        ("sequence: random", "sequence"),
        ("venue: {no_such: 1}", "no_such"),
        ("speed: 3", "speed"),
        ("steps: [", "not readable as YAML"),
    ],
)
def test_what_is_wrong_is_named_with_its_file(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "plot.yaml"
    path.write_text(text)
    with pytest.raises(ScenarioError, match=words) as refused:
        load_scenario(str(path))
    assert str(path) in str(refused.value)


def test_an_unknown_name_lists_the_shipped_ones() -> None:
    with pytest.raises(ScenarioError, match="half-open"):
        load_scenario("no-such-scenario")


def told(timeline: Timeline, now_s: float, ticks: int = 0) -> list[tuple[str, bool]]:
    return [(type(step).__name__, begins) for step, begins in timeline.advance(now_s, ticks)]


def test_steps_begin_and_end_by_the_clock() -> None:
    timeline = Timeline(Scenario(steps=(Mute(at_s=1, lasts_s=2), Drop(at_s=2.5))))
    assert [told(timeline, now) for now in (0, 0.9, 1, 2, 2.6, 3, 9)] == [
        [], [], [("Mute", True)], [], [("Drop", True)], [("Mute", False)], [],
    ]  # fmt: skip


def test_steps_begin_by_count() -> None:
    timeline = Timeline(Scenario(steps=(Loss(share=0.5, after_ticks=100),)))
    assert [told(timeline, 0, ticks) for ticks in (0, 99, 100, 101)] == [[], [], [("Loss", True)], []]


def test_a_step_can_come_again_and_again() -> None:
    timeline = Timeline(Scenario(steps=(Mute(at_s=1, lasts_s=1, every_s=3),)))
    seen = [(now, *fact) for now in range(9) for fact in told(timeline, now)]
    assert seen == [
        (at, "Mute", begins)
        for at, begins in ((1, True), (2, False), (4, True), (5, False), (7, True), (8, False))
    ]
