"""Windows about chosen pixels of an image, or blocks of it, and statistics of what is in them."""

import numpy as np
import scipy

TOUCHING = np.ones((3, 3), dtype=bool)
"""A pixel and the eight that touch it, by a side or a corner: pixels that do are of one hit."""
# Neighbours gathered at a time: bounds the memory whatever the number of flagged pixels.
_MAX_GATHERED = 2**18
# Pixels. A value from farther away says nothing about the scene at the flagged pixel.
MAX_REACH = 50


def windows(usable, targets, size):
    """
    Yield blocks of target pixels with their windows.

    Each block is ``(chosen, window, valid, distance)``: indices into the
    targets ``(n,)``; rows and columns of the window's pixels, each
    ``(n, k)``; which of these are usable ``(n, k)``, at least one per target;
    and their distance from the target, pixel ``(k,)``. Targets without a
    usable pixel within `MAX_REACH` are not yielded.
    """
    rows, columns = targets
    if not usable.any():
        return
    # The chessboard distance to the nearest usable pixel is the half width of the first window
    # that holds one; all of its usable pixels then lie on its outermost ring.
    reach = scipy.ndimage.distance_transform_cdt(~usable, metric="chessboard")[rows, columns]
    half = size // 2
    reach = np.maximum(reach, half)
    for radius in np.unique(reach[reach <= max(half, MAX_REACH)]):
        dy, dx = np.indices((2 * radius + 1, 2 * radius + 1)).reshape(2, -1) - radius
        if radius > half:
            ring = np.maximum(abs(dy), abs(dx)) == radius
            dy, dx = dy[ring], dx[ring]
        same_reach = np.flatnonzero(reach == radius)
        step = max(1, _MAX_GATHERED // dy.size)
        for start in range(0, same_reach.size, step):
            chosen = same_reach[start : start + step]
            y = rows[chosen, None] + dy
            x = columns[chosen, None] + dx
            inside = (y >= 0) & (y < usable.shape[0]) & (x >= 0) & (x < usable.shape[1])
            window = (np.where(inside, y, 0), np.where(inside, x, 0))
            yield chosen, window, inside & usable[window], np.hypot(dy, dx)


def masked_median(values, valid):
    """Median along the second axis of the valid values, at least one per row."""
    ordered = np.sort(np.where(valid, values, np.inf), axis=1)
    n_valid = valid.sum(axis=1, keepdims=True)
    middle = np.concatenate([(n_valid - 1) // 2, n_valid // 2], axis=1)
    return np.take_along_axis(ordered, middle, axis=1).mean(axis=1)


def masked_mean(values, valid):
    """Mean of the valid values of each row, NaN without one; and their number."""
    n_valid = valid.sum(axis=1)
    total = np.where(valid, values, 0).sum(axis=1, dtype=np.float64)
    return np.divide(total, n_valid, out=np.full(total.shape, np.nan), where=n_valid > 0), n_valid


def masked_variance(values, valid):
    """Unbiased sample variance of the valid values of each row, NaN below two; their number."""
    mean, n_valid = masked_mean(values, valid)
    squares, _ = masked_mean((values - mean[:, None]) ** 2, valid)
    bessel = np.divide(n_valid, n_valid - 1, out=np.full(n_valid.shape, np.nan), where=n_valid > 1)
    return squares * bessel, n_valid


def block_medians(image, n_blocks):
    """
    Medians of the finite pixels of blocks, NaN in a block without one.

    ``n_blocks`` is how many there are along each axis, and the shape of the
    medians; the edges of the blocks, rows and columns, are returned as well.
    """
    y, x = (
        np.linspace(0, n, parts + 1).astype(int)
        for n, parts in zip(image.shape, n_blocks, strict=True)
    )
    medians = np.full(n_blocks, np.nan)
    for j, i in np.ndindex(*n_blocks):
        block = image[y[j] : y[j + 1], x[i] : x[i + 1]]
        block = block[np.isfinite(block)]
        if block.size:
            medians[j, i] = np.median(block)
    return medians, y, x
