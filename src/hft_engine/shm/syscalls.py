"""System calls on file descriptors from compiled code: read a socket that may be empty, wait until it is not.

By symbol name, not through ctypes, so that a kernel that calls them can be cached.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_I64, _I32, _I16 = ir.IntType(64), ir.IntType(32), ir.IntType(16)
_MSG_DONTWAIT = 0x40
_POLLIN = 0x1


def _errno(builder: Any) -> Any:
    kind = ir.FunctionType(_I32.as_pointer(), [])
    location = builder.call(cgutils.get_or_insert_function(builder.module, kind, "__errno_location"), [])
    return builder.sext(builder.load(location), _I64)


@intrinsic
def receive_now(typingctx: Any, fd: Any, address: Any, count: Any) -> Any:
    """recv(2) without waiting, up to ``count`` bytes to ``address``. Bytes read, 0 at the end, or -errno."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = ir.FunctionType(_I64, [_I32, _I64, _I64, _I32])
        recv = cgutils.get_or_insert_function(builder.module, kind, "recv")
        fd_32 = builder.trunc(args[0], _I32)
        got = builder.call(recv, [fd_32, args[1], args[2], _I32(_MSG_DONTWAIT)])
        failed = builder.icmp_signed("<", got, _I64(0))
        return builder.select(failed, builder.neg(_errno(builder)), got)

    return types.int64(types.int64, types.int64, types.int64), codegen


@intrinsic
def wait_readable(typingctx: Any, fd: Any, timeout_ms: Any) -> Any:
    """poll(2): whether there is something to read, waiting for it at most ``timeout_ms``; may end early by a signal."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        entry = cgutils.alloca_once(builder, _I64)  # struct pollfd: int fd; short events, revents
        builder.store(builder.and_(args[0], _I64(0xFFFFFFFF)), entry)
        events = builder.gep(builder.bitcast(entry, _I16.as_pointer()), [_I32(2)])
        builder.store(_I16(_POLLIN), events)
        kind = ir.FunctionType(_I32, [_I64.as_pointer(), _I64, _I32])
        poll = cgutils.get_or_insert_function(builder.module, kind, "poll")
        found = builder.call(poll, [entry, _I64(1), builder.trunc(args[1], _I32)])
        return builder.icmp_signed(">", found, _I32(0))

    return types.boolean(types.int64, types.int64), codegen
