"""Order of precedence, files of each kind, and what a person is told when something is wrong."""

import json
from pathlib import Path

import pytest

from hft_engine.config.load import ConfigError, check_rules, load_config, redacted, require_known_features
from hft_engine.config.schema import Config

ROOT = Path(__file__).parents[3]
CPUS = (0, 1)


def load(path=None, overrides=(), env=None, dotenv_path=None):
    return load_config(path, overrides, env or {}, dotenv_path=dotenv_path, cpus=CPUS)


def write(folder: Path, text: str, name: str = "engine.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def refusal(*args, **kwargs) -> str:
    with pytest.raises(ConfigError) as caught:
        load(*args, **kwargs)
    return str(caught.value)


def test_without_anything_the_defaults_hold():
    assert load() == Config()


def test_the_shipped_file_equals_the_defaults_and_names_every_key():
    path = ROOT / "config/engine.yaml"
    assert load(path) == Config()
    text = path.read_text()
    for key in every_key(Config):
        assert f"{key}:" in text, f"config/engine.yaml does not show {key}"


def every_key(struct) -> set[str]:
    keys = set()
    for section in struct.__annotations__:
        keys.add(section)
    from msgspec import inspect

    pending = [inspect.type_info(struct)]
    while pending:
        kind = pending.pop()
        for below in getattr(kind, "types", ()):
            pending.append(below)
        for name in ("item_type", "value_type"):
            if hasattr(kind, name):
                pending.append(getattr(kind, name))
        for field in getattr(kind, "fields", ()):
            keys.add(field.encode_name)
            pending.append(field.type)
    return keys


def test_the_demo_file_loads_and_brings_its_own_venue():
    config = load(ROOT / "config/demo.yaml")
    assert config.simulator is not None
    assert config.feed.symbols == ("*",)
    assert config.inference.model == "models/demo/direction.txt"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.yaml", "feed:\n  symbols: [IBM]\n  reconnect: {factor: 3}\n"),
        ("c.yml", "feed:\n  symbols: [IBM]\n  reconnect: {factor: 3}\n"),
        ("c.json", json.dumps({"feed": {"symbols": ["IBM"], "reconnect": {"factor": 3}}})),
        ("c.toml", '[feed]\nsymbols = ["IBM"]\nreconnect.factor = 3\n'),
    ],
)
def test_every_kind_of_file_means_the_same(tmp_path, name, text):
    config = load(write(tmp_path, text, name))
    assert config.feed.symbols == ("IBM",)
    assert config.feed.reconnect.factor == 3.0


def test_an_empty_file_and_an_empty_section_mean_the_defaults(tmp_path):
    assert load(write(tmp_path, "")) == Config()
    assert load(write(tmp_path, "feed:\n#  symbols: [A]\nrings:\n")) == Config()


def test_file_then_dotenv_then_environment_then_override(tmp_path):
    path = write(tmp_path, "engine: {log_level: WARNING, run_root: /from-file}\nfeed: {api_key: from-file}\n")
    dotenv = write(tmp_path, "POLYGON_API_KEY=from-dotenv\nLOG_LEVEL=ERROR\n", ".env")
    env = {"LOG_LEVEL": "debug", "HFT_RUN_ROOT": "/from-env"}
    config = load(path, env=env, dotenv_path=dotenv)
    assert config.feed.api_key == "from-dotenv"
    assert config.engine.log_level == "DEBUG"
    assert config.engine.run_root == "/from-env"
    config = load(path, ["engine.log_level=INFO"], env, dotenv)
    assert config.engine.log_level == "INFO"


def test_variables_of_learning_are_numbers(tmp_path):
    dotenv = write(tmp_path, "MIN_TRAINING_SAMPLES=250\nFEATURE_WINDOW=30\n", ".env")
    env = {"MODEL_TRAINING_INTERVAL": "900", "PREDICTION_HORIZON": "8"}
    config = load(env=env, dotenv_path=dotenv)
    learning, indicators = config.learning, config.indicators
    assert (learning.interval_s, learning.prediction_horizon) == (900, 8)
    assert learning.min_training_samples == 250
    assert (indicators.sma, indicators.bollinger, indicators.volatility) == (30, 30, 30)
    with pytest.raises(
        ConfigError, match=r"MODEL_TRAINING_INTERVAL in the environment: learning\.interval_s"
    ):
        load(env={"MODEL_TRAINING_INTERVAL": "soon"})


def test_an_empty_variable_of_the_environment_hides_the_one_in_dotenv(tmp_path):
    dotenv = write(tmp_path, "POLYGON_API_KEY=from-dotenv\n", ".env")
    assert load(env={"POLYGON_API_KEY": ""}, dotenv_path=dotenv).feed.api_key == ""


