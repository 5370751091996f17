"""How the engine's own kernels are compiled."""

import functools
from collections.abc import Callable
from typing import Any

from numba import _dynfunc, njit, typeof
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import LoweringPass, register_pass
from numba.core.registry import CPUDispatcher
from numba.core.typed_passes import NativeLowering


def kernel(**options: Any) -> Any:
    """``numba.njit`` for a kernel that works in the memory it is given: it may not allocate, nor return an array.

    Without the interpreter's lock, with numpy's arithmetic (no exception on a division by zero), and without counting
    references to arrays: two calls for each array that one kernel hands to another, a third of a small kernel's time.
    ``forceinline``: for what is called once a tick; a call that hands over a dozen arrays costs more than its body.

    ``cache=True`` marks what Python calls. All else is called by compiled code, of whose module it becomes a part: of
    itself it needs neither numba's two wrappers nor optimisation nor machine code, half of what a first start would
    take to compile.
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


class _PartLibrary(JITCodeLibrary):  # type: ignore[misc]
    """A kernel's module that is linked into its callers', which are optimised and compiled as a whole."""

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True


@register_pass(mutates_CFG=True, analysis_only=False)
class _MakeCallable(LoweringPass):  # type: ignore[misc]
    """What NativeLowering does for compiled callers, without the machine code that it makes first."""

    _name = "make_callable_by_compiled_code"

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        lowered, library = state["cr"], state["library"]
        name = lowered.fndesc.qualname
        key = _dynfunc.make_function(lowered.fndesc.lookup_module(), name, name, 0, lowered.env, (library,))
        state.targetctx.insert_user_function(key, lowered.fndesc, [library])
        state.reload_init.extend(library._reload_init)
        state["cr"] = lowered._replace(cfunc=key)
        return True


class _PartCompiler(CompilerBase):  # type: ignore[misc]
    def define_pipelines(self) -> list[Any]:
        state = self.state
        state["library"] = _PartLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        state.flags.no_compile = True
        passes = DefaultPassBuilder.define_nopython_pipeline(state)
        passes.add_pass_after(_MakeCallable, NativeLowering)
        passes.finalize()
        return [passes]


def _inner(options: dict[str, Any], function: Callable[..., Any]) -> Any:
    without = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "pipeline_class": _PartCompiler}
    made = njit(**without, **options)(function)
    made.__class__ = _InnerKernel
    made.options = options
    return made
