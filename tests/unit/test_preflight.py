"""What an engine's start asks of the machine before it starts anything."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from hft_engine import preflight
from hft_engine.config.load import load_config
from hft_engine.engine import StartError

# A Python that finds no scikit-learn, and starts nothing: what `hft start --demo` says before it would.
WITHOUT = """
import importlib.util, sys
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "sklearn" else find(name, package)
from hft_engine import starting
starting.foreground = lambda config, say, resume: print("live:", config.learning.live) or 0
from hft_engine.cli import main
sys.argv = ["hft", "start", *sys.argv[1:]]
main()
"""


def start_without(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", WITHOUT, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_learning_without_its_library_is_refused_with_the_extra_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(
        None, ["learning.live=true", f"engine.data_dir={tmp_path}", f"engine.log_dir={tmp_path}"]
    )
    config = msgspec.structs.replace(config, inference=msgspec.structs.replace(config.inference, model=None))
    preflight.check(config)
    monkeypatch.setattr(preflight, "find_spec", lambda name: None)
    with pytest.raises(StartError, match=r"learning\.live.*hft-engine\[learn\]"):
        preflight.check(config)


def test_the_demo_goes_without_its_trainer_and_says_so() -> None:
    demo = start_without("--demo")
    assert demo.returncode == 0, demo.stderr
    assert "hft-engine[learn]" in demo.stdout + demo.stderr
    assert "live: False" in demo.stdout


def fresh_interpreter(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_who_starts_an_engine_and_looks_at_its_models_keeps_no_compiler() -> None:
    said = fresh_interpreter(
        "import sys, hft_engine.starting\n"
        "from hft_engine import preflight\n"
        "from hft_engine.config.schema import Config, InferenceConfig\n"
        "from hft_engine.engine import feature_schema\n"
        "from hft_engine.inference.errors import ModelError\n"
        "config = Config(inference=InferenceConfig(model='no-such-model.txt'))\n"
        "print(preflight._output_names(Config(), feature_schema(Config())))\n"
        "try:\n"
        "    preflight._output_names(config, feature_schema(config))\n"
        "except ModelError as error:\n"
        "    print(error)\n"
        "print('numba' in sys.modules)\n"
    )
    names, trouble, compiler = said.split("\n")
    assert (names, compiler) == ("()", "False")
    assert "no-such-model.txt" in trouble
