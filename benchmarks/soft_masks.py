"""
Photometry after a hard mask and after soft ones: the probability as a weight, and as an error.

python benchmarks/soft_masks.py [--fields N] [--model NAME] [--out docs/validation]

Three exposures of each field share their stars and sky and have hits of their own. They are
combined by `ccdproc.Combiner`, and the first is measured alone. Errors are those of aperture
photometry against the expected light, in units of the error that it would have without hits.
"""

import argparse
import warnings
from pathlib import Path

import ccdproc
import numpy as np
from astropy.nddata import CCDData
from astropy.table import Table
from photutils.aperture import CircularAperture
from scipy.ndimage import distance_transform_edt

import cosmiq_astro as ca
from cosmiq_astro.cleaning import clean_pixels, cleaned_variance
from cosmiq_astro.simulate import cosmic_ray_footprints, expose, hst_psf, simulate_scene

SEED, T = 1, 16
READNOISE, EXPOSURE_TIME, SKY_RATE = 4.5, 500.0, 0.06
DENSITY = 3e-3  # hits per pixel and exposure: three times that of ACS/WFC, for more of them
RADIUS, SNR = 3.0, 20.0
WORST = 20.0  # larger errors count as this, or a few stars would decide the scatter
TINY = 1e-6  # least weight: a pixel hit in all exposures keeps a value


def make_field(seed, library, psf, size=256):
    """Return the expected image, three exposures and their hits."""
    rng = np.random.default_rng(seed)
    scene = simulate_scene((size, size), ("extragalactic", "globular")[seed % 2], psf, seed=rng)
    made = [
        expose(
            scene.rate,
            EXPOSURE_TIME,
            library.paste((size, size), rng.poisson(DENSITY * size**2), rng),
            seed=rng,
            sky_rate=SKY_RATE,
            readnoise=READNOISE,
            defects=False,
        )
        for _ in range(3)
    ]
    return made[0][1], [image for image, _, _ in made], [charge for _, _, charge in made], scene


def combine(results, data, mask, weights):
    """Return the average of the exposures as `ccdproc.Combiner` makes it."""
    frames = [
        CCDData(np.asarray(image, float), unit="electron", mask=None if mask is None else m)
        for image, m in zip(data, mask or results, strict=True)
    ]
    combiner = ccdproc.Combiner(frames)
    if weights is not None:
        combiner.weights = np.maximum(np.array(weights), TINY)
    with warnings.catch_warnings():  # pixels that no exposure is left for
        warnings.simplefilter("ignore", RuntimeWarning)
        return combiner.average_combine()


def combinations(results, data, labels):
    """Return the combined images by the name of the way; NaN where no exposure is left."""
    p = [out.cr_probability for out in results]
    flagged = [out.cr_mask for out in results]
    generous = [q >= 0.1 for q in p]
    keep = [1 - q for q in p]
    ways = {
        "nothing": (None, None),
        "mask": (flagged, None),
        "mask from p = 0.1": (generous, None),
        "weights 1 - p": (None, keep),
        "mask, weights 1 - p": (flagged, keep),
        "true mask": (labels, None),
    }
    images = {}
    for name, (mask, weights) in ways.items():
        combined = combine(results, data, mask, weights)
        images[name] = np.where(combined.mask, np.nan, combined.data) if mask else combined.data
    images["median, no mask"] = np.median(data, axis=0)
    return images


def single(out, image, sky):
    """Return image and variance of one exposure by the name of the way."""
    variance = np.maximum(image, sky) + READNOISE**2
    p = out.cr_probability
    ways = {"nothing": (image, variance)}
    for name, mask in (("replaced", out.cr_mask), ("replaced from p = 0.1", p >= 0.1)):
        replaced = clean_pixels(image, mask)
        ways[name] = replaced, cleaned_variance(variance, mask, data=image)
    guess = clean_pixels(image, p >= 0.05)
    spread = cleaned_variance(variance, p >= 0.05, data=image)
    # A mixture of two: the pixel as it is, and what its neighbours say of it.
    mean = (1 - p) * image + p * guess
    mixed = (1 - p) * np.minimum(variance, spread) + p * spread + p * (1 - p) * (image - guess) ** 2
    ways["mixture by p"] = mean, mixed
    return ways


def stars_of(scene, expected, noise):
    """Return positions of the stars that are bright enough and alone."""
    x, y = np.asarray(scene.stars["x"]), np.asarray(scene.stars["y"])
    size = expected.shape[0]
    inside = (x > 8) & (y > 8) & (x < size - 9) & (y < size - 9)
    positions = np.stack([x, y], axis=1)[inside]
    if not len(positions):
        return positions
    aperture = CircularAperture(positions, RADIUS)
    light = aperture.do_photometry(expected - np.median(expected))[0]
    error = np.sqrt(aperture.do_photometry(noise**2)[0])
    bright = light / error > SNR
    return positions[bright]


