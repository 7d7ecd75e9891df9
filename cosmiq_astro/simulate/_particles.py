"""Paths and energy losses of charged particles in a slab of silicon; lengths in micrometres."""

import numpy as np

_ELECTRON_VOLT = 0.71 / 3.65  # electrons collected per eV lost; the rest is lost at the surface
_PROTON, _ELECTRON = 938.27, 0.511  # rest energies, MeV
_STEP = 3.0  # micrometres between the points of a track
_KNOCK_ON = 8e-3  # MeV: lowest energy of an explicit knock-on electron
_SECONDARY = 2e-4, 0.7  # MeV: energies of electrons that photons set free, a 1/E spectrum
_FAR = 4000.0  # micrometres: longest projected track


def _beta2(energy, mass):
    gamma = 1 + energy / mass
    return 1 - 1 / gamma**2


def _stopping_ratio(beta2):
    """Stopping power of silicon over its minimum, from the shape of Bethe's formula."""
    gain = np.log(2 * _ELECTRON * 1e6 * beta2 / (1 - beta2) / 173)  # mean excitation 173 eV
    return np.maximum(gain - beta2, 1.5) / beta2 / 11.4


def _energies(n, rng):
    """Kinetic energies (MeV per nucleon) and squared charges of primaries."""
    kind = rng.random(n)
    energy = np.select(
        [kind < 0.06, kind < 0.45],
        [
            rng.uniform(2, 300, n),  # slowed by the spacecraft: a flat spectrum
            np.exp(rng.uniform(np.log(700), np.log(2e4), n)),  # galactic, above the cutoff
        ],
        np.maximum(rng.normal(534, 117, n), 100),
    )
    kind = rng.random(n)
    charge2 = np.select([kind < 0.001, kind < 0.05], [rng.integers(6, 15, n) ** 2, 4], 1)
    return energy, charge2


def primary_tracks(n, rng, thickness) -> tuple:
    """
    Straight tracks of nuclei through the slab.

    Returns the track points ``(hit, x, y, z, charge)`` with z the depth below
    the illuminated surface and charge in electrons, and the knock-on electrons
    ``(hit, x, y, z, energy in MeV, direction (3, n))`` made along them.
    """
    energy, charge2 = _energies(n, rng)
    beta2 = _beta2(energy, _PROTON)
    cosine = np.sqrt(rng.random(n))  # an isotropic flux through a plane
    # Bragg-Kleeman range of protons, a = 12.5 um, p = 1.75, shorter for heavier nuclei
    reach = 12.5 * energy**1.75 / np.sqrt(charge2)
    path = np.minimum(thickness / np.maximum(cosine, 1e-6), np.minimum(reach, _FAR))
    azimuth = rng.uniform(0, 2 * np.pi, n)
    upward = rng.random(n) < 0.5
    direction = _direction(np.where(upward, -cosine, cosine), azimuth)
    limit = energy * np.where(charge2 > 1, 4, 1)
    loss = _energy_loss(path, beta2, charge2, rng)
    loss = np.where(reach <= path, limit, np.minimum(loss, limit))
    points = np.maximum(np.ceil(path / _STEP).astype(np.int64), 2)
    hit = np.repeat(np.arange(n), points)
    start = np.repeat(np.cumsum(points) - points, points)
    along = (np.arange(hit.size) - start + 0.5) / points[hit]
    share = rng.gamma(1.2 * (path / points)[hit], size=hit.size) + 1e-9
    share /= np.bincount(hit, share, n)[hit]
    entry = np.where(upward, thickness, 0.0)
    x, y, z = (direction[k][hit] * (path[hit] * along) for k in range(3))
    charge = loss[hit] * share * 1e6 * _ELECTRON_VOLT
    tracks = hit, x, y, z + entry[hit], charge
    return tracks, _knock_on(path, beta2, charge2, direction, entry, rng)


def _energy_loss(path, beta2, charge2, rng):
    """
    Energy lost in MeV without the explicit knock-on electrons.

    Most probable value and width of thin silicon (Bichsel 1988), the
    distribution of Moyal (1955): its tail is left to the knock-on electrons.
    """
    log = np.log(np.maximum(path, 2.0))
    peak = np.where(path < 110, 100.6 + 35.35 * log, 190 + 16.3 * log)  # eV per micrometre
    width = np.maximum(259.6 - 28.41 * log, 30)
    ratio = _stopping_ratio(beta2) * charge2
    moyal = -np.log(np.maximum(rng.standard_normal(path.size) ** 2, 1e-6))
    scale = width / 3.59 / np.sqrt(charge2)  # full width at half maximum of Moyal's: 3.59
    return 1e-6 * path * ratio * np.maximum(peak + scale * np.minimum(moyal, 8), 0.3 * peak)