def test_either_name_of_the_vendor_gives_the_key():
    assert load(env={"MASSIVE_API_KEY": "m"}).feed.api_key == "m"
    assert load(env={"MASSIVE_API_KEY": "m", "POLYGON_API_KEY": "p"}).feed.api_key == "p"


@pytest.mark.parametrize(
    ("venue", "variable"),
    [
        ("polygon-options", "MASSIVE_API_KEY"),
        ("finnhub", "FINNHUB_API_KEY"),
        ("alphavantage", "ALPHAVANTAGE_API_KEY"),
        ("alphavantage", "ALPHA_VANTAGE_API_KEY"),
        ("their-own", "THEIR_OWN_API_KEY"),
    ],
)
def test_each_venue_has_its_own_key(tmp_path, venue, variable):
    env = {"OTHER_API_KEY": "other", variable: "theirs"}
    assert load(write(tmp_path, f"feed: {{venue: {venue}}}\n"), env=env).feed.api_key == "theirs"
    assert load(overrides=[f"feed.venue={venue}"], env=env).feed.api_key == "theirs"
    assert load(overrides=[f"feed.venue={venue}", "feed.api_key=given"], env=env).feed.api_key == "given"


def test_overrides_take_each_type_as_a_person_types_it():
    overrides = [
        "feed.symbols=[*]",
        "feed.channels=T,Q",
        "feed.api_key=12345",
        "rings.ticks=1024",
        "persistence.journal=false",
        "engine.actors.feed.cpus=[0,1]",
        "engine.actors.feed.wait=spin",
        "simulator.speed=0",
        "publisher.tcp=null",
        "signals.rules=[{name: a, feature: f, side: buy, when: above, enter: 1, release: 0, full: 2}]",
    ]
    config = load(overrides=overrides)
    assert config.feed.symbols == ("*",)
    assert config.feed.channels == ("T", "Q")
    assert config.feed.api_key == "12345"
    assert config.rings.ticks == 1024
    assert config.persistence.journal is False
    assert config.engine.actors["feed"].cpus == (0, 1)
    assert config.engine.actors["feed"].wait == "spin"
    assert config.simulator is not None and config.simulator.speed == 0.0
    assert config.publisher.tcp is None
    assert [rule.name for rule in config.signals.rules] == ["a"]


def test_loading_leaves_the_environment_alone(tmp_path, monkeypatch):
    import os

    monkeypatch.delenv("POLYGON_API_KEY", raising=False)
    dotenv = write(tmp_path, "POLYGON_API_KEY=secret\n", ".env")
    load_config(None, (), None, dotenv_path=dotenv, cpus=CPUS)
    assert "POLYGON_API_KEY" not in os.environ


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("feed:\n  api_kye: x\n", 2, ["feed.api_kye", "unknown key", "did you mean api_key?"]),
        ("feeed:\n  api_key: x\n", 1, ["feeed", "unknown key", "did you mean feed?"]),
        ("rings:\n  ticks: many\n", 2, ["rings.ticks", "whole number > 0", "'many'", "without quotes"]),
        ("rings:\n  ticks: true\n", 2, ["rings.ticks", "whole number", "True"]),
        ("rings:\n  ticks: -4\n", 2, ["rings.ticks", "> 0", "-4"]),
        ("engine:\n  layout: dedicatd\n", 2, ["engine.layout", "compact", "did you mean dedicated?"]),
        ("engine:\n  log_level: debug\n", 2, ["engine.log_level", "DEBUG", "did you mean DEBUG?"]),
        ("indicators:\n  session_start_utc: 17:30\n", 2, ["session_start_utc", "1050", "put it in quotes"]),
        ("feed:\n\n  symbols: AAPL\n", 3, ["feed.symbols", "a list", "write it as [a, b]"]),
        ("feed:\n  symbols: [A, 7]\n", 2, ["feed.symbols[1]", "text", "7"]),
        ("feed: 5\n", 1, ["feed", "section"]),
        ("engine:\n  actors:\n    feed:\n      wait: nap\n", 4, ["engine.actors.feed.wait", "spin", "'nap'"]),
        ("engine:\n  actors: {3: {}}\n", 2, ["engine.actors", "must be text"]),
        ("simulator:\n  speed: .nan\n", 2, ["simulator.speed", "nan"]),
        ("feed:\n  url: ftp://x\n", 2, ["feed.url", "(wss?|https?)://"]),
        ("signals:\n  rules:\n    - name: a\n", 3, ["signals.rules[0].feature", "is missing"]),
    ],
)
def test_a_refusal_names_file_line_key_cause_and_remedy(tmp_path, text, line, words):
    path = write(tmp_path, text)
    message = refusal(path)
    assert f"{path}:{line}: " in message
    for word in words:
        assert word in message