def measure(image, aperture, known, error):
    """Return the errors of the stars; a pixel without a value gets the median of its neighbours."""
    filled = clean_pixels(np.nan_to_num(image), np.isnan(image)) if np.isnan(image).any() else image
    return np.clip((aperture.do_photometry(filled)[0] - known) / error, -WORST, WORST)


def run(seed, model, library, psf):
    """Return rows (way, kind, hit, error, pull) of the stars of a field."""
    expected, data, charges, scene = make_field(seed, library, psf)
    noise = np.sqrt(expected + READNOISE**2)
    labels = [charge > 3 * noise for charge in charges]
    positions = stars_of(scene, expected, noise)
    if not len(positions):
        return []
    results = [
        ca.cosmicray_vi(
            CCDData(image, unit="electron"), model=model, T=T, seed=SEED, readnoise=READNOISE
        )
        for image in data
    ]
    aperture = CircularAperture(positions, RADIUS)
    known = aperture.do_photometry(expected)[0]
    error = np.sqrt(aperture.do_photometry(noise**2)[0])
    x, y = np.round(positions.T).astype(int)
    distance = [distance_transform_edt(charge <= 0)[y, x] for charge in charges]
    rows = []
    for name, image in combinations(results, data, labels).items():
        errors = measure(image, aperture, known, error / np.sqrt(3))
        for e, d in zip(errors, np.min(distance, axis=0), strict=True):
            rows.append(("three exposures", name, d <= RADIUS, e, np.nan))
    for name, (image, variance) in single(results[0], data[0], np.median(expected)).items():
        errors = measure(image, aperture, known, error)
        stated = np.sqrt(aperture.do_photometry(variance)[0]) / error
        for e, s, d in zip(errors, stated, distance[0], strict=True):
            rows.append(("one exposure", name, d <= RADIUS, e, e / s))
    return rows


def summary(fields, n_resamples=1000):
    """Return a row per way: bias, scatter and coverage, intervals from fields drawn anew."""
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(fields), size=(n_resamples, len(fields)))
    keys = dict.fromkeys(row[:3] for rows in fields for row in rows)
    table = []
    for kind, way, hit in keys:
        parts = [
            np.array([r[3:] for r in rows if r[:3] == (kind, way, hit)]).reshape(-1, 2)
            for rows in fields
        ]

        def figures(chosen):
            errors, pulls = np.concatenate(chosen).T
            return errors.mean(), np.sqrt(np.mean(errors**2)), np.mean(np.abs(pulls) < 1)

        values = figures(parts)
        ends = np.quantile(
            [figures([parts[i] for i in pick]) for pick in drawn], (0.025, 0.975), axis=0
        )
        row = {"exposures": kind, "way": way, "hit": hit, "stars": sum(map(len, parts))}
        for name, value, low, high in zip(("bias", "rms", "covered"), values, *ends, strict=True):
            if name == "covered" and kind != "one exposure":
                value = low = high = np.nan
            row |= {name: value, f"{name}_low": low, f"{name}_high": high}
        table.append(row)
    table = Table(rows=table)
    for column in table.columns.values():
        if column.dtype.kind == "f":
            column.info.format = ".2f"
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--fields", type=int, default=40)
    parser.add_argument("--model", default="acs-wfc-vi")
    parser.add_argument("--out", type=Path, default=Path("docs/validation"))
    arguments = parser.parse_args()
    model = ca.load_model(arguments.model)
    library = cosmic_ray_footprints(5000, seed=20_000)
    psf = hst_psf(606, charge_diffusion=0.5)
    fields = [run(seed, model, library, psf) for seed in range(arguments.fields)]
    table = summary([rows for rows in fields if rows])
    table.meta |= {
        "title": "Photometry after hard and soft masks",
        "description": "Simulated fields of 500 s with simulated hits. Errors of stars above "
        f"S/N {SNR:g} in apertures of {RADIUS:g} pixels, over the error without hits, clipped at "
        f"{WORST:g}; 95 % intervals from fields drawn with replacement. hit: charge in the "
        "aperture of an exposure. covered: share of stars within their stated error (0.68 is "
        "right).",
        "command": f"python benchmarks/soft_masks.py --fields {arguments.fields} "
        f"--model {arguments.model}",
    }
    table.pprint_all()
    arguments.out.mkdir(parents=True, exist_ok=True)
    table.write(arguments.out / "soft_masks.ecsv", overwrite=True)


if __name__ == "__main__":
    main()
