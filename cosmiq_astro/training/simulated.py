"""Exposures made on the fly from noise-free scenes and libraries of hits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cosmiq_astro import simulate
from cosmiq_astro.preprocess import estimate_statistics
from cosmiq_astro.training._frames import Frames, log_uniform
from cosmiq_astro.training.datasets import Patch

__all__ = ["ObservingConditions", "SimulatedDataset"]


@dataclass(frozen=True)
class ObservingConditions:
    """
    Ranges that the conditions of each simulated patch are drawn from.

    Attributes
    ----------
    exposure_time : tuple of float
        Seconds; uniform in their square root, as the long exposures are the
        harder.
    sky_rate : tuple of float
        Electron per second and pixel; log-uniform.
    readnoise : tuple of float
        Electron; uniform.
    full_well : tuple of float
        Electron; log-uniform. Saturated pixels scatter by up to 4 % around
        it, and in a third of the patches the converter clips at 60 to 100 %
        of it.
    brightness : tuple of float
        Factor on the scene; log-uniform.
    hit_rate : float
        Hits per second and pixel, median: 2.25e-6 is 1 per second and cm² on
        pixels of 15 µm. It scatters by a factor of two, and one patch in ten
        is taken in the South Atlantic Anomaly, at 5 to 100 times the rate.
    hit_scale : tuple of float
        Factor on the charge of each hit; log-uniform.
    trap_density : tuple of float
        Charge-transfer traps per pixel, see `~cosmiq_astro.simulate.cte_trails`;
        uniform, in half of the patches.
    """

    exposure_time: tuple[float, float] = (10.0, 2000.0)
    sky_rate: tuple[float, float] = (0.01, 0.5)
    readnoise: tuple[float, float] = (3.0, 6.0)
    full_well: tuple[float, float] = (40_000.0, 180_000.0)
    brightness: tuple[float, float] = (0.3, 3.0)
    hit_rate: float = 2.25e-6
    hit_scale: tuple[float, float] = (0.5, 2.0)
    trap_density: tuple[float, float] = (0.0, 0.6)


class SimulatedDataset(Frames):
    """
    Noise-free scenes that are exposed anew, with new hits, each time a patch is drawn.

    Parameters
    ----------
    scenes : sequence of ndarray
        Source count rates, electron per second, without sky, 2-D.
    libraries : sequence of tuple
        ``(Footprints, share)`` pairs; each hit comes from one of them with
        this share.
    conditions : `ObservingConditions`, optional
        What to vary, and how far.
    """

    _planes = ("_scenes",)

    def __init__(
        self,
        scenes: Sequence[np.ndarray],
        libraries: Sequence[tuple],
        *,
        conditions: ObservingConditions | None = None,
    ):
        self._scenes = list(scenes)
        self._libraries = list(libraries)
        self._conditions = ObservingConditions() if conditions is None else conditions
        super().__init__([np.shape(scene) for scene in self._scenes])

    def patch(self, frame: int, size: int, rng: np.random.Generator) -> Patch:
        """
        Expose a random square of a scene.

        Parameters
        ----------
        frame, size : int
            Which scene, and the side of the square.
        rng : `~numpy.random.Generator`
            Source of all randomness.

        Returns
        -------
        patch : `~cosmiq_astro.training.datasets.Patch`
            The exposure and its labels (3 σ of the noise without the hit).
        """
        now = self._conditions
        time = rng.uniform(*np.sqrt(now.exposure_time)) ** 2
        readnoise = rng.uniform(*now.readnoise)
        scene = np.asarray(self._scenes[frame][self._cut(frame, size, rng)], dtype=np.float32)
        expected = scene * (time * log_uniform(rng, now.brightness))
        expected += time * log_uniform(rng, now.sky_rate)
        if rng.random() < 0.3:
            # What is left after the dark: many more would teach that a single bright pixel is none.
            dark = simulate.hot_pixels(scene.shape, rng, fraction=log_uniform(rng, (1e-5, 1e-3)))
            dark += simulate.warm_pixels(scene.shape, rng, fraction=rng.uniform(0, 0.02))
            expected += time * dark
        charge = self._hits(scene.shape, time, rng)
        together, expected = self._saturated(expected + charge, expected, rng)
        if rng.random() < 0.5:
            traps = {"strength": rng.uniform(*now.trap_density), "first_row": rng.integers(2048)}
            together, expected = (
                simulate.cte_trails(light, **traps) for light in (together, expected)
            )
        seen = np.maximum(together - expected, 0)
        noise = np.sqrt(np.maximum(expected, 0) + readnoise**2)
        label, ignore = simulate.label_from_charge(seen, noise)
        # Where a star fills the well, a hit leaves nothing to see and nothing to learn.
        ignore |= (charge > 3 * noise) & ~label
        image = simulate.add_noise(expected, readnoise, rng) + seen
        image, usable = _defects(image, rng)
        # The detector may or may not be told the read noise: the network sees both.
        known = readnoise if rng.random() < 0.5 else None
        statistics = estimate_statistics(image, usable, readnoise=known, softness=True)
        return Patch(image, label, ~ignore & usable, usable, statistics)

    def _saturated(self, together, expected, rng):
        """Return the charge with and without hits as the wells and the converter leave it."""
        full_well = log_uniform(rng, self._conditions.full_well)
        # A hit adds to what the pixel holds already; what is beyond the full well bleeds.
        together = simulate.apply_saturation(together, full_well=full_well)
        expected = simulate.apply_saturation(expected, full_well=full_well)
        scatter = rng.normal(1, rng.uniform(0, 0.04), expected.shape).astype(np.float32)
        full = expected > 0.95 * full_well
        together[full] *= scatter[full]
        expected[full] *= scatter[full]
        if rng.random() < 0.33:
            ceiling = full_well * rng.uniform(0.6, 1)
            together, expected = np.minimum(together, ceiling), np.minimum(expected, ceiling)
        return together, expected

    def _hits(self, shape, time, rng):
        now = self._conditions
        rate = now.hit_rate * rng.lognormal(0, 0.7)
        if rng.random() < 0.1:
            rate *= log_uniform(rng, (5, 100))
        # A tenth of the pixels hit is more than any exposure that is worth reducing.
        n = min(rng.poisson(rate * time * shape[0] * shape[1]), int(0.02 * shape[0] * shape[1]))
        shares = np.array([share for _, share in self._libraries])
        charge = np.zeros(shape, dtype=np.float32)
        counts = rng.multinomial(n, shares / shares.sum())
        for (library, _), count in zip(self._libraries, counts, strict=True):
            charge += library.paste(shape, int(count), rng, charge_scale=now.hit_scale)
        return charge


def _defects(image, rng):
    """Add offsets and bad columns, misjudge the gain, and mask a part, each now and then."""
    image = image + simulate.bias_steps(image.shape, rng, amplitude=rng.exponential(0.7))
    if rng.random() < 0.2:
        image *= log_uniform(rng, (0.8, 1.25))
    usable = np.ones(image.shape, dtype=bool)
    if rng.random() < 0.2:
        offset = simulate.bad_columns(image.shape, rng, n=1)
        image += offset
        if rng.random() < 0.5:
            usable &= offset == 0
    if rng.random() < 0.1:
        usable &= rng.random(image.shape) > rng.uniform(0, 0.03)
    if rng.random() < 0.05:
        y, x = rng.integers(0, image.shape[0]), rng.integers(0, image.shape[1])
        usable[y : y + rng.integers(1, 30), x : x + rng.integers(1, 30)] = False
    return image.astype(np.float32), usable
