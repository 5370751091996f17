"""The machine and the configuration: cores, shared memory, disk, limits, clock, kernels; nothing is changed."""

import ctypes
import os
import resource
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hft_engine import preflight, topology
from hft_engine.config.schema import Config
from hft_engine.doctor.findings import Finding, ok, problem, warning
from hft_engine.runtime import kernelcache, placement
from hft_engine.runtime.rundir import SHM
from hft_engine.shm import layout

MB = 1_000_000
STATS_MB = 32.0  # histograms, checkpoints and tables beside the rings, with room
DISK_MB_MIN, DISK_MB_LOW = 200.0, 5_000.0  # a busy day of many instruments fills some GB of journal
FILES_MIN = 1_024
_STA_UNSYNC = 0x0040  # adjtimex(2): nothing disciplines the clock


def examine(config: Config) -> Iterator[Finding]:
    """In the order in which a start would stumble over them."""
    yield _settings(config)
    yield _cores(config)
    yield _shared_memory(config)
    yield _disk(config)
    yield _files()
    yield from _real_time(config)
    yield _clock()
    yield _kernels()


def _settings(config: Config) -> Finding:
    try:
        preflight.check(config)
    except Exception as error:
        if not type(error).__module__.startswith("hft_engine"):
            raise  # a fault of ours
        return problem("configuration", str(error), "change the key that is named")
    return ok("configuration", "folders, model, rules, extensions and strategy can be used")


def _cores(config: Config) -> Finding:
    cores = len(os.sched_getaffinity(0))
    hot = sum(process.hot for process in topology.build(config).processes)
    text = f"{cores} cores for {hot} processes between tick and signal"
    if config.engine.layout == "dedicated" and cores < hot:
        return warning("cores", text, "they take turns, which is slower; engine.layout: compact needs one")
    return ok("cores", text)


def _shared_memory(config: Config) -> Finding:
    rings = topology.build(config).rings
    needed = (
        sum(layout.ring_bytes(topology.DTYPES[ring.dtype], ring.capacity) for ring in rings) / MB + STATS_MB
    )
    if not os.access(SHM, os.W_OK):
        return problem(
            "shared memory", f"{SHM} cannot be written", "mount it (tmpfs), or set engine.run_root"
        )
    free = shutil.disk_usage(SHM).free / MB
    text = f"{free:,.0f} MB free in {SHM}, of which a run takes about {needed:,.0f}"
    if free < needed:
        return problem("shared memory", text, "remove what fills it, mount it larger, or set smaller rings.*")
    return ok("shared memory", text)


def _disk(config: Config) -> Finding:
    folder = Path(config.engine.data_dir)
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    free = shutil.disk_usage(there).free / MB
    text = f"{free / 1e3:,.1f} GB free for engine.data_dir {folder}"
    remedy = "free some, set engine.data_dir elsewhere, or bound it: persistence.journal_keep_mb, journal_keep_days"
    if free < DISK_MB_MIN:
        return problem("disk", text, remedy)
    return warning("disk", text, remedy) if free < DISK_MB_LOW else ok("disk", text)


def _files() -> Finding:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    text = f"{'any number of' if soft == resource.RLIM_INFINITY else format(soft, ',')} open files a process"
    if soft != resource.RLIM_INFINITY and soft < FILES_MIN:
        return warning("limits", text, f"ulimit -n {FILES_MIN}, before the start")
    return ok("limits", text)


def _real_time(config: Config) -> Iterator[Finding]:
    wanted = [name for name, tuning in config.engine.actors.items() if tuning.realtime]
    if not wanted:
        return
    text = f"{', '.join(wanted)} in real time (engine.actors)"
    with ThreadPoolExecutor(
        1
    ) as beside:  # what is asked for is asked of a thread of its own, which then ends
        granted = beside.submit(placement.go_before_all).result()
    if granted:
        yield ok("real time", text)
    else:
        remedy = "give it CAP_SYS_NICE, or LimitRTPRIO=1 in its service (ulimit -r 1), or set realtime: false"
        yield warning("real time", f"{text}: this user may not, it would run as others do", remedy)


def _clock() -> Finding:
    """Whether something keeps the system's clock right (adjtimex(2), asked only)."""
    timex = (ctypes.c_int * 64)()  # modes 0; status is the int behind modes, offset, freq, maxerror, esterror
    if ctypes.CDLL(None, use_errno=True).adjtimex(timex) < 0:
        return warning("clock", "whether it is kept right cannot be asked here", "look with timedatectl")
    status = timex[5 * ctypes.sizeof(ctypes.c_long) // ctypes.sizeof(ctypes.c_int)]
    if status & _STA_UNSYNC:
        text = (
            "nothing keeps the system's clock right: lag is judged against its least value, but stamps drift"
        )
        return warning("clock", text, "run chrony or systemd-timesyncd")
    return ok("clock", "kept right by a time service")


def _kernels() -> Finding:
    folder = kernelcache.use()
    if any(folder.rglob("*.nbi")):
        return ok("kernels", f"compiled, in {folder}")
    return warning("kernels", "not compiled yet: the first start takes half a minute more", "hft warm")
