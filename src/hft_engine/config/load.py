"""The configuration of a run: defaults < file < .env < environment < overrides, every problem named.

``load_config`` is the only way in. Nothing is started before it returns.
"""

import copy
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import dotenv
import msgspec
import yaml
from msgspec import inspect

from hft_engine.config.checks import check_config, check_rules
from hft_engine.config.document import Document, read_document
from hft_engine.config.errors import ConfigError
from hft_engine.config.redact import redacted, redacted_url
from hft_engine.config.schema import Config, FeedConfig
from hft_engine.config.url_secrets import secrets_of, without_secrets
from hft_engine.config.validate import (
    SCHEMA,
    Problem,
    describe,
    problems,
    required,
    secret_in,
    secret_within,
    type_at,
)

__all__ = ["ENVIRONMENT", "ConfigError", "Problem", "check_rules", "load_config", "redacted", "redacted_url"]

# Key path -> the variables that set it, the first one that holds text wins. Keys of venues: ``key_variables``.
ENVIRONMENT: Mapping[str, tuple[str, ...]] = {
    "engine.log_level": ("LOG_LEVEL",),
    "engine.run_root": ("HFT_RUN_ROOT",),
    "indicators.sma": ("FEATURE_WINDOW",),
    "indicators.bollinger": ("FEATURE_WINDOW",),
    "indicators.volatility": ("FEATURE_WINDOW",),
    "learning.prediction_horizon": ("PREDICTION_HORIZON",),
    "learning.min_training_samples": ("MIN_TRAINING_SAMPLES",),
    "learning.interval_s": ("MODEL_TRAINING_INTERVAL",),
}
# By venue, where it is not <VENUE>_API_KEY alone.
_KEY_VARIABLES: Mapping[str, tuple[str, ...]] = {
    "polygon": ("POLYGON_API_KEY", "MASSIVE_API_KEY"),
    "polygon-options": ("POLYGON_API_KEY", "MASSIVE_API_KEY"),
    "alphavantage": ("ALPHAVANTAGE_API_KEY", "ALPHA_VANTAGE_API_KEY"),
}
_OF_ITS_RUN = ("publisher", "simulator")  # sections of a recorded configuration that a replay has no use for
_OF_ITS_VENUE = ("api_key", "url", "delayed_url", "lines")
_OF_ITS_ENGINE = ("actors", "run_root", "data_dir", "log_dir")
_UPPER_CASE = ("engine.log_level",)  # LOG_LEVEL=debug means DEBUG


def load_config(
    path: Path | None,
    overrides: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    *,
    dotenv_path: Path | None = Path(".env"),
    cpus: Collection[int] | None = None,
) -> Config:
    """The checked configuration.

    ``path``: YAML, JSON or TOML file; None = defaults. ``overrides``: "section.key=value", value as in YAML.
    ``env``: variables, None = this process's. ``dotenv_path``: read if it exists; never wins over ``env``.
    ``cpus``: those that may be pinned to, None = this process's. Raises ConfigError with every problem found.
    """
    document = read_document(path) if path is not None else Document("defaults", {})
    return _loaded(document, overrides, os.environ if env is None else env, dotenv_path, cpus)


def config_from(
    data: Mapping[str, Any],
    source: str,
    overrides: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    *,
    dotenv_path: Path | None = Path(".env"),
) -> Config:
    """``load_config`` of sections that a program has made; ``source`` names them in errors. Raises ConfigError."""
    given = Document(source, dict(data))
    return _loaded(given, overrides, os.environ if env is None else env, dotenv_path, None)


def _loaded(
    document: Document,
    overrides: Sequence[str],
    env: Mapping[str, str],
    dotenv_path: Path | None,
    cpus: Collection[int] | None,
) -> Config:
    origins: dict[str, str] = {}
    data = _without_empty(copy.deepcopy(document.data), SCHEMA)
    variables = _Variables(env, dotenv_path)
    for key_path, names in ENVIRONMENT.items():
        variables.apply(data, origins, key_path, names)
    for override in overrides:
        _apply_override(data, origins, override)
    _apply_keys(data, origins, variables)
    return _checked(document, data, origins, cpus)


