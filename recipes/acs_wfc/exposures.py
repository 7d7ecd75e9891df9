"""Exposures made on the fly, a batch at a time, on the device that trains."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import detector as exposing
import numpy as np
import torch

from cosmiq_astro import training
from cosmiq_astro.preprocess import ImageStatistics
from cosmiq_astro.simulate import PSF, Footprints
from cosmiq_astro.training._frames import Frames
from cosmiq_astro.training.datasets import Patch

__all__ = ["Observatory", "ObservingConditions", "SimulatedBatch", "SimulatedDataset"]

# A tenth of the pixels hit is more than any exposure that is worth reducing.
_MOST_HITS = 0.02
_BEYOND = 10  # pixels from the edge at which the middle of a hit may lie


@dataclass(frozen=True)
class ObservingConditions(training.ObservingConditions):
    """
    Ranges that the conditions of each simulated exposure are drawn from.

    Attributes
    ----------
    spikes : tuple of float
        Share of pixels, in half of the exposures, that are brighter than the
        optics allow by themselves (hot pixels and one-pixel hits alike);
        log-uniform.
    spike_charge : tuple of float
        Median (electron) of their charge, and its scatter as the standard
        deviation of the logarithm.
    resampled : float
        Share of the exposures that were moved by parts of a pixel, half of
        them after they were hit.
    diffuse : float
        Share of the exposures that lie on the bright, unresolved light of a
        galaxy or a nebula, with lanes of dust.
    diffuse_light : tuple of float
        Median of that light, electron; log-uniform.
    """

    spikes: tuple[float, float] = (1e-5, 2e-3)
    spike_charge: tuple[float, float] = (700.0, 1.6)
    resampled: float = 0.05
    diffuse: float = 0.3
    diffuse_light: tuple[float, float] = (30.0, 10_000.0)


@dataclass(frozen=True)
class SimulatedBatch:
    """
    Exposures and their truth; n of them, of one size.

    Attributes
    ----------
    image : Tensor of float32, shape ``(n, ny, nx)``
        Electron.
    label, valid, usable : Tensor of bool, shape ``(n, ny, nx)``
        True for cosmic rays; for pixels that count; for pixels not masked.
    sky, noise, softness : Tensor of float32, shape ``(n, 1, 1)``
        As `~cosmiq_astro.preprocess.estimate_statistics` measures them.
    """

    image: torch.Tensor
    label: torch.Tensor
    valid: torch.Tensor
    usable: torch.Tensor
    sky: torch.Tensor
    noise: torch.Tensor
    softness: torch.Tensor

    @classmethod
    def of(cls, parts):
        """
        Join batches.

        Parameters
        ----------
        parts : list of `SimulatedBatch`
            At least one.

        Returns
        -------
        batch : `SimulatedBatch`
            All their exposures, in order.
        """
        names = [field.name for field in fields(cls)]
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in names))

    def inputs(self, channels):
        """
        Return what a network sees.

        Parameters
        ----------
        channels : sequence of str
            Names from `cosmiq_astro.preprocess.CHANNELS`.

        Returns
        -------
        inputs : Tensor of float32
            Shape ``(n, n_channels, ny, nx)``.
        """
        pixels = torch.where(self.usable, self.image - self.sky, 0)
        return torch.stack([exposing.CHANNELS[name](pixels, self) for name in channels], dim=1)


@dataclass(frozen=True)
class Observatory:
    """
    Optics, hits and conditions that go together.

    Attributes
    ----------
    psfs : sequence of `~cosmiq_astro.simulate.PSF`
        Optics; each exposure has one of them.
    libraries : sequence of tuple
        `~cosmiq_astro.simulate.Footprints` and its share of the hits; each
        exposure mixes a few of the libraries in its own way.
    conditions : `ObservingConditions`
        What to vary, and how far.
    share : float
        Of the exposures, relative to that of other observatories.
    """

    psfs: Sequence[PSF]
    libraries: Sequence[tuple[Footprints, float]]
    conditions: ObservingConditions = ObservingConditions()
    share: float = 1.0


class SimulatedDataset(Frames):
    """
    Sources that are seen through other optics, exposed anew and hit anew each time.

    Parameters
    ----------
    planes : sequence of ndarray of float32
        Light before the optics, from `~cosmiq_astro.simulate.Sources.plane`:
        electron per second and pixel at each point of a fine canvas.
    canvas : `~cosmiq_astro.simulate.Canvas`
        The grid of ``planes``; what lies in its margin sheds light into the
        image.
    observatories : sequence of `Observatory`
        What the sources are seen with.
    reach : int, optional
        Pixels to which the optics spread light; default: the margin of the canvas. What goes
        beyond the canvas comes in at the opposite side.
    device : str, optional
        Where the exposures are made: that of the training.

    Notes
    -----
    An exposure is the inverse Fourier transform of a plane's transform times
    that of a PSF, sampled at the pixels. Both are computed once.
    """

    def __init__(self, planes, canvas, observatories, *, reach=None, device="cpu"):
        self._canvas = canvas
        self.device = torch.device(device)
        self._light = self._transforms(planes)
        self._observatories = list(observatories)
        self._optics = [
            self._transforms(
                exposing.kernel(psf, canvas, reach or canvas.margin) for psf in one.psfs
            )
            for one in self._observatories
        ]
        self._libraries = [
            exposing.HitLibrary.of(one.libraries, self.device) for one in self._observatories
        ]
        super().__init__([canvas.shape] * len(self._light))

    def _transforms(self, images):
        images = [torch.fft.rfft2(torch.as_tensor(i, device=self.device)) for i in images]
        return torch.stack(images)

    def batch(self, n, generator):
        """
        Expose some of the planes.

        Parameters
        ----------
        n : int
            Number of exposures; the observatories have their shares of them.
        generator : torch.Generator
            Of the dataset's device: source of all randomness.

        Returns
        -------
        batch : `SimulatedBatch`
            The exposures, turned and flipped at random, and their labels (3 σ
            of the noise without the hit).
        """
        ends = np.cumsum([one.share for one in self._observatories])
        ends = np.rint(n * ends / ends[-1]).astype(int)
        parts = []
        for which, number in enumerate(np.diff(ends, prepend=0)):
            if number:
                frames = self._choose(len(self._light), number, generator)
                parts.append(self._expose(frames, which, generator))
        return SimulatedBatch.of(parts)

    def patch(self, frame, size, rng):
        """
        Expose one plane.

        Parameters
        ----------
        frame, size : int
            Which plane, and the side of the square cut out of it.
        rng : `~numpy.random.Generator`
            Source of all randomness.

        Returns
        -------
        patch : `~cosmiq_astro.training.datasets.Patch`
            The exposure and its labels.
        """
        generator = torch.Generator(self.device).manual_seed(int(rng.integers(2**62)))
        shares = np.array([one.share for one in self._observatories])
        which = int(rng.choice(len(shares), p=shares / shares.sum()))
        batch = self._expose(torch.tensor([frame]), which, generator)
        box = self._cut(frame, size, rng)
        planes = (batch.image, batch.label, batch.valid, batch.usable)
        return Patch(
            *(plane[0].cpu().numpy()[box] for plane in planes),
            ImageStatistics(batch.sky.item(), batch.noise.item(), batch.softness.item()),
        )

    def _choose(self, n_choices, n, generator):
        return torch.randint(n_choices, (n,), generator=generator, device=self.device)

    def _expose(self, frames, which, generator):
        n, now, optics = len(frames), self._observatories[which].conditions, self._optics[which]
        draw = exposing.Draw(generator, n)
        chosen = self._choose(len(optics), n, generator).tolist()
        rates = self._rates(frames, [optics[i] for i in chosen])
        time = draw.uniform(*np.sqrt(now.exposure_time)) ** 2
        readnoise = draw.uniform(*now.readnoise)
        expected = rates * (time * draw.log_uniform(*now.brightness))
        expected += time * draw.log_uniform(*now.sky_rate)
        level = draw.log_uniform(*now.diffuse_light) * draw.chance(now.diffuse)
        expected += level * exposing.clouds(self._canvas.shape, draw)
        charge, unknown = self._hits(now, self._libraries[which], time, draw)
        full_well = draw.log_uniform(*now.full_well)
        ceiling = torch.where(draw.chance(0.33), draw.uniform(0.6, 1), torch.inf) * full_well
        scatter = 1 + draw.uniform(0, 0.04) * draw.normal(expected.shape[1:])
        traps = draw.uniform(*now.trap_density) * draw.chance(0.5)
        first_row = draw.uniform(0, 2048)
        full = expected > 0.95 * full_well

        def detect(electrons):
            # A hit adds to what the pixel holds already; what is beyond the full well bleeds.
            held = exposing.saturate(electrons, full_well)
            held = torch.where(full, held * scatter, held).minimum(ceiling)
            return exposing.trail(held, traps, first_row)

        together, expected = detect(expected + charge), detect(expected)
        seen = (together - expected).clamp_min(0)
        moved = draw.chance(now.resampled)
        shift = [draw.uniform(0, 0.5) * moved for _ in "yx"]
        image, factor = exposing.resample(exposing.observe(expected, readnoise, generator), shift)
        seen = torch.where(draw.chance(0.5), exposing.resample(seen, shift)[0], seen)
        noise = factor * (expected + readnoise**2).sqrt()
        label = seen > 3 * noise
        ignore = (seen > 0.1 * noise) & ~label
        # Where a star fills the well, a hit leaves nothing to see and nothing to learn; and
        # the charge in the rim of a hit that was cut out of a frame is a guess.
        ignore |= (charge > 3 * noise) & ~label
        ignore |= unknown
        image, usable = exposing.add_defects(image + seen, draw)
        image, label, ignore, usable = exposing.turn((image, label, ignore, usable))
        known = torch.where(draw.chance(0.5), readnoise, torch.nan)
        sky, scale = exposing.statistics(image, usable, known)
        soft = exposing.softness(image, usable, sky, scale)
        return SimulatedBatch(image, label, ~ignore & usable, usable, sky, scale, soft)

    def _rates(self, frames, optics):
        """Return the light that reaches the pixels, electron per second, shape ``(n, ny, nx)``."""
        canvas = self._canvas
        coarse = [n // canvas.oversampling for n in canvas.size]
        light = torch.stack(
            [
                exposing.fold(self._light[frame] * psf, canvas.oversampling)
                for frame, psf in zip(frames.tolist(), optics, strict=True)
            ]
        )
        rows, columns = (slice(canvas.margin, canvas.margin + n) for n in canvas.shape)
        return torch.fft.irfft2(light, coarse)[:, rows, columns].clamp_min(0)

    def _hits(self, now, library, time, draw):
        """Return the charge of the hits and where it is not known, shape ``(n, ny, nx)``."""
        ny, nx = self._canvas.shape
        rate = now.hit_rate * draw.log_normal(0.7)
        rate = torch.where(draw.chance(0.1), rate * draw.log_uniform(5, 100), rate)
        area = (ny + 2 * _BEYOND) * (nx + 2 * _BEYOND)
        numbers = draw.poisson(rate * time * area).clamp_max(_MOST_HITS * area)
        charge, unknown = library.scatter(
            (ny, nx), numbers.flatten().long(), draw, scale=now.hit_scale, beyond=_BEYOND
        )
        median, width = now.spike_charge
        share = draw.log_uniform(*now.spikes) * draw.chance(0.5)
        spiked = draw.random((ny, nx)) < share
        spike = median * torch.exp(width * draw.normal((ny, nx)))
        return charge + torch.where(spiked, spike.clamp_max(5e4), 0), unknown
