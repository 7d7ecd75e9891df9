"""
What optics and a detector do to a batch of images: PyTorch, on any device.

Images are electrons of shape ``(n, ny, nx)``, charge moves along rows (axis 1), and what is drawn
for each exposure has shape ``(n, 1, 1)``.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from cosmiq_astro.preprocess import (
    BRIGHT,
    LEAST_PEAKS,
    LEAST_SHARE,
    NEAR,
    RING,
    SOFTNESS_QUANTILE,
)

__all__ = [
    "CHANNELS",
    "Draw",
    "HitLibrary",
    "add_defects",
    "clouds",
    "fold",
    "kernel",
    "observe",
    "resample",
    "saturate",
    "softness",
    "statistics",
    "trail",
    "turn",
]

_MAD_TO_SIGMA = 1.482602218505602
# Of charge-transfer traps, see `cosmiq_astro.simulate.cte_trails`.
_RELEASE, _WEIGHTS, _POWER, _WELL = (0.74, 7.7, 37.0), (0.17, 0.45, 0.38), 0.48, 84_700.0
_TRAIL = 160  # pixels


class Draw:
    """
    Random numbers for each of ``n`` exposures.

    Parameters
    ----------
    generator : torch.Generator
        Their source, on the device where they are wanted.
    n : int
        Number of exposures.
    """

    def __init__(self, generator, n):
        self.generator, self.n, self.device = generator, n, generator.device

    def random(self, shape=(1, 1)):
        """Return numbers in [0, 1), shape ``(n, *shape)``."""
        return torch.rand((self.n, *shape), generator=self.generator, device=self.device)

    def normal(self, shape=(1, 1)):
        """Return standard-normal numbers, shape ``(n, *shape)``."""
        return torch.randn((self.n, *shape), generator=self.generator, device=self.device)

    def uniform(self, low, high, shape=(1, 1)):
        """Return numbers between two others."""
        return low + (high - low) * self.random(shape)

    def log_uniform(self, low, high):
        """Return numbers that are uniform in their logarithm."""
        return torch.exp(self.uniform(math.log(low), math.log(high)))

    def log_normal(self, sigma):
        """Return numbers about 1 whose logarithm is normal."""
        return torch.exp(sigma * self.normal())

    def poisson(self, mean):
        """Return Poisson numbers of some means."""
        return torch.poisson(mean, generator=self.generator)

    def chance(self, probability):
        """Return True for some of the exposures."""
        return self.random() < probability


def kernel(psf, canvas, reach):
    """Return a PSF to ``reach`` pixels on a canvas, its centre at the first point, float32."""
    values = psf.kernel(canvas.oversampling, radius=reach)
    padded = np.zeros(canvas.size, np.float32)
    padded[tuple(slice(n) for n in values.shape)] = values
    return np.roll(padded, [-(n // 2) for n in values.shape], (0, 1))


def fold(transform, step):
    """
    Return the transform of every ``step``-th point of an image; both are `torch.fft.rfft2`'s.

    Frequencies that these points cannot tell apart are added (Oppenheim & Schafer, *Discrete-Time
    Signal Processing*, 4.6): the image between them is never made.
    """
    ny, nx = transform.shape[0] // step, 2 * (transform.shape[1] - 1) // step
    rows = transform.unflatten(0, (step, ny)).sum(0)
    # Negative frequencies of a real image are the conjugates of the positive ones.
    opposite = rows.roll(-1, 0).flip(0, 1).conj()
    folded = torch.zeros_like(rows[:, : nx // 2 + 1])
    for j in range(step):
        first = j * nx
        if 2 * j < step:
            folded += rows[:, first : first + nx // 2 + 1]
        else:
            first -= step * nx // 2
            folded += opposite[:, first : first + nx // 2 + 1]
    return folded / step**2


@dataclass(frozen=True)
class HitLibrary:
    """
    Libraries of hits, one after the other, on a device.

    Attributes
    ----------
    dy, dx, charge, unknown, offsets : Tensor
        As in `~cosmiq_astro.simulate.Footprints`.
    first, size : Tensor of int64
        The first hit of each library, and the number of its hits.
    share : Tensor of float32
        How much each library gives to an image, on average.
    """

    dy: torch.Tensor
    dx: torch.Tensor
    charge: torch.Tensor
    unknown: torch.Tensor
    offsets: torch.Tensor
    first: torch.Tensor
    size: torch.Tensor
    share: torch.Tensor

    @classmethod
    def of(cls, shared, device):
        """Put pairs of a library (`~cosmiq_astro.simulate.Footprints`) and a share on a device."""
        libraries, shares = zip(*shared, strict=True)
        lengths = np.concatenate([library.n_pixels for library in libraries])
        size = np.array([len(library) for library in libraries])
        kinds = {"dy": np.int64, "dx": np.int64, "charge": np.float32, "unknown": bool}
        columns = [
            np.concatenate([getattr(library, name) for library in libraries]).astype(kind)
            for name, kind in kinds.items()
        ]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        arrays = *columns, offsets, np.cumsum(size) - size, size, np.float32(shares)
        return cls(*(torch.as_tensor(array, device=device) for array in arrays))

    def scatter(self, shape, numbers, draw, *, scale, beyond):
        """
        Scatter hits over images.

        Parameters
        ----------
        shape : tuple of int
            ``(ny, nx)``.
        numbers : Tensor of int64, shape ``(n,)``
            Hits of each image.
        draw : `Draw`
            Source of the random numbers.
        scale : tuple of float
            Factor on the charge of each hit, log-uniform.
        beyond : int
            How far from the edge their middles may lie, pixels.

        Returns
        -------
        charge : Tensor of float32, shape ``(n, ny, nx)``
            Electron.
        unknown : Tensor of bool, shape ``(n, ny, nx)``
            True where their charge is a guess.
        """
        n, (ny, nx), device = len(numbers), shape, draw.device
        image = torch.repeat_interleave(torch.arange(n, device=device), numbers)
        one = Draw(draw.generator, image.numel())
        u = one.random((8,))
        # Each image mixes the libraries in its own way; most have one or two in the main.
        mix = -torch.log(draw.random((len(self.size),)).clamp_min(1e-12))
        mix = self.share * mix**3
        library = torch.searchsorted(
            torch.cumsum(mix / mix.sum(1, keepdim=True), 1)[image], u[:, :1].contiguous()
        )[:, 0].clamp_max(len(self.size) - 1)
        hit = self.first[library] + (u[:, 1] * self.size[library]).long()
        length = self.offsets[hit + 1] - self.offsets[hit]
        of = torch.repeat_interleave(torch.arange(hit.numel(), device=device), length)
        place = torch.arange(of.numel(), device=device) - (length.cumsum(0) - length)[of]
        pixel = self.offsets[hit][of] + place
        dy, dx, charge = self.dy[pixel], self.dx[pixel], self.charge[pixel]
        swap, up, left = (u[:, k][of] < 0.5 for k in (2, 3, 4))
        dy, dx = torch.where(swap, dx, dy), torch.where(swap, dy, dx)
        low, high = math.log(scale[0]), math.log(scale[1])
        charge = charge * torch.exp(low + (high - low) * u[:, 5])[of]
        y = ((ny + 2 * beyond) * u[:, 6]).long()[of] - beyond + torch.where(up, -dy, dy)
        x = ((nx + 2 * beyond) * u[:, 7]).long()[of] - beyond + torch.where(left, -dx, dx)
        inside = (y >= 0) & (y < ny) & (x >= 0) & (x < nx)
        index = ((image[of] * ny + y) * nx + x)[inside]
        total = torch.zeros(n * ny * nx, device=device)
        total.index_add_(0, index, charge[inside])
        unknown = torch.zeros(n * ny * nx, dtype=torch.bool, device=device)
        unknown[index[self.unknown[pixel][inside]]] = True
        return total.view(n, ny, nx), unknown.view(n, ny, nx)


def clouds(shape, draw):
    """
    Return unresolved light: clouds, dark lanes and a gradient, with a median of 1 in each image.

    Logarithms of clouds and of the depth of lanes are Gaussian random fields with the spectrum of a
    power law, as those of interstellar matter are.
    """
    fields = []
    for _ in range(2):
        slope, sharpest = draw.uniform(2.5, 4.5), draw.log_uniform(1, 4)
        ky = torch.fft.fftfreq(shape[0], device=draw.device)[:, None] * shape[0]
        kx = torch.fft.rfftfreq(shape[1], device=draw.device) * shape[1]
        k = ky.hypot(kx)
        power = torch.where(k > 0, k.clamp_min(1) ** (-slope / 2), 0)
        power = power * torch.exp(-2 * (math.pi * sharpest * k / shape[0]) ** 2)
        field = torch.fft.irfft2(torch.fft.rfft2(draw.normal(shape)) * power, shape)
        fields.append(field / field.std((1, 2), keepdim=True))
    lanes = torch.sigmoid((fields[1] - draw.uniform(0.3, 2)) * draw.uniform(1, 4))
    lanes = lanes * draw.uniform(0, 2.5) * draw.chance(0.5)
    rows, columns = (torch.linspace(-1, 1, n, device=draw.device) for n in shape)
    gradient = 0.5 * (draw.normal() * rows[:, None] + draw.normal() * columns)
    light = torch.exp(draw.log_uniform(0.05, 1) * fields[0] + gradient - lanes)
    return light / light.flatten(1).median(1).values[:, None, None]


def saturate(image, full_well):
    """
    Clip at the full well and let the excess bleed along the columns, half of it either way.

    What is carried past row r is ``S_r - min(0, min_{j <= r} S_j)``, S the running sum of excess
    minus room: the waiting time of a queue (Lindley 1952). The same as
    `cosmiq_astro.simulate.apply_saturation`.
    """
    held = image.minimum(full_well)
    half = (image - held) / 2
    for flipped in (False, True):
        if flipped:
            held, half = held.flip(1), half.flip(1)
        room = full_well - held
        balance = torch.cumsum((half - room).double(), 1)
        carried = balance - torch.cummin(balance, 1).values.clamp_max(0)
        before = functional.pad(carried, (0, 0, 1, 0))[:, :-1]
        held = held + (before + half - carried).float()
    return held.flip(1).minimum(full_well)


def trail(image, strength, first_row):
    """Add charge-transfer trails away from row 0, as `cosmiq_astro.simulate.cte_trails` does."""
    rows = first_row + torch.arange(image.shape[1], device=image.device)[:, None]
    charge = image.clamp_min(0)
    captured = (strength * rows * (charge / _WELL) ** _POWER).minimum(charge / 3)
    distance = torch.arange(_TRAIL, device=image.device)
    released = sum(
        weight * (1 - math.exp(-1 / time)) * torch.exp(-distance / time)
        for time, weight in zip(_RELEASE, _WEIGHTS, strict=True)
    )
    released = released / released.sum()
    columns = captured.transpose(1, 2).reshape(-1, 1, image.shape[1])
    # As if the first row went on before the edge.
    columns = functional.pad(columns, (_TRAIL, 0), mode="replicate")[..., :-1]
    behind = functional.conv1d(columns, released.flip(0)[None, None])
    behind = behind.reshape(len(image), image.shape[2], -1).transpose(1, 2)
    return image - captured + behind


def observe(expected, readnoise, generator):
    """Add photon noise and read noise."""
    normal = torch.randn((2, *expected.shape), generator=generator, device=expected.device)
    faint = torch.poisson(expected.clamp(0, 1000), generator=generator)
    bright = expected + expected.clamp_min(0).sqrt() * normal[0]
    return torch.where(expected < 1000, faint, bright) + readnoise * normal[1]


def resample(image, shift):
    """
    Move images by parts of a pixel, linearly between neighbours, which correlates their noise.

    ``shift`` are the parts along rows and along columns, 0 to 1, each of shape ``(n, 1, 1)``.
    Returns the images, and the factor by which their noise became smaller.
    """
    factor = 1.0
    for axis, part in zip((1, 2), shift, strict=True):
        following = torch.cat(
            [
                image.narrow(axis, 1, image.shape[axis] - 1),
                image.narrow(axis, image.shape[axis] - 1, 1),
            ],
            axis,
        )
        image = torch.lerp(image, following, part.expand_as(image))
        factor = factor * ((1 - part) ** 2 + part**2).sqrt()
    return image, factor


def add_defects(image, draw):
    """Add offsets and bad columns, misjudge the gain, and mask a part, each now and then."""
    _, ny, nx = image.shape
    row, column = (torch.arange(k, device=image.device) for k in (ny, nx))
    second = column >= draw.uniform(0, 2 * nx)  # where another amplifier begins, if in the image
    amplitude = -0.7 * torch.log1p(-draw.random())
    image = image + amplitude * torch.where(second, draw.normal(), draw.normal())
    image = image + 0.3 * draw.normal((ny, 1)) * draw.chance(0.7)
    image = image * torch.where(draw.chance(0.2), draw.log_uniform(0.8, 1.25), 1)
    level = -20 * torch.log1p(-draw.random()) * torch.sign(draw.normal())
    bad = (column == draw.uniform(0, nx).long()) & (row[:, None] >= draw.uniform(0, ny))
    bad = bad & draw.chance(0.2)
    usable = ~(bad & draw.chance(0.5))
    share = draw.uniform(0, 0.03) * draw.chance(0.1)
    usable = usable & (draw.random((ny, nx)) >= share)
    y, x = row[:, None] - draw.uniform(0, ny), column - draw.uniform(0, nx)
    inside = (y > 0) & (y < draw.uniform(1, 30)) & (x > 0) & (x < draw.uniform(1, 30))
    return image + level * bad, usable & ~(inside & draw.chance(0.05))


def turn(planes):
    """Turn and flip the planes of exposures alike, an eighth of them each way: they are random."""
    return [torch.cat([_turned(part, k) for k, part in enumerate(p.chunk(8))]) for p in planes]


def _turned(images, code):
    images = images.transpose(1, 2) if code & 1 else images
    images = images.flip(1) if code & 2 else images
    return images.flip(2) if code & 4 else images


def statistics(image, usable, readnoise, *, step=2, block=32):
    """
    Return sky and noise of each image as `cosmiq_astro.preprocess.estimate_statistics` does.

    ``readnoise`` is NaN where it is not known. The sky is the clipped median of every ``step``-th
    pixel.
    """
    values = torch.where(usable, image, torch.nan)
    sample = values[:, ::step, ::step].flatten(1)
    for _ in range(5):
        middle = sample.nanmedian(1, keepdim=True).values
        away = (sample - middle).abs()
        scatter = _MAD_TO_SIGMA * away.nanmedian(1, keepdim=True).values
        sample = torch.where(away > 3 * scatter, torch.nan, sample)
    sky = sample.nanmedian(1).values[:, None, None]
    difference = values.diff(dim=2).unfold(1, block, block).unfold(2, block, block)
    difference = difference.flatten(3).abs().nanmedian(3).values.flatten(1)
    noise = _MAD_TO_SIGMA / math.sqrt(2) * torch.nanquantile(difference, 0.25, dim=1)
    known = (sky.clamp_min(0) + readnoise**2).sqrt()
    noise = torch.where(torch.isnan(known), noise[:, None, None], known)
    return sky, noise.clamp_min(1e-3)


def softness(image, usable, sky, noise):
    """Return the softness of each image, as `cosmiq_astro.preprocess.measure_softness` does."""
    pixels = torch.where(usable, image - sky, torch.nan)
    inner = pixels[:, 2:-2, 2:-2]
    which, row, column = torch.nonzero(inner > BRIGHT * noise, as_tuple=True)
    row, column, noise = row + 2, column + 2, noise[which, 0, 0]
    peak = pixels[which, row, column]
    near, ring = (
        torch.stack([pixels[which, row + y, column + x] for y, x in shifts])
        for shifts in (NEAR, RING)
    )
    background = ring.median(0).values
    four = near[:4]
    # Comparisons with NaN fail: no peak touches a masked pixel.
    good = (peak > near).all(0) & (four.amin(0) > LEAST_SHARE * peak)
    good &= four.amin(0) - background > 3 * noise
    ratio = ((four.mean(0) - background) / (peak - background)).clamp(0, 1)
    soft = _quantiles(ratio[good], which[good], len(image), SOFTNESS_QUANTILE, LEAST_PEAKS)
    return soft[:, None, None]


def _quantiles(values, group, n_groups, q, least):
    """Return a quantile of values in [0, 1] of each group, 0 of those with too few of them."""
    values = torch.sort(values.double() + 2 * group).values
    number = torch.bincount(group, minlength=n_groups)
    place = (number.cumsum(0) - number) + q * (number - 1).clamp_min(0).double()
    low, last = place.long(), max(len(values) - 1, 0)
    padded = values if len(values) else values.new_zeros(1)
    below, above = padded[low.clamp_max(last)], padded[(low + 1).clamp_max(last)]
    # A group of one has no value above it.
    found = torch.where(number > 1, torch.lerp(below, above, place - low), below)
    found = found - 2 * torch.arange(n_groups, device=values.device)
    return torch.where(number >= least, found, 0).float()


def _asinh(pixels, statistics):
    return torch.asinh(pixels / statistics.noise)


def _anscombe(pixels, statistics):
    noise = statistics.noise
    return 0.2 * ((pixels + noise**2).clamp_min(0).sqrt() - noise)


def _electron(pixels, statistics):
    return pixels + statistics.sky


def _softness(pixels, statistics):
    return statistics.softness.expand_as(pixels)


CHANNELS = {
    "asinh": _asinh,
    "anscombe": _anscombe,
    "electron": _electron,
    "softness": _softness,
}
"""As `cosmiq_astro.preprocess.CHANNELS`."""
