"""Calling a compiled extension by its address from a kernel that was compiled without knowing it.

So the engine's own kernels stay in the cache whatever the user adds: without an extension the list of addresses is
empty, with one it holds addresses made in this process.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


def _call_extension(typingctx: Any, address: Any, state: Any, tick: Any, features: Any) -> Any:
    """``double address(double *state, tick record *, double *features)``; all four are int64 addresses."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        word = ir.IntType(64)
        kind = ir.FunctionType(ir.DoubleType(), [word, word, word])  # pointers and words travel alike
        return builder.call(builder.inttoptr(args[0], kind.as_pointer()), args[1:])

    return types.float64(types.int64, types.int64, types.int64, types.int64), codegen


call_extension: Any = intrinsic(_call_extension)
