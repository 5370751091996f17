"""Names of what models put out, by which rules ask for them: ``entry_timing``, ``market_regime.trend_up``,
``ensemble``.

A model of one output is called as its metadata says; of several each has the class's name behind a point, or its number
where the metadata names no classes. They are read from the files, without the trees.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from hft_engine.config.errors import ConfigError
from hft_engine.config.schema import InferenceConfig

ENSEMBLE = "ensemble"
METADATA_SUFFIX = ".meta.json"
_HEADER_BYTES = 1 << 16  # the count stands in the first lines; the names of the features may be long
_COUNT = b"\nnum_tree_per_iteration="


class _Named(msgspec.Struct, frozen=True):
    """Of a model's metadata what names its outputs."""

    name: str
    classes: tuple[str, ...] = ()


def names_of(model: str, classes: Sequence[str], count: int) -> tuple[str, ...]:
    """Of a model's ``count`` outputs, in order."""
    if count == 1:
        return (model,)
    labels = classes if len(classes) == count else range(count)
    return tuple(f"{model}.{label}" for label in labels)


def output_names(config: InferenceConfig) -> tuple[str, ...]:
    """Of every configured model, in order, then of the ensemble. Raises ConfigError for a file that does not say."""
    names = [name for path in config.paths for name in _names_at(Path(path))]
    return (*names, ENSEMBLE) if config.ensemble is not None else tuple(names)


def _names_at(path: Path) -> tuple[str, ...]:
    try:
        about = msgspec.json.decode(path.with_name(path.name + METADATA_SUFFIX).read_bytes(), type=_Named)
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
        count = int(header.partition(_COUNT)[2].split(b"\n", 1)[0])
    except (OSError, msgspec.MsgspecError, ValueError) as error:
        raise ConfigError(
            [
                f"inference: model {path} does not say what it puts out ({error}); copy model and metadata again"
            ]
        ) from error
    return names_of(about.name, about.classes, count)