def _knock_on(path, beta2, charge2, direction, entry, rng):
    """Draw knock-on electrons from dN/dT = xi / T^2 up to the largest possible energy."""
    gamma2 = 1 / (1 - beta2)
    largest = 2 * _ELECTRON * beta2 * gamma2 / (1 + 2 * np.sqrt(gamma2) * _ELECTRON / _PROTON)
    xi = 0.1535 * 0.4985 * 2.33e-4 * path * charge2 / beta2  # MeV
    mean = np.maximum(xi * (1 / _KNOCK_ON - 1 / largest), 0) * 0.6  # the rest lies in Moyal's tail
    count = np.minimum(rng.poisson(mean), 50)
    hit = np.repeat(np.arange(path.size), count)
    u = rng.random(hit.size)
    energy = 1 / (u / _KNOCK_ON + (1 - u) / largest[hit])
    momentum = np.sqrt(energy * (energy + 2 * _ELECTRON))
    highest = np.sqrt(largest * (largest + 2 * _ELECTRON))[hit]
    cosine = np.minimum(energy * highest / (momentum * largest[hit]), 1)
    along = rng.random(hit.size) * path[hit]
    x, y, z = (direction[k][hit] * along for k in range(3))
    turned = _rotate(direction[:, hit], cosine, rng.uniform(0, 2 * np.pi, hit.size))
    return hit, x, y, z + entry[hit], energy, turned


def electron_walks(knock_on, n, first_hit, rng, thickness) -> tuple[np.ndarray, ...]:
    """
    Follow electrons with multiple scattering until they stop or leave the slab.

    ``knock_on`` is as `primary_tracks` gives it; to it are added ``n`` slow
    electrons from outside, numbered from ``first_hit``. Returns track points
    ``(hit, x, y, z, charge)``.
    """
    *knocked, direction = knock_on
    isotropic = _direction(rng.uniform(-1, 1, n), rng.uniform(0, 2 * np.pi, n))
    direction = np.concatenate([direction, isotropic], axis=1)
    depth, energy = rng.uniform(0, thickness, n), np.exp(rng.uniform(*np.log(_SECONDARY), n))
    free = first_hit + np.arange(n), np.zeros(n), np.zeros(n), depth, energy
    hit, x, y, z, energy = (np.concatenate(both) for both in zip(knocked, free, strict=True))
    points = []
    while hit.size:
        loss, stopped = _electron_loss(energy, rng)
        points.append((hit, x, y, z, loss * 1e6 * _ELECTRON_VOLT))
        x, y, z = (v + _STEP * direction[k] for k, v in enumerate((x, y, z)))
        energy = energy - loss
        going = ~stopped & (z >= 0) & (z <= thickness)
        hit, x, y, z, energy = (v[going] for v in (hit, x, y, z, energy))
        direction = _scatter(direction[:, going], energy, rng)
    if not points:
        return (np.zeros(0, np.int64), *np.zeros((4, 0)))
    return tuple(np.concatenate(column) for column in zip(*points, strict=True))


def _direction(cosine, azimuth):
    """Return unit vectors, shape (3, n), by the cosine of their angle to the normal."""
    sine = np.sqrt(1 - cosine**2)
    return np.array([sine * np.cos(azimuth), sine * np.sin(azimuth), cosine])


def _electron_loss(energy, rng):
    """Energy lost over one step, in MeV, and whether the electron stops in it."""
    beta2 = _beta2(energy, _ELECTRON)
    # MeV; 0.26 keV/um at speed c
    mean = 2.6e-4 * _STEP * np.maximum(1 / np.maximum(beta2, 0.02), 1)
    loss = mean * rng.gamma(2.0, 0.5, energy.size)
    stopped = energy - loss < 5e-3
    return np.where(stopped, energy, loss), stopped


def _scatter(direction, energy, rng):
    """Turn directions by multiple scattering over one step (Highland's formula)."""
    momentum2 = energy * (energy + 2 * _ELECTRON)
    beta = np.sqrt(_beta2(energy, _ELECTRON))
    depth = _STEP * 1e-4 / 9.37  # radiation lengths
    plane = 13.6 / (beta * np.sqrt(momentum2)) * np.sqrt(depth) * (1 + 0.038 * np.log(depth))
    angle = np.minimum(plane * np.hypot(*rng.standard_normal((2, energy.size))), np.pi)
    return _rotate(direction, np.cos(angle), rng.uniform(0, 2 * np.pi, energy.size))


def _rotate(direction, cosine, azimuth):
    """Turn unit vectors (3, n) by the angle of ``cosine`` towards ``azimuth`` around them."""
    axis = np.where(np.abs(direction[2]) < 0.9, 1.0, 0.0)
    helper = np.array([np.zeros_like(axis), 1 - axis, axis])
    first = np.cross(direction, helper, axis=0)
    first /= np.maximum(np.linalg.norm(first, axis=0), 1e-12)
    second = np.cross(direction, first, axis=0)
    sine = np.sqrt(np.maximum(1 - cosine**2, 0))
    turned = cosine * direction + sine * (np.cos(azimuth) * first + np.sin(azimuth) * second)
    return turned / np.linalg.norm(turned, axis=0)
