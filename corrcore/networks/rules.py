"""What each of torch's basic operations makes of what its inputs see."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import torch

from corrcore.geometry import KernelSpec
from corrcore.networks.seen import Call, Grid, Pooled, Seen, Unknown


def follow(name: str, call: Call) -> list[Seen | None]:
    """What each output sees."""
    n = len(call.outputs)
    if unknown := next((seen for seen in call.seen if isinstance(seen, Unknown)), None):
        return [unknown] * n
    if torch.Tag.pointwise in call.func.tags or name in _POINTWISE:
        return [_united(call)] * n
    if not any(isinstance(seen, Grid) for seen in call.seen):
        return [Pooled()] * n
    rule = _RULES.get(name)
    if rule is None or (name not in _OF_SEVERAL and not isinstance(call.of(call.first), Grid)):
        return [Unknown(name)] * n
    found = rule(call)
    return found if isinstance(found, list) else [found] * n


def _united(call: Call) -> Seen:
    """What meets cell by cell."""
    grids = [
        (seen.moved(lambda dim, by=call.outputs[0].ndim - tensor.ndim: dim + by), tensor)
        for tensor in call.inputs
        if isinstance(seen := call.of(tensor), Grid)
    ]
    if not grids:
        return Pooled()
    found = grids[0][0]
    for other, _ in grids[1:]:
        if (other.y, other.x, other.before) != (found.y, found.x, found.before):
            return Unknown(call.func.overloadpacket.__name__)
        if (other.rows, other.columns) != (found.rows, found.columns):
            return Unknown(call.func.overloadpacket.__name__)
        found = _union(found, other)
    return found.whole() if any(isinstance(seen, Pooled) for seen in call.seen) else found


def _union(first: Grid, second: Grid) -> Grid:
    return replace(first, down=first.down.union(second.down), across=first.across.union(second.across))


def _convolution(call: Call) -> Seen:
    grid, weight = call.grid, call["weight"]
    if call["transposed"] or (grid.y, grid.x) != (2, 3):
        return Unknown("convolution")
    return _windowed(call, weight.shape[2:], call["stride"], call["padding"], call["dilation"])


def _pool(call: Call) -> Seen:
    kernel = call["kernel_size"]
    dilation = call.arguments.get("dilation", 1)
    return _windowed(call, kernel, call["stride"] or kernel, call["padding"], dilation)


def _windowed(call: Call, kernel: Any, stride: Any, padding: Any, dilation: Any) -> Seen:
    grid, out = call.grid, call.outputs[0]
    if grid.dims != {out.ndim - 2, out.ndim - 1} or grid.tokens:
        return Unknown(call.func.overloadpacket.__name__)
    down, across = (
        KernelSpec(*(_along(each, axis) for each in (kernel, stride, padding, dilation))) for axis in (0, 1)
    )
    rows, columns = out.shape[-2:]
    return replace(grid, rows=rows, columns=columns, down=grid.down.through(down), across=grid.across.through(across))


def _along(value: Any, axis: int) -> int:
    each = [int(one) for one in value] if isinstance(value, Iterable) else [int(value)]
    return each[axis] if len(each) > 1 else each[0]


def _across_channels(call: Call) -> Seen:
    """Local response norm averages over channels, as volumes of one pixel each."""
    kernel, grid = call["kernel_size"], call.grid
    alone = [int(side) for side in kernel][1:] == [1, 1] and grid.dims == {call.first.ndim - 2, call.first.ndim - 1}
    return grid if alone else Unknown("avg_pool3d")


def _padded(call: Call) -> Seen:
    """Places beyond the border come before those of the image."""
    grid, pads, out = call.grid, list(call.arguments.get("pad") or call.arguments["padding"]), call.outputs[0]
    before = {out.ndim - 1 - n: pads[2 * n] for n in range(len(pads) // 2)}
    if grid.tokens:
        return grid if not before.get(grid.y) else Unknown("pad")
    return replace(
        grid,
        rows=out.shape[grid.y],
        columns=out.shape[grid.x],
        down=grid.down.starting(-before.get(grid.y, 0)),
        across=grid.across.starting(-before.get(grid.x, 0)),
    )


def _reduced(call: Call) -> Seen:
    """Averages, sums and the like: over channels places stay, over places nothing of them is left."""
    grid, ndim = call.grid, call.first.ndim
    dims = call.arguments.get("dim")
    dims = list(range(ndim)) if dims is None or dims == [] else [dims] if isinstance(dims, int) else list(dims)
    dims = [dim % ndim for dim in dims]
    if grid.dims & set(dims):
        return Pooled()
    return grid if call.arguments.get("keepdim") else grid.moved(lambda dim: dim - sum(each < dim for each in dims))


def _normalised(call: Call) -> Seen:
    grid, ndim = call.grid, call.first.ndim
    over = range(ndim - len(call["normalized_shape"]), ndim)
    return grid.whole() if grid.dims & set(over) else grid


def _batch_normalised(call: Call) -> Seen:
    training = call.arguments.get("training", call.arguments.get("train", False))
    return call.grid.whole() if training else call.grid


def _soft(call: Call) -> Seen:
    grid = call.grid
    return grid.whole() if call["dim"] % call.first.ndim in grid.dims else grid


def _product(call: Call) -> Seen:
    """Rows of the first by columns of the second: what is summed over is mixed."""
    first, second = (call.arguments.get(name) for name in _FACTORS[call.func.overloadpacket.__name__])
    left, right = call.of(first), call.of(second)
    ndim = call.outputs[0].ndim
    if isinstance(left, Grid) and ndim - 1 not in left.dims:
        mixed = right is not None
        return left.whole() if mixed else left
    if isinstance(right, Grid) and ndim - 2 not in right.dims:
        return right.whole() if left is not None else right
    return Pooled()


def _attention(call: Call) -> Seen:
    seen = call.of(call["query"])
    return seen.whole() if isinstance(seen, Grid) else Pooled()


def _joined(call: Call) -> Seen:
    """Side by side: channels are united, and tokens that have no place come before or after those that have."""
    tensors = call["tensors"]
    dim = call.arguments.get("dim", 0) % call.outputs[0].ndim
    grids = [(n, seen) for n, each in enumerate(tensors) if isinstance(seen := call.of(each), Grid)]
    mixed = any(isinstance(call.of(each), Pooled) for each in tensors)
    found = grids[0][1]
    if found.tokens and dim == found.y:
        if len(grids) > 1:
            return Unknown("cat")
        lengths = [each.shape[dim] for each in tensors]
        number = grids[0][0]
        return replace(
            found, before=found.before + sum(lengths[:number]), after=found.after + sum(lengths[number + 1 :])
        )
    if dim in found.dims or any((each.y, each.x, each.rows) != (found.y, found.x, found.rows) for _, each in grids):
        return Unknown("cat")
    for _, other in grids[1:]:
        found = _union(found, other)
    return found.whole() if mixed else found


def _viewed(call: Call) -> Seen:
    """Another shape of the same numbers: places stay where rows and columns, or tokens, are found in it."""
    return _reshaped(call.grid, call.first.shape, call.outputs[0].shape)


def _reshaped(grid: Grid, old: Sequence[int], new: Sequence[int]) -> Seen:
    before = prod(old[: grid.y])
    n_tokens = grid.before + grid.rows * grid.columns + grid.after
    for dim in range(len(new)):
        if prod(new[:dim]) != before or new[dim] == 1 != n_tokens:
            continue
        plain = not grid.before and not grid.after and (grid.tokens or grid.x == grid.y + 1)
        if plain and tuple(new[dim : dim + 2]) == (grid.rows, grid.columns):
            return replace(grid, y=dim, x=dim + 1)
        if new[dim] == n_tokens and (grid.tokens or grid.x == grid.y + 1):
            return replace(grid, y=dim, x=dim)
    if prod(new) == max(new):
        return Pooled()  # all in a row, as classifiers take it
    return Unknown("view")


def _permuted(call: Call) -> Seen:
    ndim = call.first.ndim
    dims = [dim % ndim for dim in call["dims"]]
    return call.grid.moved(dims.index)


def _transposed(call: Call) -> Seen:
    ndim = call.first.ndim
    first, second = (call.arguments.get(name, usual) % ndim for name, usual in (("dim0", 0), ("dim1", 1)))
    swap = {first: second, second: first}
    return call.grid.moved(lambda dim: swap.get(dim, dim))


def _selected(call: Call) -> Seen:
    grid, dim = call.grid, call["dim"] % call.first.ndim
    if dim in grid.dims:
        return Pooled() if grid.tokens else Unknown("select")
    return grid.moved(lambda each: each - (each > dim))


def _sliced(call: Call) -> Seen:
    grid, dim = call.grid, call.arguments.get("dim", 0) % call.first.ndim
    if dim not in grid.dims:
        return grid
    length, start, step = call.first.shape[dim], call["start"] or 0, call.arguments.get("step", 1)
    start = start + length if start < 0 else start
    return _stretch(grid, dim, start, start + call.outputs[0].shape[dim], step, length)


def _stretch(grid: Grid, dim: int, start: int, stop: int, step: int, length: int) -> Seen:
    """A part along a dimension of places."""
    if grid.tokens:
        if stop <= grid.before or start >= length - grid.after:
            return Pooled()
        if step == 1 and start <= grid.before and stop >= length - grid.after:
            return replace(grid, before=grid.before - start, after=grid.after - (length - stop))
        return Unknown("slice")
    n = stop - start
    if dim == grid.y:
        return replace(grid, rows=n, down=grid.down.starting(start).every(step))
    return replace(grid, columns=n, across=grid.across.starting(start).every(step))


def _split(call: Call) -> list[Seen | None]:
    grid, dim = call.grid, call.arguments.get("dim", 0) % call.first.ndim
    if dim not in grid.dims:
        return [grid] * len(call.outputs)
    found: list[Seen | None] = []
    start = 0
    for output in call.outputs:
        stop = start + output.shape[dim]
        found.append(_stretch(grid, dim, start, stop, 1, call.first.shape[dim]))
        start = stop
    return found


def _unbound(call: Call) -> list[Seen | None]:
    return [_selected(call)] * len(call.outputs)


def _widened(call: Call) -> Seen:
    by = call.outputs[0].ndim - call.first.ndim
    return call.grid.moved(lambda dim: dim + by)


def _unsqueezed(call: Call) -> Seen:
    dim = call["dim"] % call.outputs[0].ndim
    return call.grid.moved(lambda each: each + (each >= dim))


def _squeezed(call: Call) -> Seen:
    return _reshaped(call.grid, call.first.shape, call.outputs[0].shape)


def _copied(call: Call) -> Seen:
    seen = call.of(call["src"])
    return Pooled() if seen is None else seen


_POINTWISE = {
    *("clone", "detach", "alias", "_to_copy", "contiguous", "native_dropout", "lift_fresh", "view_of", "bernoulli_"),
    *("masked_fill", "where", "dropout", "hardswish", "hardswish_", "_prelu_kernel", "rrelu_with_noise"),
}
_REDUCED = (
    "mean",
    "sum",
    "amax",
    "amin",
    "var",
    "std",
    "linalg_vector_norm",
    "norm",
    "argmax",
    "max",
    "prod",
    "var_mean",
)
_FACTORS = {"mm": ("self", "mat2"), "addmm": ("mat1", "mat2"), "bmm": ("self", "mat2"), "baddbmm": ("batch1", "batch2")}
_ATTENTION = (
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_attention_math",
    "_scaled_dot_product_fused_attention_overrideable",
)
_OF_SEVERAL = {"cat", "copy_", *_FACTORS, *_ATTENTION}
_RULES: dict[str, Callable[[Call], Seen | list[Seen | None]]] = {
    "convolution": _convolution,
    "max_pool2d_with_indices": _pool,
    "max_pool2d": _pool,
    "avg_pool2d": _pool,
    "avg_pool3d": _across_channels,
    "_adaptive_avg_pool2d": lambda call: (
        Pooled() if list(call["output_size"]) == [1, 1] else Unknown("adaptive pooling")
    ),
    **dict.fromkeys(("constant_pad_nd", "reflection_pad2d", "replication_pad2d"), _padded),
    **dict.fromkeys(_REDUCED, _reduced),
    "native_layer_norm": _normalised,
    "_fused_rms_norm": _normalised,
    "native_group_norm": lambda call: call.grid.whole(),
    **dict.fromkeys(("native_batch_norm", "_native_batch_norm_legit", "cudnn_batch_norm"), _batch_normalised),
    "_native_batch_norm_legit_no_training": lambda call: call.grid,
    **dict.fromkeys(("_softmax", "_safe_softmax", "_log_softmax"), _soft),
    **dict.fromkeys(_FACTORS, _product),
    **dict.fromkeys(_ATTENTION, _attention),
    "cat": _joined,
    **dict.fromkeys(("view", "_unsafe_view", "reshape", "_reshape_alias"), _viewed),
    "permute": _permuted,
    "transpose": _transposed,
    "t": _transposed,
    "select": _selected,
    "slice": _sliced,
    **dict.fromkeys(("split", "split_with_sizes", "chunk"), _split),
    "unbind": _unbound,
    "expand": _widened,
    "unsqueeze": _unsqueezed,
    "squeeze": _squeezed,
    "copy_": _copied,
}
