"""What an engine that starts in the background tells its starter."""

import os
import subprocess

import pytest

from hft_engine import background
from hft_engine.background import Notifier


def test_a_text_of_several_lines_arrives_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    read_fd, write_fd = os.pipe()
    monkeypatch.setenv(background.READY_FD, str(write_fd))
    engine = Notifier()
    engine.line("say error: two things are wrong:\n  this\n  that")
    engine.close()
    said: list[str] = []
    with subprocess.Popen(["sh", "-c", "exit 2"]) as process:
        assert background._follow(process, read_fd, said.append) == (2, "ended")
    os.close(read_fd)
    assert said == ["error: two things are wrong:\n  this\n  that"]