def test_every_problem_is_named_at_once(tmp_path):
    path = write(tmp_path, "rings: {ticks: x, bars: y}\nfeed: {nope: 1}\n")
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert len(caught.value.problems) == 3
    assert "3 problems" in str(caught.value)


def test_a_problem_of_an_override_or_variable_names_it():
    assert "override rings.ticks=x: rings.ticks: " in refusal(overrides=["rings.ticks=x"])
    assert "LOG_LEVEL in the environment: engine.log_level: " in refusal(env={"LOG_LEVEL": "loud"})


@pytest.mark.parametrize("override", ["novalue", "=3", "a..b=1", "signals.rules[0].enter=1"])
def test_a_malformed_override_is_refused(override):
    assert override.partition("=")[0].split("[")[0].strip(".") in refusal(overrides=[override])


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("feed.api_kye=x", ["feed.api_kye", "unknown key", "did you mean api_key?"]),
        ("fed.api_key=x", ["fed", "unknown key", "did you mean feed?"]),
        ("feed.url.x=1", ["feed.url", "must be text"]),
    ],
)
def test_an_override_of_an_unknown_key_is_refused_by_name(override, words):
    message = refusal(overrides=[override])
    for word in words:
        assert word in message


def test_a_duplicate_key_is_refused_with_both_lines(tmp_path):
    message = refusal(write(tmp_path, "feed:\n  symbols: [A]\n  symbols: [B]\n"))
    assert "engine.yaml:3" in message
    assert "first on line 2" in message


@pytest.mark.parametrize(
    ("name", "text", "word"),
    [
        ("c.yaml", "feed: [unclosed\n", "is not YAML"),
        ("c.yaml", "\tfeed: 1\n", "is not YAML"),
        ("c.yaml", "- a\n- b\n", "not sections"),
        ("c.yaml", "when: 2013-99-99\n", "cannot be parsed"),
        ("c.json", "{'a': 1}", "c.json:1: is not JSON"),
        ("c.toml", "a = ", "is not TOML"),
        ("c.ini", "[a]", "unknown kind of file"),
    ],
)
def test_a_file_that_cannot_be_parsed_is_named_with_the_place(tmp_path, name, text, word):
    message = refusal(write(tmp_path, text, name))
    assert name in message
    assert word in message


def test_a_missing_file_is_named_with_those_that_exist(tmp_path):
    write(tmp_path, "", "live.yaml")
    message = refusal(tmp_path / "liev.yaml")
    assert "liev.yaml: no such file" in message
    assert "live.yaml" in message


def test_a_folder_and_a_binary_file_are_refused(tmp_path):
    (tmp_path / "d.yaml").mkdir()
    assert "cannot be read" in refusal(tmp_path / "d.yaml")
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    assert "not UTF-8" in refusal(tmp_path / "b.yaml")


def test_a_secret_is_in_no_message_and_in_no_redacted_view(tmp_path):
    path = write(tmp_path, "feed:\n  api_key: [hunter2]\n")
    assert "hunter2" not in refusal(path)
    assert "hunter2" not in refusal(overrides=["feed.api_key=hunter2", "feed.api_key.x=hunter2"])
    config = load(
        overrides=[
            "feed.api_key=hunter2",
            "simulator.api_key=hunter2",
            "feed.url=wss://user:hunter2@host/x?token=hunter2&a=1",
            f"publisher.curve_secret_key={'hunter2'.ljust(40, '.')}",
            f"publisher.curve_public_key={'p' * 40}",
        ]
    )
    shown = redacted(config)
    assert "hunter2" not in json.dumps(shown)
    assert shown["feed"]["api_key"] == "***"
    assert shown["feed"]["url"] == "wss://***@host/x?token=***&a=***"


def test_an_unset_secret_is_shown_as_unset():
    assert redacted(Config())["feed"]["api_key"] == ""


def test_rules_are_held_against_the_feature_names():
    config = load()
    assert check_rules(config, ["bar_rsi"]) == []
    found = check_rules(config, ["bar_rsj", "bar_sma"])
    assert [problem.path for problem in found] == ["signals.rules[2].feature", "signals.rules[3].feature"]
    assert "did you mean bar_rsj?" in found[0].text
    with pytest.raises(ConfigError, match="did you mean bar_rsj"):
        require_known_features(config, ["bar_rsj"])
