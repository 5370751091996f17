"""What an actor answers to a command from outside, as a person reads it."""

from pathlib import Path

from hft_engine.runtime.control import Client
from hft_engine.runtime.messages import Body


def ask(run_dir: Path, role: str, body: Body) -> str:
    """The role's answer, a line a fact. Raises ControlError where it refuses or is silent."""
    client = Client(run_dir)
    try:
        answer = client.request(body, role)
    finally:
        client.close()
    if not isinstance(answer, dict):
        return str(answer)
    return "\n".join(f"{name:<12} {_shown(value)}" for name, value in answer.items())


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
