"""Words, bits and copies inside compiled code: memory of whoever calls, with no order between processes.

What two processes share goes through ``shm.atomics``.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_I64 = ir.IntType(64)


def item_pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    """For intrinsics: of ``array[index]``."""
    view = context.make_array(array_type)(context, builder, value=array)
    return cgutils.get_item_pointer(context, builder, array_type, view, [index], wraparound=False)


def record_words(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    """For intrinsics: the first word of a record."""
    indices = [index] if array_type.ndim == 1 else [index, context.get_constant(types.intp, 0)]
    view = context.make_array(array_type)(context, builder, value=array)
    start = cgutils.get_item_pointer(context, builder, array_type, view, indices, wraparound=False)
    return builder.bitcast(start, _I64.as_pointer())


@intrinsic
def copy_record(typingctx: Any, target: Any, target_index: Any, source: Any, source_index: Any) -> Any:
    """``target[target_index] = source[source_index]`` as one memory copy.

    Both are arrays of the same record dtype, or both C-contiguous int64[records, words].
    """
    if target.dtype != source.dtype or target.ndim != source.ndim:
        raise TypeError(f"copy_record: {target} is not like {source}")

    def row(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> tuple[Any, Any]:
        if array_type.ndim == 1:
            size = ir.Constant(_I64, array_type.dtype.size)
            return item_pointer(context, builder, array_type, array, index), size
        view = context.make_array(array_type)(context, builder, value=array)
        zero = context.get_constant(types.intp, 0)
        start = cgutils.get_item_pointer(context, builder, array_type, view, [index, zero], wraparound=False)
        words = builder.extract_value(view.shape, 1)
        return start, builder.mul(words, ir.Constant(_I64, 8))

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        to, size = row(context, builder, sig.args[0], args[0], args[1])
        start, _ = row(context, builder, sig.args[2], args[2], args[3])
        cgutils.raw_memcpy(builder, to, start, size, 1)
        return context.get_dummy_value()

    return types.void(target, types.intp, source, types.intp), codegen


@intrinsic
def copy_bytes(typingctx: Any, target: Any, source: Any, size: Any) -> Any:
    """Copy ``size`` bytes between two addresses of this process that do not overlap."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = ir.IntType(8).as_pointer()
        to, start = (builder.inttoptr(address, pointer) for address in args[:2])
        cgutils.raw_memcpy(builder, to, start, args[2], 1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@intrinsic
def copy_body(typingctx: Any, target: Any, target_index: Any, source: Any, source_index: Any) -> Any:
    """As ``copy_record``, but for the first word, which is left as it is. One-dimensional arrays of records."""
    if target.dtype != source.dtype or target.ndim != 1 or source.ndim != 1:
        raise TypeError(f"copy_body: {target} is not like {source}")

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        to = record_words(context, builder, sig.args[0], args[0], args[1])
        start = record_words(context, builder, sig.args[2], args[2], args[3])
        one, size = ir.Constant(_I64, 1), ir.Constant(_I64, sig.args[0].dtype.size - 8)
        cgutils.raw_memcpy(builder, builder.gep(to, [one]), builder.gep(start, [one]), size, 1)
        return context.get_dummy_value()

    return types.void(target, types.intp, source, types.intp), codegen


@intrinsic
def copy_head(
    typingctx: Any, target: Any, target_index: Any, source: Any, source_index: Any, words: Any
) -> Any:
    """As ``copy_record``, but for the first ``words`` words alone. One-dimensional arrays of records."""
    if target.dtype != source.dtype or target.ndim != 1 or source.ndim != 1:
        raise TypeError(f"copy_head: {target} is not like {source}")

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        to = record_words(context, builder, sig.args[0], args[0], args[1])
        start = record_words(context, builder, sig.args[2], args[2], args[3])
        size = builder.mul(args[4], ir.Constant(_I64, 8))
        cgutils.raw_memcpy(builder, to, start, size, 1)
        return context.get_dummy_value()

    return types.void(target, types.intp, source, types.intp, types.int64), codegen


def _pieces(words: int) -> list[int]:
    """Sizes, in words, of the vectors that make so many: the odd ones first, then whole cache lines."""
    odd = [size for size in (1, 2, 4) if words & size]
    return odd + [8] * (words // 8)


@intrinsic
def copy_values(typingctx: Any, target: Any, source: Any) -> Any:
    """``target[:] = source`` of two fields of records, arrays of 8-byte items that do not overlap, as vectors.

    LLVM makes single moves of the loop: it cannot know that the records do not overlap.
    """
    if target.dtype != source.dtype or target.dtype.bitwidth != 64 or target.shape != source.shape:
        raise TypeError(f"copy_values: {target} is not like {source}")

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        arrays = zip(sig.args, args, strict=True)
        to, start = (context.make_array(kind)(context, builder, value=array).data for kind, array in arrays)
        to, start = (builder.bitcast(pointer, _I64.as_pointer()) for pointer in (to, start))
        at = 0
        for size in _pieces(sig.args[0].shape[0]):
            vector = ir.VectorType(_I64, size).as_pointer()
            place = ir.Constant(_I64, at)
            value = builder.load(builder.bitcast(builder.gep(start, [place]), vector), align=8)
            builder.store(value, builder.bitcast(builder.gep(to, [place]), vector), align=8)
            at += size
        return context.get_dummy_value()

    return types.void(target, source), codegen


@intrinsic
def load_word(typingctx: Any, text: Any, at: Any) -> Any:
    """The eight bytes of uint8[] ``text`` from ``at`` on as an int64, the first lowest; none of them is checked."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = builder.bitcast(item_pointer(context, builder, sig.args[0], *args), _I64.as_pointer())
        return builder.load(pointer, align=1)

    return types.int64(text, types.intp), codegen


@intrinsic
def as_float(typingctx: Any, bits: Any) -> Any:
    """The float64 of these bits, a uint64."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.DoubleType())

    return types.float64(types.uint64), codegen


@intrinsic
def swapped_bytes(typingctx: Any, value: Any) -> Any:
    """An int64 with its bytes in the other order."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.bswap(args[0])

    return types.int64(types.int64), codegen


@intrinsic
def trailing_zeros(typingctx: Any, value: Any) -> Any:
    """Trailing zero bits of a non-zero int64."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), codegen


@intrinsic
def leading_zeros(typingctx: Any, value: Any) -> Any:
    """Leading zero bits of a non-zero int64."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.ctlz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), codegen
