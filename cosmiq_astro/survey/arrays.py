"""Images larger than memory, as dask arrays: nothing is computed before it is asked for."""

import functools

import numpy as np

from cosmiq_astro.detector import CosmicRayDetector
from cosmiq_astro.preprocess import estimate_statistics

__all__ = ["detect_array"]

_CHUNK = 2048
_PLANES = ("probability", "uncertainty", "entropy", "mutual_information")


def detect_array(
    image,
    mask=None,
    *,
    model="acs-wfc-vi",
    T=16,
    sampling="antithetic",
    seed,
    readnoise=None,
    satlevel=None,
    device="auto",
):
    """
    Look for cosmic rays in a dask array, chunk by chunk.

    The sky is measured on the whole image, once, in this call; everything else
    is done when a plane is computed or stored, with any dask scheduler. Each
    chunk is read with the pixels around it that the network can see, so the
    planes are those that `~cosmiq_astro.CosmicRayDetector` gives for the whole
    image.

    Parameters
    ----------
    image : `dask.array.Array`
        Pixel values, electron, two-dimensional.
    mask : `dask.array.Array` or ndarray, optional
        True for pixels to leave out, of the image's shape.
    model : str, optional
        A model by name or folder; each worker loads it once.
    T, sampling : int, str
        As for `~cosmiq_astro.CosmicRayDetector`.
    seed : int
        Seed of the draws: all chunks must see the same networks.
    readnoise, satlevel, device : float, float, str
        As for `~cosmiq_astro.CosmicRayDetector`.

    Returns
    -------
    planes : dict of `dask.array.Array`
        ``probability``, ``uncertainty``, ``entropy`` and
        ``mutual_information``, float32, of the image's shape, in chunks of
        about 2048 pixels. Compute or store them together: they share their
        work.

    Raises
    ------
    ValueError
        If a shape is wrong, or the image is smaller than the network's
        field of view.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> from cosmiq_astro.survey import detect_array
    >>> image = da.random.default_rng(1).normal(50, 8, (200, 300), chunks=100)
    >>> planes = detect_array(image, model="acs-wfc-unet", seed=0)
    >>> planes["probability"].shape, planes["probability"].compute().max() < 0.5
    ((200, 300), np.True_)
    """
    import dask
    import dask.array as da

    detector = _detector(model, device)
    network = detector.model.network
    halo = -(-network.receptive_radius // network.grid) * network.grid
    if image.ndim != 2 or min(image.shape) <= halo:
        raise ValueError(
            f"image must have two dimensions of more than {halo} pixels, got shape {image.shape}; "
            "give a smaller one to CosmicRayDetector"
        )
    finite = da.isfinite(image)
    usable = finite
    if mask is not None:
        if mask.shape != image.shape:
            raise ValueError(f"mask has shape {mask.shape}, the image has {image.shape}")
        usable = finite & ~da.asarray(mask).astype(bool)
    statistics = estimate_statistics(_Computed(image), _Computed(usable), readnoise=readnoise)
    settings = {"T": T, "sampling": sampling, "seed": seed}
    work = functools.partial(
        _find, str(model), device, settings, statistics, satlevel=satlevel, halo=halo
    )
    padded = [da.pad(plane, halo, mode="symmetric") for plane in (image, usable, finite)]
    find = dask.delayed(work, pure=True)
    rows = []
    for y in range(0, image.shape[0], _CHUNK):
        row = []
        for x in range(0, image.shape[1], _CHUNK):
            shape = tuple(min(_CHUNK, n - i) for n, i in zip(image.shape, (y, x), strict=True))
            box = np.s_[y : y + shape[0] + 2 * halo, x : x + shape[1] + 2 * halo]
            found = find(*(plane[box] for plane in padded))
            row.append(da.from_delayed(found, (len(_PLANES), *shape), np.float32))
        rows.append(row)
    planes = da.concatenate([da.concatenate(row, axis=2) for row in rows], axis=1)
    return dict(zip(_PLANES, planes, strict=True))


class _Computed:
    """A dask array whose parts are computed when they are taken."""

    def __init__(self, array):
        self.array, self.shape, self.size = array, array.shape, array.size

    def __getitem__(self, box):
        return np.asarray(self.array[box.array if isinstance(box, _Computed) else box])


@functools.lru_cache(maxsize=2)
def _detector(model, device):
    return CosmicRayDetector(model, device=device)


@functools.lru_cache(maxsize=2)
def _networks(model, device, settings):
    return _detector(model, device).draw(**dict(settings))


def _find(model, device, settings, statistics, image, usable, finite, *, satlevel, halo):
    """Return the planes of one chunk, shape (4, ny, nx)."""
    networks = _networks(model, device, tuple(settings.items()))
    found = _detector(model, device).find(
        image,
        usable,
        networks,
        statistics,
        satlevel=satlevel,
        sampling=settings["sampling"],
    )
    inside = np.s_[halo:-halo, halo:-halo]
    planes = np.stack([found[name][inside] for name in _PLANES])
    planes[:, ~finite[inside]] = np.nan
    return planes
