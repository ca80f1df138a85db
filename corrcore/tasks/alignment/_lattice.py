"""Where points come from that a bent lattice has been moved over."""

from typing import no_type_check

import numpy as np

from corrcore.compiled import kernel


@kernel()
@no_type_check
def fill_sources(moved, x, y, points, found):
    """Fills in where points, in the order of their y, come from, by the triangles of a lattice at `x`, `y`.

    A lattice square is cut along the diagonal from its top right corner; `moved` has the places of all corners.
    """
    heights = np.ascontiguousarray(points[:, 1])
    for turned in (False, True):
        for row in range(len(y) - 1):
            for column in range(len(x) - 1):
                for side in (0, 1):  # the right angle is at the top left, or at the bottom right
                    step = 1 - 2 * side
                    r, c = row + side, column + side
                    x0, y0 = moved[r, c]
                    x1, y1 = moved[r, c + step, 0] - x0, moved[r, c + step, 1] - y0
                    x2, y2 = moved[r + step, c, 0] - x0, moved[r + step, c, 1] - y0
                    area = x1 * y2 - y1 * x2
                    if area == 0 or (area < 0) != turned:
                        continue
                    left, right = x0 + min(x1, x2, 0.0), x0 + max(x1, x2, 0.0)
                    bottom = y0 + max(y1, y2, 0.0)
                    for n in range(np.searchsorted(heights, y0 + min(y1, y2, 0.0)), len(heights)):
                        if heights[n] > bottom:
                            break
                        if not left <= points[n, 0] <= right or not np.isnan(found[n, 0]):
                            continue
                        dx, dy = points[n, 0] - x0, heights[n] - y0
                        first, second = (dx * y2 - dy * x2) / area, (x1 * dy - y1 * dx) / area
                        if first >= -1e-9 and second >= -1e-9 and first + second <= 1 + 1e-9:
                            found[n, 0] = x[c] + first * (x[c + step] - x[c])
                            found[n, 1] = y[r] + second * (y[r + step] - y[r])
