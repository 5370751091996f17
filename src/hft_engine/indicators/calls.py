"""What numba has no function for: prefetching, and calling by its address what was compiled later.

So the engine's own kernels stay in the cache whatever the user adds: without an extension the list of addresses is
empty, with one it holds addresses made in this process.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import RequireLiteralValue
from numba.extending import intrinsic

LINE_BYTES = 64


def _call_extension(typingctx: Any, address: Any, state: Any, tick: Any, features: Any, shared: Any) -> Any:
    """``double address(double *state, tick record *, double *features, double *shared)``: all int64 addresses."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        word = ir.IntType(64)
        kind = ir.FunctionType(ir.DoubleType(), [word] * 4)  # pointers and words travel alike
        return builder.call(builder.inttoptr(args[0], kind.as_pointer()), args[1:])

    return types.float64(*[types.int64] * 5), codegen


call_extension: Any = intrinsic(_call_extension)


def _prefetch_lines(typingctx: Any, address: Any, lines: Any) -> Any:
    """Ask for ``lines`` cache lines from an int64 address on; a constant number. Changes nothing, cannot fail."""
    if not isinstance(lines, types.IntegerLiteral):
        raise RequireLiteralValue("lines")
    count = lines.literal_value

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer, word, word, word])
        prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        for i in range(count):
            at = builder.add(args[0], ir.Constant(ir.IntType(64), i * LINE_BYTES))
            # for writing, into every level, data
            builder.call(prefetch, [builder.inttoptr(at, pointer), word(1), word(3), word(1)])
        return context.get_dummy_value()

    return types.void(types.int64, lines), codegen


prefetch_lines: Any = intrinsic(prefer_literal=True)(_prefetch_lines)
