"""The user's own indicators: they work like built-in ones, and say clearly why they do not."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from indicator_samples import column, market, trades, walk

from hft_engine.config.schema import IndicatorConfig
from hft_engine.indicators import stage
from hft_engine.indicators.extension import (
    STATE_SIZE_MAX,
    ExtensionError,
    compile_extension,
    indicator,
    load_extensions,
)
from hft_engine.indicators.offline import compute

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "02_own_indicator.py"
TWIN = '''
import math
from hft_engine.indicators.extension import indicator

@indicator(name="my_ema", state_size=2)
def my_ema(state, tick, features):
    """EMA 12 with TA-Lib's seed, of trades that move the price."""
    if tick.kind == 1 and tick.flags & 5 == 0:
        state[0] += 1.0
        if state[0] < 12.0:
            state[1] += tick.price
        elif state[0] == 12.0:
            state[1] = (state[1] + tick.price) / 12.0
        else:
            state[1] += (tick.price - state[1]) * (2.0 / 13.0)
    return state[1] if state[0] >= 12.0 else math.nan

@indicator(name="echo", state_size=32)
def echo(state, tick, features):
    state[31] += 1.0
    return features[0] + 0.0 * tick.size

@indicator(name="counting", state_size=1)
def counting(state, tick, features):
    state[0] += 1.0
    return state[0]

@indicator(name="divides")
def divides(state, tick, features):
    return 1.0 / (tick.size - tick.size)

@indicator(name="broken")
def broken(state, tick, features):
    return tick.no_such_field

def plain(state, tick, features):
    return 1.0
'''


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "my indicators.py"
    path.write_text(TWIN)
    return str(path)


def test_a_twin_of_a_built_in_indicator_gives_the_same_values(file: str) -> None:
    config = IndicatorConfig(extensions=(f"{file}:my_ema",))
    features, _ = compute(trades(walk(3_000, 60_000.0, 1e-4)), config)
    np.testing.assert_allclose(
        column(features, "my_ema", config), column(features, "tick_ema_fast", config), rtol=1e-14
    )


def test_extensions_have_state_of_their_own_for_each_instrument_and_see_the_built_in_values(
    file: str,
) -> None:
    config = IndicatorConfig(extensions=tuple(f"{file}:{name}" for name in ("counting", "echo", "my_ema")))
    ticks = trades(walk(600, 100.0, 1e-3), instrument=np.arange(600) % 3)
    features, _ = compute(ticks, config)
    np.testing.assert_array_equal(column(features, "counting", config), np.arange(600) // 3 + 1)
    np.testing.assert_array_equal(column(features, "echo", config), column(features, "tick_sma", config))


def test_built_in_values_are_the_same_with_extensions(file: str) -> None:
    ticks = market(2_000, 3, seed=2)
    plain, bars = compute(ticks, IndicatorConfig())
    extended, extended_bars = compute(ticks, IndicatorConfig(extensions=(f"{file}:counting",)))
    np.testing.assert_array_equal(plain["values"][:, :46], extended["values"][:, :46])
    assert bars.tobytes() == extended_bars.tobytes()


def test_the_engines_kernel_is_not_compiled_again_for_an_extension(file: str) -> None:
    compute(trades(np.ones(2)), IndicatorConfig())
    before = len(stage.duty.signatures)
    compute(trades(np.ones(2)), IndicatorConfig(extensions=(f"{file}:counting",)))
    assert len(stage.duty.signatures) == before


def test_division_by_zero_is_a_value(file: str) -> None:
    config = IndicatorConfig(extensions=(f"{file}:divides",))
    assert column(compute(trades(np.ones(1)), config)[0], "divides", config)[0] == np.inf


def test_a_module_on_the_path_can_be_named(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_package_of_one.py").write_text(TWIN)
    monkeypatch.syspath_prepend(tmp_path)
    assert load_extensions(["my_package_of_one:echo"])[0].name == "echo"


@pytest.mark.parametrize(
    ("spec", "cause"),
    [
        ("nothing.py", "write .package.module:function. or .file.py:function."),
        ("no_such_file.py:f", "No such file"),
        ("no_such_module_here:f", "No module named"),
        ("{file}:missing", "has no function 'missing'"),
        ("{file}:plain", "not registered; put @indicator"),
    ],
)
def test_what_cannot_be_loaded_is_named_with_the_cause(spec: str, cause: str, file: str) -> None:
    with pytest.raises(ExtensionError, match=cause) as error:
        load_extensions([spec.format(file=file)])
    assert "indicators.extensions" in str(error.value)


def test_what_cannot_be_compiled_is_named_with_the_compilers_reason(file: str) -> None:
    with pytest.raises(ExtensionError, match=r"broken.*cannot be compiled.*no_such_field"):
        compile_extension(load_extensions([f"{file}:broken"])[0])


def test_an_error_in_the_users_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("1 / 0\n")
    for _ in range(2):  # a failed import must not be remembered as done
        with pytest.raises(ExtensionError, match=r"bad.py: ZeroDivisionError"):
            load_extensions([f"{tmp_path}/bad.py:f"])


@pytest.mark.parametrize("size", [-1, STATE_SIZE_MAX + 1])
def test_a_state_of_the_wrong_size_is_refused(size: int) -> None:
    with pytest.raises(ExtensionError, match="state_size"):
        indicator(name="big", state_size=size)


def test_a_name_that_is_no_name_is_refused() -> None:
    with pytest.raises(ExtensionError, match="lower-case"):
        indicator(name="My Mean")


def test_the_example_runs_alone_and_sees_the_buyers_come(capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("example_02", EXAMPLE)
    assert spec is not None and spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    example.main()
    lines = capsys.readouterr().out.splitlines()
    assert float(lines[-1].split()[-1]) > 0.2 > float(lines[-10].split()[-1])