def key_variables(venue: str) -> tuple[str, ...]:
    """The variables that may hold the API key of a venue."""
    return _KEY_VARIABLES.get(venue) or (f"{venue.upper().replace('-', '_')}_API_KEY",)


def variable(name: str, env: Mapping[str, str] | None = None, dotenv_path: Path | None = Path(".env")) -> str:
    """Of the environment (None = this process's), else of the .env file; "" where it is unset."""
    env = os.environ if env is None else env
    return env[name] if name in env else _read_dotenv(dotenv_path).get(name) or ""


def remedy_for_secret(override: str) -> str | None:
    """What to do instead of "section.key=value" on a command line where the value is, or holds, a secret; else None.

    An empty value is none.
    """
    path, _, text = override.partition("=")
    secret = secret_in(path) or secret_within(path, text)
    if secret is not None and text.strip(" \"'"):
        shown = f"{secret}=***"
    elif secrets_of(text):
        secret, shown = path, without_secrets(override)
    else:
        return None
    where = "a configuration file that only you can read (chmod 600)"
    if secret.startswith("feed."):
        where = (
            "the environment or .env: POLYGON_API_KEY, or the other venue's variable in docs/feeds.md; or in "
            + where
        )
    return (
        f"--set {shown}: a command line can be read by everybody on this machine as long as the program runs; "
        f"put it into {where}"
    )


def recorded_config(data: Mapping[str, Any], source: str, overrides: Sequence[str] = ()) -> Config:
    """The configuration that a session recorded (``source`` names it), without what only its own run could use.

    That is secrets, the venue's address, sockets and the choice of CPUs. Raises ConfigError.
    """
    kept = {name: section for name, section in copy.deepcopy(dict(data)).items() if name not in _OF_ITS_RUN}
    engine = {key: value for key, value in kept.get("engine", {}).items() if key not in _OF_ITS_ENGINE}
    feed = {key: value for key, value in kept.get("feed", {}).items() if key not in _OF_ITS_VENUE}
    kept = {**kept, "engine": engine, "feed": feed}
    origins: dict[str, str] = {}
    for override in overrides:
        _apply_override(kept, origins, override)
    return _checked(Document(source, kept), kept, origins, None)


def _checked(
    document: Document,
    data: dict[str, Any],
    origins: dict[str, str],
    cpus: Collection[int] | None,
) -> Config:
    _refuse(problems(data), document, origins)
    config = _convert(data)
    _refuse(check_config(config, cpus), document, origins)
    return config


def require_known_features(config: Config, names: Iterable[str], source: str = "configuration") -> None:
    """Raises ConfigError where a rule names a feature that is not in ``names``."""
    _refuse(check_rules(config, names), Document(source, {}), {})


def _without_empty(data: Mapping[str, Any], kind: inspect.Type) -> dict[str, Any]:
    # A section whose keys are all commented out is null in YAML: it means the defaults.
    filled = dict(data)
    for field in kind.fields if isinstance(kind, inspect.StructType) else ():
        value = filled.get(field.encode_name)
        if isinstance(field.type, inspect.StructType) and field.encode_name in filled:
            if value is None:
                filled[field.encode_name] = {}
            elif isinstance(value, Mapping):
                filled[field.encode_name] = _without_empty(value, field.type)
    return filled


class _Variables:
    """Those of the environment, then those of the .env file."""

    def __init__(self, env: Mapping[str, str], dotenv_path: Path | None) -> None:
        self._env = env
        self._file = _read_dotenv(dotenv_path)
        self._path = dotenv_path

    def apply(self, data: dict[str, Any], origins: dict[str, str], path: str, names: Sequence[str]) -> None:
        """Set the key from the first variable that holds text."""
        for name in names:
            # A variable of the real environment wins over .env even where it is empty: empty means unset.
            text = self._env[name] if name in self._env else self._file.get(name)
            if text:
                origins[path] = f"{name} in {'the environment' if name in self._env else self._path}"
                text = text.upper() if path in _UPPER_CASE else text
                kind = type_at(path)
                _set(data, path, text if kind is None else _parse(text, kind, origins[path]), origins[path])
                return


