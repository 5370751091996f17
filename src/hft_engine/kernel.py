"""How the engine's own kernels are compiled."""

import functools
from collections.abc import Callable
from typing import Any

from numba import njit, typeof
from numba.core.registry import CPUDispatcher


def kernel(**options: Any) -> Any:
    """``numba.njit`` for a kernel that works in the memory it is given: it may not allocate, nor return an array.

    Without the interpreter's lock, with numpy's arithmetic (no exception on a division by zero), and without counting
    references to arrays: two calls for each array that one kernel hands to another, a third of a small kernel's time.
    ``forceinline``: for what is called once a tick; a call that hands over a dozen arrays costs more than its body.

    ``cache=True`` marks what Python calls. All else is called by compiled code, so numba need not make its two
    wrappers of it, a fifth of the time that a first start takes to compile.
    """
    options = {"nogil": True, "error_model": "numpy", "_nrt": False, **options}
    return njit(**options) if options.get("cache") else functools.partial(_inner, options)


def direct(function: Any, *arguments: Any) -> Callable[..., int]:
    """What was compiled (or is, now) of a ``cache=True`` kernel for arguments of these types: called without numba's
    look at the type of each, which costs as much as a small kernel. Nobody looks then: hand it nothing else.
    """
    entry: Callable[..., int] = function.compile(tuple(map(typeof, arguments)))
    return entry


class _InnerKernel(CPUDispatcher):  # type: ignore[misc]  # numba has no types
    """Compiled without wrappers, so a call from Python would go nowhere: it gets a kernel of its own, with them."""

    def __call__(self, *args: Any) -> Any:
        whole = vars(self).get("whole")
        if whole is None:
            whole = self.whole = njit(**self.options)(self.py_func)
        return whole(*args)


def _inner(options: dict[str, Any], function: Callable[..., Any]) -> Any:
    made = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **options)(function)
    made.__class__ = _InnerKernel
    made.options = options
    return made
