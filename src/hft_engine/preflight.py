"""What would only fail once processes run is looked at before any is started: the person waits for nothing."""

import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from pathlib import Path

from hft_engine.config.load import require_known_features
from hft_engine.config.schema import Config
from hft_engine.engine import StartError, feature_schema
from hft_engine.indicators.features import FeatureSchema
from hft_engine.persistence.journal.zstd_file import zstandard

SYNTHETIC = "synthetic"  # the simulator's own generator instead of a file


def check(config: Config) -> None:
    """Folders, the recorded files, the library that compresses, extensions, the models, rules, the strategy.

    Raises StartError, FeatureError, ExtensionError, ConfigError, StrategyError, ModelError, JournalError, each naming
    the key or the file and the remedy.
    """
    check_folders(config)
    _check_source(config)
    _check_compression(config)
    _check_learning(config)
    schema = feature_schema(config)
    require_known_features(config, (*schema.names, *_output_names(config, schema)))


def check_folders(config: Config) -> None:
    """Makes them where they are missing. Raises StartError."""
    for key in ("data_dir", "log_dir"):
        _check_folder(f"engine.{key}", Path(getattr(config.engine, key)))


def _output_names(config: Config, schema: FeatureSchema) -> tuple[str, ...]:
    """Of the models, each read once; the strategy is looked at as well.

    In a process that ends with it, where the compiler that this takes is not loaded anyway: a supervisor that had it
    would keep 60 MB.
    """
    if "numba" in sys.modules:
        return _looked_through(config, schema)
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        return pool.submit(_looked_through, config, schema).result()


def _looked_through(config: Config, schema: FeatureSchema) -> tuple[str, ...]:
    from hft_engine.execution.loading import load_strategy
    from hft_engine.inference.model_set import load_set

    names = load_set(config.inference, schema).names
    if config.execution is not None:
        load_strategy(config.execution.strategy)
    return tuple(names)


def _check_source(config: Config) -> None:
    source = config.simulator.source if config.simulator is not None else SYNTHETIC
    if source == SYNTHETIC:
        return
    for path in source.split(","):
        if not Path(path.strip()).is_file():
            raise StartError(f"simulator.source {path}: no such file; name a recorded file, or {SYNTHETIC}")


def _check_compression(config: Config) -> None:
    if config.persistence.journal and config.persistence.journal_compress == "zstd":
        zstandard("persistence.journal_compress: zstd")


def _check_learning(config: Config) -> None:
    if config.learning.live and not can_learn():
        raise StartError(
            "learning.live: true needs scikit-learn: pip install 'hft-engine[learn]', or set it to false"
        )


def can_learn() -> bool:
    """Whether what trains is installed. Not imported: that takes a second."""
    return find_spec("sklearn") is not None


def _check_folder(key: str, path: Path) -> None:
    """Makes it where it is missing."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StartError(f"{key} {path} cannot be made: {error.strerror}; set it elsewhere") from error
    # Asked, not tried: a full disk is no reason to refuse, the engine goes on without its journal. Root may
    # write everywhere but on a read-only file system, which this tells too.
    if not os.access(path, os.W_OK | os.X_OK):
        raise StartError(f"{key} {path} is not writable; change its permissions or set it elsewhere")
