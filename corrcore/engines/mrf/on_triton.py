"""A step of `on_torch.Batch` as a kernel of Triton's, where that is installed."""

import functools
import subprocess
from typing import no_type_check

try:
    import triton
    import triton.language as tl
except ImportError:  # there is none for some systems
    triton = None

AVAILABLE = triton is not None


@functools.cache
def is_usable() -> bool:
    """Whether kernels can be launched: Triton needs the driver's library for that, and a C compiler to bind it with."""
    if triton is None:
        return False
    try:
        triton.runtime.driver.active.get_current_target()
    except (AssertionError, ImportError, OSError, RuntimeError, subprocess.CalledProcessError):
        return False
    return True


if triton is not None:

    @triton.jit(do_not_specialize=["number", "first"])
    @no_type_check
    def step(
        costs,
        forth,
        back,
        labels,
        lessened,
        smoothness,
        number,
        first,
        rows,
        columns,
        height: tl.constexpr,
        width: tl.constexpr,
        TALL: tl.constexpr,  # noqa: N803
        WIDE: tl.constexpr,  # noqa: N803
        FORTH: tl.constexpr,  # noqa: N803
        REWEIGHTED: tl.constexpr,  # noqa: N803
    ):
        """One message of one cell: to the right or left by program 0, down or up by program 1."""
        axis, row, pair = tl.program_id(0), first + tl.program_id(1), tl.program_id(2).to(tl.int64)
        column = number - row
        y, x = tl.arange(0, TALL)[:, None], tl.arange(0, WIDE)[None, :]
        here, inside = y * width + x, (y < height) & (x < width)
        size, across = height * width, rows * (columns + 1)
        own = (pair * rows + row) * columns + column
        left = pair * (across + (rows + 1) * columns) + row * (columns + 1) + column
        up = pair * (across + (rows + 1) * columns) + across + row * columns + column
        before, above = tl.load(forth + left * size + here, inside), tl.load(forth + up * size + here, inside)
        after = tl.load(back + (left + 1) * size + here, inside)
        below = tl.load(back + (up + columns) * size + here, inside)
        sums = tl.load(costs + own * size + here, inside) + (after + below)
        if FORTH:
            # a neighbour beyond the border has no say
            aside, over = smoothness * (column > 0).to(tl.float32), smoothness * (row > 0).to(tl.float32)
            aside_y = y - tl.load(labels + (own - 1) * 2, column > 0, 0)
            aside_x = x - tl.load(labels + (own - 1) * 2 + 1, column > 0, 0) - 1
            over_y = y - tl.load(labels + (own - columns) * 2, row > 0, 0) - 1
            over_x = x - tl.load(labels + (own - columns) * 2 + 1, row > 0, 0)
            given = sums + aside * (aside_y * aside_y).to(tl.float32) + aside * (aside_x * aside_x).to(tl.float32)
            given += over * (over_y * over_y).to(tl.float32) + over * (over_x * over_x).to(tl.float32)
            given = tl.where(inside, given, float("inf"))
            best = tl.min(tl.where(given == tl.min(given), x * TALL + y, TALL * WIDE))
            if axis == 0:
                tl.store(labels + own * 2, (best % TALL).to(tl.int64))
                tl.store(labels + own * 2 + 1, (best // TALL).to(tl.int64))
        sums += before + above
        by = 0.0
        if not FORTH:
            by = tl.min(tl.where(inside, sums, float("inf")))
            sums -= by
        part = 1.0
        if REWEIGHTED:
            n_after = (column + 1 < columns).to(tl.int32) + (row + 1 < rows).to(tl.int32)
            n_before = (column > 0).to(tl.int32) + (row > 0).to(tl.int32)
            part = 1.0 / tl.maximum(tl.maximum(n_after, n_before), 1).to(tl.float32)
        if FORTH:
            cost = part * sums - tl.where(axis == 0, after, below)
            there = tl.where(axis == 0, column + 1 < columns, row + 1 < rows)
            message = forth + tl.where(axis == 0, left + 1, up + columns) * size
            rows_apart, columns_apart = axis, 1 - axis
        else:
            cost = part * sums - tl.where(axis == 0, before, above)
            there = tl.where(axis == 0, column > 0, row > 0)
            message = back + tl.where(axis == 0, left, up) * size
            rows_apart, columns_apart = -axis, axis - 1
        least = tl.min(tl.where(inside, cost, float("inf")))
        if not FORTH:
            tl.store(lessened + own * 2 + axis, tl.where(axis == 0, by, 0.0) + tl.where(there, least, 0.0))
        if there:
            # Lines that all threads are to see go by way of where the message will be: rows first, and then columns.
            tl.store(message + here, cost - least, inside)
            tl.debug_barrier()
            spread = tl.full([TALL, WIDE], float("inf"), tl.float32)
            for other in tl.range(0, height, loop_unroll_factor=16):
                apart = (y - other - rows_apart).to(tl.float32)
                line = tl.load(message + other * width + x, x < width)
                spread = tl.minimum(spread, line + smoothness * apart * apart)
            tl.debug_barrier()
            tl.store(message + y + x * height, spread, inside)
            tl.debug_barrier()
            label, place = tl.arange(0, WIDE)[:, None], tl.arange(0, TALL)[None, :]
            turned = tl.full([WIDE, TALL], float("inf"), tl.float32)
            for other in tl.range(0, width, loop_unroll_factor=16):
                apart = (label - other - columns_apart).to(tl.float32)
                line = tl.load(message + other * height + place, place < height)
                turned = tl.minimum(turned, line + smoothness * apart * apart)
            tl.debug_barrier()
            tl.store(message + here, tl.trans(turned), inside)
