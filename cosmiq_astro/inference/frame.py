"""An image on the device where a network looks at it."""

from dataclasses import dataclass

import numpy as np
import torch

from cosmiq_astro.inference.tiling import bordered, reflect_border
from cosmiq_astro.preprocess import (
    LARGEST,
    ImageStatistics,
    fill_holes,
    normalize_tensor,
    subtract_sky,
)

__all__ = ["Frame", "to_host"]


@dataclass(frozen=True)
class Frame:
    """
    An image without its sky, with the border that its tiles read.

    Attributes
    ----------
    pixels : Tensor
        Electron, float32, finite; filled in where a pixel may not be used. With the border.
    inside : tuple of slice
        Where the image itself is.
    statistics : `~cosmiq_astro.preprocess.ImageStatistics`
        Its sky and noise.
    """

    pixels: torch.Tensor
    inside: tuple[slice, slice]
    statistics: ImageStatistics

    @classmethod
    def of(cls, image, usable, statistics, tiles, *, device, satlevel=None):
        """
        Take an image to a device.

        Parameters
        ----------
        image : ndarray
            Pixel values, electron, of any real type.
        usable : ndarray of bool
            True for pixels that may be used.
        statistics : `~cosmiq_astro.preprocess.ImageStatistics`
            Sky and noise.
        tiles : list of `~cosmiq_astro.inference.tiling.Tile`
            Of the image.
        device : torch.device
            Where to.
        satlevel : float, optional
            Saturation level, electron; pixels above are put there.

        Returns
        -------
        frame : `Frame`
            As `~cosmiq_astro.preprocess.subtract_sky` and `~cosmiq_astro.preprocess.fill_holes`
            make it, and its border.
        """
        inside, shape = bordered(image.shape, tiles)
        pixels = torch.empty(shape, device=device)
        core = pixels[inside]
        sky = statistics.sky
        if usable.all():
            torch.sub(_on_device(image, device), sky, out=core)
            core.clamp_(-LARGEST, LARGEST if satlevel is None else satlevel - sky)
        else:
            filled = subtract_sky(image, usable, sky, satlevel=satlevel)
            fill_holes(filled, usable, statistics.noise)
            core.copy_(torch.from_numpy(filled))
        reflect_border(pixels, inside)
        return cls(pixels, inside, statistics)

    @property
    def image(self):
        """The pixels without the border."""
        return self.pixels[self.inside]

    def read(self, tile, channels):
        """
        Return what a network sees of a tile.

        Parameters
        ----------
        tile : `~cosmiq_astro.inference.tiling.Tile`
            One of those that the frame was made for.
        channels : sequence of str
            Names from `~cosmiq_astro.preprocess.CHANNELS`.

        Returns
        -------
        inputs : Tensor
            Shape ``(1, n_channels, rows, columns)``.
        """
        return normalize_tensor(self.pixels[tile.read], self.statistics, channels)[None]


def _on_device(image, device):
    """Return an image of any real type as a tensor of one that PyTorch computes with."""
    is_wide = image.dtype.itemsize > (4 if image.dtype.kind == "f" else 2)
    dtype = np.float64 if is_wide and device.type != "mps" else np.float32
    # PyTorch takes native, writable memory without gaps: as most images are, and not copied then.
    return torch.from_numpy(np.require(image, dtype, ["C", "W"])).to(device)


def to_host(planes):
    """
    Copy planes to the host's memory.

    Parameters
    ----------
    planes : dict of Tensor
        By name; on one device.

    Returns
    -------
    planes : dict of ndarray
        The same; those that were there already are not copied.
    """
    found = dict(planes)
    for name, plane in planes.items():
        if plane.device.type == "cuda":
            # Pinned memory is written while the host goes on; PyTorch keeps it for the next image.
            found[name] = torch.empty(plane.shape, dtype=plane.dtype, pin_memory=True)
            found[name].copy_(plane, non_blocking=True)
    for device in {plane.device for plane in planes.values() if plane.device.type == "cuda"}:
        torch.cuda.current_stream(device).synchronize()
    return {name: plane.cpu().numpy() for name, plane in found.items()}
