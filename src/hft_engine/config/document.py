"""One configuration file as plain data, with the line of every key where the format gives it."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from hft_engine.config.errors import ConfigError

FILE_BYTES_MAX = 1_000_000  # a configuration is a few kilobytes; more is the wrong file
SUFFIXES = (".yaml", ".yml", ".json", ".toml")


@dataclass(frozen=True)
class Document:
    """``data``: mappings, lists and scalars; ``lines``: key path ("feed.symbols[0]") -> line, from 1."""

    name: str
    data: dict[str, Any]
    lines: Mapping[str, int] = field(default_factory=dict)

    def where(self, path: str) -> str:
        """ "file:line" of the key or of the nearest key above it, or only the file."""
        while path and path not in self.lines:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return f"{self.name}:{self.lines[path]}" if path else self.name


def read_document(path: Path) -> Document:
    """Reads YAML, JSON or TOML, told by the suffix. Raises ConfigError."""
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError([f"{path}: unknown kind of file {path.suffix!r}; name it {', '.join(SUFFIXES)}"])
    text = _read_text(path)
    data, lines = _parse(path, text)
    if data is None:
        data = {}
    if not isinstance(data, dict):
        found = type(data).__name__
        raise ConfigError([f"{path}: holds a {found}, not sections; write `section:` and keys below it"])
    return Document(str(path), data, lines)


def _read_text(path: Path) -> str:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise ConfigError([f"{path}: larger than {FILE_BYTES_MAX} bytes; this is not a configuration"])
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            [f"{path}: no such file; give an existing one with --config{_nearby(path)}"]
        ) from None
    except OSError as error:
        raise ConfigError(
            [f"{path}: cannot be read: {error.strerror}; check the path and permissions"]
        ) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: is not UTF-8 text; save it as UTF-8"]) from None


def _nearby(path: Path) -> str:
    if not path.parent.is_dir():
        return ""
    found = sorted(p.name for p in path.parent.iterdir() if p.suffix.lower() in SUFFIXES)[:8]
    return f" (in {path.parent}: {', '.join(found)})" if found else ""


def _parse(path: Path, text: str) -> tuple[Any, dict[str, int]]:
    suffix = path.suffix.lower()
    try:
        if suffix == ".toml":
            return tomllib.loads(text), {}
        if suffix == ".json":
            return json.loads(text), _lines_of_json(text)
        return _parse_yaml(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{path}: is not TOML: {error}"]) from None
    except json.JSONDecodeError as error:
        raise ConfigError(
            [f"{path}:{error.lineno}: is not JSON: {error.msg}, column {error.colno}"]
        ) from None
    except yaml.MarkedYAMLError as error:
        raise ConfigError([_yaml_problem(path, error)]) from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError([f"{path}: cannot be parsed: {error}"]) from None


def _yaml_problem(path: Path, error: yaml.MarkedYAMLError) -> str:
    line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
    context = f" ({error.context})" if error.context else ""
    return f"{path}{line}: is not YAML: {error.problem}{context}; check indentation, quotes and tabs"


def _parse_yaml(text: str) -> tuple[Any, dict[str, int]]:
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None, {}
        lines: dict[str, int] = {}
        _note_lines(node, "", lines)
        return loader.construct_document(node), lines
    finally:
        loader.dispose()


def _note_lines(node: yaml.Node, path: str, lines: dict[str, int]) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            below = f"{path}.{key.value}" if path else str(key.value)
            _refuse_second(below, key, lines)
            lines[below] = key.start_mark.line + 1
            _note_lines(value, below, lines)
    elif isinstance(node, yaml.SequenceNode):
        for i, item in enumerate(node.value):
            lines[f"{path}[{i}]"] = item.start_mark.line + 1
            _note_lines(item, f"{path}[{i}]", lines)


def _refuse_second(path: str, key: yaml.Node, lines: Mapping[str, int]) -> None:
    # YAML lets the second of two equal keys win in silence.
    if path in lines:
        problem = f"key {path} is given twice, first on line {lines[path]}; keep one"
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)


def _lines_of_json(text: str) -> dict[str, int]:
    # JSON is close enough to YAML for its marks; where it is not, an error names the file without a line.
    try:
        return _parse_yaml(text)[1]
    except yaml.YAMLError:
        return {}
