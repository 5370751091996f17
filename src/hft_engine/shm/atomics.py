"""Atomic loads, stores and fences on int64 words, the spin hint, the clock and the futex, inside compiled code.

numba hoists a plain load out of a loop (numba issue 1351), so a spin on ``cursor[0]`` never ends; and on weakly
ordered processors a plain store carries no order. Every word that two processes share goes through here. The
intrinsics emit LLVM's own ``load atomic``/``store atomic``/``fence``, which are right on x86-64 and on ARM64.
Tested on x86-64 only.

libc is called by symbol name, not through ctypes: a ctypes pointer would make a kernel uncacheable.
"""

import platform
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from hft_engine.words import item_pointer, record_words

_I64 = ir.IntType(64)
_I32 = ir.IntType(32)
_ARM = platform.machine() in ("aarch64", "arm64")
_SYS_FUTEX = 98 if _ARM else 202  # asm-generic / x86-64 system call numbers
_FUTEX_WAIT, _FUTEX_WAKE = 0, 1  # not PRIVATE: the word is shared between processes
CLOCK_REALTIME, CLOCK_MONOTONIC = 0, 1


def _loader(order: str) -> Any:
    def load(typingctx: Any, words: Any, index: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return builder.load_atomic(item_pointer(context, builder, sig.args[0], *args), order, 8)

        return types.int64(words, types.intp), codegen

    return intrinsic(load)


load_acquire = _loader("acquire")
load_relaxed = _loader("monotonic")


@intrinsic
def store_release(typingctx: Any, words: Any, index: Any, value: Any) -> Any:
    """``words[index] = value``; everything written before it is visible to whoever acquires it."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = item_pointer(context, builder, sig.args[0], args[0], args[1])
        builder.store_atomic(args[2], pointer, "release", 8)
        return context.get_dummy_value()

    return types.void(words, types.intp, types.int64), codegen


def _changer(operation: str) -> Any:
    def change(typingctx: Any, words: Any, index: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            pointer = item_pointer(context, builder, sig.args[0], *args[:2])
            return builder.atomic_rmw(operation, pointer, args[2], "seq_cst")

        return types.int64(words, types.intp, types.int64), codegen

    return intrinsic(change)


# Each changes ``words[index]`` and returns the value before. Only doorbells need them: they have several ringers.
fetch_add, fetch_and, fetch_or = _changer("add"), _changer("and"), _changer("or")


@intrinsic
def load_acquire_at(typingctx: Any, address: Any) -> Any:
    """Acquire the int64 at an address of this process."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.load_atomic(builder.inttoptr(args[0], _I64.as_pointer()), "acquire", 8)

    return types.int64(types.int64), codegen


def _fence(order: str) -> Any:
    def fence(typingctx: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            builder.fence(order)
            return context.get_dummy_value()

        return types.void(), codegen

    return intrinsic(fence)


fence_acquire = _fence("acquire")
fence_release = _fence("release")
fence_full = _fence("seq_cst")


@intrinsic
def spin_hint(typingctx: Any) -> Any:
    """Tell the core that this is a spin loop: ``pause`` on x86-64, ``yield`` on ARM64."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        if _ARM:
            kind = ir.FunctionType(ir.VoidType(), [_I32])
            hint = cgutils.get_or_insert_function(builder.module, kind, "llvm.aarch64.hint")
            builder.call(hint, [_I32(1)])
        else:
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return types.void(), codegen


def _sequence_loader(order: str) -> Any:
    def load(typingctx: Any, slots: Any, index: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return builder.load_atomic(record_words(context, builder, sig.args[0], *args), order, 8)

        return types.int64(slots, types.intp), codegen

    return intrinsic(load)


def _sequence_storer(order: str) -> Any:
    def store(typingctx: Any, slots: Any, index: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            word = record_words(context, builder, sig.args[0], args[0], args[1])
            builder.store_atomic(args[2], word, order, 8)
            return context.get_dummy_value()

        return types.void(slots, types.intp, types.int64), codegen

    return intrinsic(store)


# The first word of ``slots[index]``: records, or int64[records, words].
load_sequence_acquire = _sequence_loader("acquire")
load_sequence_relaxed = _sequence_loader("monotonic")
store_sequence_release = _sequence_storer("release")
store_sequence_relaxed = _sequence_storer("monotonic")


def _timespec(builder: Any, total_ns: Any) -> Any:
    spec = cgutils.alloca_once(builder, _I64, size=2)
    billion = ir.Constant(_I64, 1_000_000_000)
    builder.store(builder.sdiv(total_ns, billion), spec)
    builder.store(builder.srem(total_ns, billion), builder.gep(spec, [_I32(1)]))
    return spec


def _clock(number: int) -> Any:
    def clock(typingctx: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            kind = ir.FunctionType(_I32, [_I32, _I64.as_pointer()])
            clock_gettime = cgutils.get_or_insert_function(builder.module, kind, "clock_gettime")
            spec = cgutils.alloca_once(builder, _I64, size=2)
            builder.call(clock_gettime, [_I32(number), spec])
            seconds = builder.mul(builder.load(spec), ir.Constant(_I64, 1_000_000_000))
            return builder.add(seconds, builder.load(builder.gep(spec, [_I32(1)])))

        return types.int64(), codegen

    return intrinsic(clock)


# Nanoseconds.
mono_ns = _clock(CLOCK_MONOTONIC)
utc_ns = _clock(CLOCK_REALTIME)


@intrinsic
def sched_yield(typingctx: Any) -> Any:
    """Let another runnable thread have this core."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = ir.FunctionType(_I32, [])
        builder.call(cgutils.get_or_insert_function(builder.module, kind, "sched_yield"), [])
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def sleep_ns(typingctx: Any, duration_ns: Any) -> Any:
    """nanosleep; may end early by a signal."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = ir.FunctionType(_I32, [_I64.as_pointer(), _I64.as_pointer()])
        nanosleep = cgutils.get_or_insert_function(builder.module, kind, "nanosleep")
        builder.call(nanosleep, [_timespec(builder, args[0]), _I64.as_pointer()(None)])
        return context.get_dummy_value()

    return types.void(types.int64), codegen


def _futex(builder: Any, address: Any, operation: int, value: Any, spec: Any) -> None:
    kind = ir.FunctionType(_I64, [_I64] * 7)
    syscall = cgutils.get_or_insert_function(builder.module, kind, "syscall")
    zero = ir.Constant(_I64, 0)
    number, op = ir.Constant(_I64, _SYS_FUTEX), ir.Constant(_I64, operation)
    builder.call(syscall, [number, address, op, value, spec, zero, zero])


@intrinsic
def futex_wait(typingctx: Any, words: Any, index: Any, expected: Any, timeout_ns: Any) -> Any:
    """Sleep while the low 32 bits of ``words[index]`` equal those of ``expected``; at most ``timeout_ns``."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        address = builder.ptrtoint(item_pointer(context, builder, sig.args[0], args[0], args[1]), _I64)
        value = builder.and_(args[2], ir.Constant(_I64, 0xFFFFFFFF))
        spec = builder.ptrtoint(_timespec(builder, args[3]), _I64)
        _futex(builder, address, _FUTEX_WAIT, value, spec)
        return context.get_dummy_value()

    return types.void(words, types.intp, types.int64, types.int64), codegen


@intrinsic
def futex_wake(typingctx: Any, words: Any, index: Any) -> Any:
    """Wake everybody who waits on ``words[index]``."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        address = builder.ptrtoint(item_pointer(context, builder, sig.args[0], args[0], args[1]), _I64)
        everybody = ir.Constant(_I64, 0x7FFFFFFF)
        _futex(builder, address, _FUTEX_WAKE, everybody, ir.Constant(_I64, 0))
        return context.get_dummy_value()

    return types.void(words, types.intp), codegen
