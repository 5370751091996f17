"""Shared by all tests: the kernel cache, and the watchers: nothing left behind, no error that was not expected."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from multiprocessing import resource_tracker
from pathlib import Path

import psutil
import pytest
from xdist.scheduler import LoadScopeScheduling

from hft_engine.runtime import kernelcache
from support import watcher

kernelcache.use()  # before anything imports numba

# So that hypothesis never fails a test for the speed of a shared machine; timings are not asserted in tests.
from hypothesis import settings  # noqa: E402

settings.register_profile("engine", deadline=None, max_examples=50)
settings.load_profile("engine")


class Shares(LoadScopeScheduling):
    """What test processes are given: a file's tests together, as they share what is made once; engines one by one."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid if nodeid.startswith("tests/system/") else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Shares:
    config.option.loadscopereorder = False  # the order is ours, see below
    return Shares(config, log)


SLOW_FIRST = ("tests/system/", "tests/integration/", "tests/")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Random as they are, but what takes long comes early: no process is to be alone with it in the end."""
    items.sort(key=lambda item: [item.nodeid.startswith(folder) for folder in SLOW_FIRST], reverse=True)


SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def run_root(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """No test touches a real run: engines of tests live in a root of their own, which must be empty in the end."""
    shm = Path("/dev/shm")
    root = Path(tempfile.mkdtemp(prefix="hft-t-", dir=shm if os.access(shm, os.W_OK) else None))
    monkeypatch.setenv("HFT_RUN_ROOT", str(root))
    yield root
    left = sorted(str(path.relative_to(root)) for path in root.rglob("*"))
    shutil.rmtree(root)
    assert not left, f"left in the run root: {left}"


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Fails a test that leaves a child process."""
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    yield
    # multiprocessing's own helper is started once and outlives every test
    known = before | {resource_tracker._resource_tracker._pid}  # type: ignore[attr-defined]
    left = [child for child in psutil.Process().children(recursive=True) if child.pid not in known]
    _, alive = psutil.wait_procs(left, timeout=10)
    for child in alive:
        child.kill()
    assert not alive, f"processes left behind: {alive}"


@pytest.fixture(autouse=True)
def watched_runs(request: pytest.FixtureRequest) -> Iterator[None]:
    """Integration and system tests: fails one whose runs logged an error it did not declare, or lost records."""
    watched = {"integration", "system"} & set(request.path.parts)
    directory: Path | None = request.getfixturevalue("tmp_path") if watched else None
    yield
    if directory is None:
        return
    patterns = [text for mark in request.node.iter_markers(watcher.MARKER) for text in mark.args]
    problems = [
        problem
        for record in watcher.records_below(directory)
        for problem in watcher.unexpected(record, patterns)
    ]
    assert not problems, "\n".join(problems)


@pytest.fixture
def shared_data() -> Path:
    """The big recorded files beside the checkout; the test is skipped without them."""
    if not SHARED_DATA.is_dir() or os.environ.get("HFT_NO_SHARED_DATA"):
        pytest.skip("recorded files beside the checkout are not there")
    return SHARED_DATA