def _apply_keys(data: dict[str, Any], origins: dict[str, str], variables: _Variables) -> None:
    """The feed's key, and those of lines to another venue; a key from an override stays."""
    feed = data.get("feed")
    feed = feed if isinstance(feed, dict) else {}
    lines = feed.get("lines")
    given = {f"feed.lines.{name}": line for name, line in (lines if isinstance(lines, dict) else {}).items()}
    venues = {"feed": feed.get("venue", FeedConfig().venue)}
    venues |= {
        path: line["venue"] for path, line in given.items() if isinstance(line, dict) and "venue" in line
    }
    for path, venue in venues.items():
        if f"{path}.api_key" not in origins and isinstance(venue, str):
            variables.apply(data, origins, f"{path}.api_key", key_variables(venue))


def _read_dotenv(path: Path | None) -> dict[str, str | None]:
    if path is None or not path.is_file():
        return {}
    try:
        return dict(dotenv.dotenv_values(path, interpolate=False))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: cannot be read: {error}; correct it or remove it"]) from None


def _apply_override(data: dict[str, Any], origins: dict[str, str], override: str) -> None:
    path, mark, text = override.partition("=")
    if not mark or not all(path.split(".")):
        raise ConfigError([f'override {without_secrets(override)!r}: write it "section.key=value"'])
    secret = secret_in(path)
    if "[" in path:
        raise ConfigError([f"override {path}: one item of a list cannot be set; give the whole list"])
    kind = type_at(path)
    if kind is None:
        raise ConfigError([f"override {path}: {_unknown(path)}"])
    shown = f"{secret}=***" if secret else without_secrets(override)
    origins[path] = f"override {shown}"
    _set(data, path, _parse(text, kind, origins[path]), origins[path])


def _unknown(path: str) -> str:
    # The same words as for a key in a file: the schema is asked about a configuration of this one key.
    probe: dict[str, Any] = {}
    _set(probe, path, None, "override")
    return next((f"{p.path}: {p.text}" for p in problems(probe)), "unknown key")


def _parse(text: str, kind: inspect.Type, origin: str) -> Any:
    # Where the schema wants text the value is taken as it stands: a key of digits stays text.
    if isinstance(kind, inspect.UnionType):
        return None if text in ("", "null") else _parse(text, required(kind), origin)
    if isinstance(kind, inspect.StrType | inspect.LiteralType):
        return text
    if isinstance(kind, inspect.VarTupleType) and not isinstance(kind.item_type, inspect.StructType):
        items = text.strip().removeprefix("[").removesuffix("]").split(",")
        return [_parse(item.strip(" \"'"), kind.item_type, origin) for item in items if item.strip()]
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError([f"{origin}: the value is not YAML; it must be {describe(kind)}"]) from None


def _set(data: dict[str, Any], path: str, value: Any, origin: str) -> None:
    *sections, key = path.split(".")
    inside = data
    for section in sections:
        if inside.get(section) is None:
            inside[section] = {}
        if not isinstance(inside[section], dict):
            raise ConfigError([f"{origin}: {path}: {section} is not a section with keys below it"])
        inside = inside[section]
    inside[key] = value


def _refuse(found: Sequence[Problem], document: Document, origins: Mapping[str, str]) -> None:
    if found:
        raise ConfigError([f"{_origin(p.path, document, origins)}: {p.path}: {p.text}" for p in found])


def _origin(path: str, document: Document, origins: Mapping[str, str]) -> str:
    above = path.partition("[")[0]
    return next((origins[p] for p in (path, above) if p in origins), None) or document.where(path)


def _convert(data: Mapping[str, Any]) -> Config:
    try:
        return msgspec.convert(data, Config)
    except msgspec.ValidationError as error:
        raise ConfigError([f"configuration: {error}"]) from None
