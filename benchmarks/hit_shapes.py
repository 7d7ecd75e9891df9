"""
Shapes and charges of simulated hits, held against real ones.

python benchmarks/hit_shapes.py --data DIR --output DIR

DIR of --data holds wfc3_uvis_dark_hits.fits (masks of WFC3/UVIS darks), stis_ccd_1999.fits (frames
of HST/STIS with the median of their rates) and acs_hrc_j8bt06nyq_hits.ecsv (hits in an ACS/HRC
frame). Simulated hits are seen as the real ones were: with noise, labelled by the same rule, and
where frames are real, with their noise and masks. Writes a table and a figure.
"""

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np
from astropy.io import fits
from astropy.table import Table
from scipy import ndimage

from cosmiq_astro.simulate import cosmic_ray_footprints

mpl.use("Agg")
import matplotlib.pyplot as plt

EIGHT = np.ones((3, 3), bool)
# Charge from the illuminated surface, micrometres. For masks, whose thresholds are not known,
# narrower spread and a lower threshold trade off.
DIFFUSION = {"UVIS": 3.7, "ACS": 7.0, "STIS": 8.5, "HRC": 8.5}
NOISE = {"UVIS": 4.0, "ACS": 7.0}  # electrons: dark of 900 s; read noise and sky of a typical frame
ARTEFACTS = {"UVIS": 0.05, "ACS": 0.13}  # share of one-pixel artefacts, flickering pixels and noise
SIGMAS = 5.0, 3.0  # of a hit's brightest pixel, and of the pixels that touch such ones
STIS_NOISE, STIS_SEEN = 4.4, 30.0
STIS_FRAMES = (2, 3, 4, 5, 7)  # the others have more warm-pixel residue
HRC_SEEN = 150.0
RATE = 1.65  # hits per square centimetre and second in the UVIS masks
# Truth masks of nine real ACS/WFC cutouts, made from repeated exposures.
ACS_MASKS = {
    "1 pixel": 0.192,
    "2 pixels": 0.147,
    "3 pixels": 0.085,
    "4 pixels": 0.104,
    "5 pixels": 0.097,
    "6 pixels": 0.071,
    "pixels, 25 %": 2,
    "pixels, 50 %": 4,
    "pixels, 75 %": 7,
    "pixels, 95 %": 15,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path())
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    hits, pictures = measure(arguments.data, rng)
    names = list(statistics(hits["STIS simulated"]))
    table = Table({"statistic": names})
    for name, found in (hits | {"ACS masks": None}).items():
        values = ACS_MASKS if found is None else statistics(found)
        table[name] = [f"{values[row]:.3g}" if row in values else "" for row in names]
    table.meta = {
        "title": "Sizes, elongations and charges of real and simulated hits",
        "UVIS masks": "of 900 s darks; cleaned: without single pixels flagged in another dark too",
        **{
            f"{camera} simulated": f"diffusion {DIFFUSION[camera]} um, from {SIGMAS[0]:.0f} sigma "
            f"of {NOISE[camera]:.0f} e, neighbours from {SIGMAS[1]:.0f}; {share:.0%} single pixels"
            for camera, share in ARTEFACTS.items()
        },
        "ACS masks": "of repeated exposures, nine cutouts; no charges and no elongations known",
        "STIS": f"pixels of 42 x 21 um above {STIS_SEEN:.0f} e, hits above 250 e",
        "HRC": f"pixels of 21 um above {HRC_SEEN:.0f} e",
        "elongation": "root of the ratio of second moments, hits of 6 pixels and more",
        "command": "python benchmarks/hit_shapes.py --data DIR --output docs/validation",
    }
    table.pprint_all()
    table.write(arguments.output / "hit_shapes.ecsv", overwrite=True)
    figure(hits, pictures, arguments.output / "hit_shapes.png")


def measure(data, rng):
    """Return the hits of every source, and patches of frames to look at."""
    with fits.open(data / "wfc3_uvis_dark_hits.fits") as hdus:
        masks = {hdu.name: hdu.data > 0 for hdu in hdus[1:]}
    cleaned = [mask & ~recurring(name, masks) for name, mask in masks.items()]
    uvis = [mask_like("UVIS", 900, rng) for _ in range(2)]
    acs = [mask_like("ACS", 700, rng) for _ in range(2)]
    frames = list(stis_frames(data / "stis_ccd_1999.fits"))
    library = cosmic_ray_footprints(
        20_000, seed=rng, pixel_size=21, diffusion=DIFFUSION["STIS"], thickness=15.3
    )
    faked = [stis_like(library, noise, rng) for _, noise, _ in frames]
    listed = Table.read(data / "acs_hrc_j8bt06nyq_hits.ecsv")
    hrc = np.zeros((1024, 1024))
    hrc[listed["y"], listed["x"]] = listed["electrons"]
    hrc_like = cosmic_ray_footprints(
        2_000, seed=rng, pixel_size=21, diffusion=DIFFUSION["HRC"]
    ).scatter((4096, 4096), rng)
    hits = {
        "UVIS masks": together(groups(mask) for mask in masks.values()),
        "UVIS masks, cleaned": together(groups(mask) for mask in cleaned),
        "UVIS simulated": together(groups(mask) for mask in uvis),
        "ACS simulated": together(groups(mask) for mask in acs),
        "STIS": together(groups(f > STIS_SEEN, f, m, 250) for f, _, m in frames),
        "STIS simulated": together(
            groups(f > STIS_SEEN, f, m, 250) for f, (_, _, m) in zip(faked, frames, strict=True)
        ),
        "HRC": groups(hrc > HRC_SEEN, hrc),
        "HRC simulated": groups(hrc_like > HRC_SEEN, hrc_like),
    }
    patch = np.s_[700:900, 100:300]
    return hits, {
        "UVIS mask, cleaned": cleaned[2][patch],
        "UVIS simulated": uvis[0][patch],
        "STIS": np.arcsinh(frames[3][0][patch] / 10),
        "STIS simulated": np.arcsinh(faked[3][patch] / 10),
    }


def recurring(name, masks):
    """Single pixels of a mask that another exposure of the same chip flags as well."""
    mask = masks[name]
    again = [m for other, m in masks.items() if other != name and other[-1] == name[-1]]
    neighbours = ndimage.uniform_filter(mask.astype(np.float32), 3)
    return mask & (neighbours < 1.5 / 9) & np.any(again, axis=0)


def mask_like(camera, time, rng, *, shape=(2048, 2048)):
    """Simulate a mask as made from repeated exposures."""
    n = rng.poisson(RATE * time * shape[0] * shape[1] * 15e-4**2)
    library = cosmic_ray_footprints(n, seed=rng, diffusion=DIFFUSION[camera])
    charge = library.scatter(shape, rng)
    share = ARTEFACTS[camera]
    y, x = rng.integers(0, shape, (rng.poisson(n * share / (1 - share)), 2)).T
    charge[y, x] += rng.lognormal(np.log(700), np.log(5), y.size)
    ratio = charge / NOISE[camera] + rng.normal(0, 1, shape)
    peak, neighbour = SIGMAS
    near = ndimage.binary_dilation(ratio > peak, EIGHT)
    return (ratio > peak) | (near & (ratio > neighbour))


def stis_frames(path):
    """Yield (dark-subtracted frame, noise, pixels to use) of each STIS frame."""
    with fits.open(path) as hdus:
        rate = hdus["MEDRATE"].data.astype(float)
        for number in STIS_FRAMES:
            dark = rate * hdus["SCI", number].header["EXPTIME"]
            use = dark < 150
            use[400:620] = False  # the spectrum moves between exposures
            use[[0, -1]] = use[:, [0, -1]] = False
            noise = np.sqrt(STIS_NOISE**2 + np.maximum(dark, 0))
            yield hdus["SCI", number].data - dark, noise, use


def stis_like(library, noise, rng):
    """Simulate one STIS frame: twice as many columns, binned by 2, with noise."""
    charge = library.paste((noise.shape[0], 2 * noise.shape[1]), 6_500, rng, turn=False)
    return charge[:, ::2] + charge[:, 1::2] + rng.normal(0, 1, noise.shape) * noise


def groups(mask, charge=None, use=None, least=0.0):
    """Return size, elongation and charge of each group of pixels that touch none not to be used."""
    labels, n = ndimage.label(mask, EIGHT)
    index = np.arange(1, n + 1)
    size = np.bincount(labels.ravel(), minlength=n + 1)[1:]
    y, x = np.indices(mask.shape)
    mean = [ndimage.mean(v, labels, index) for v in (y, x)]
    dy, dx = (v - np.append(0, m)[labels] for v, m in zip((y, x), mean, strict=True))
    yy, xx, xy = (ndimage.mean(v, labels, index) for v in (dy * dy, dx * dx, dy * dx))
    half, spread = (yy + xx) / 2 + 1 / 12, np.hypot((yy - xx) / 2, xy)
    charge = np.zeros(n) if charge is None else ndimage.sum(charge, labels, index)
    good = charge >= least
    if use is not None:
        touched = np.unique(labels[~use])
        good[touched[touched > 0] - 1] = False
    elongation = np.sqrt((half + spread) / (half - spread))
    return np.array([size, elongation, charge])[:, good]


def together(parts):
    return np.concatenate(list(parts), axis=1)


def statistics(hits):
    """Sizes, elongations and charges of hits, as `groups` gives them."""
    size, elongation, charge = hits
    result = {"hits": size.size}
    for n in range(1, 7):
        result["1 pixel" if n == 1 else f"{n} pixels"] = np.mean(size == n)
    for p in (25, 50, 75, 95, 99):
        result[f"pixels, {p} %"] = np.percentile(size, p)
    for p in (50, 90):
        result[f"elongation, {p} %"] = np.percentile(elongation[size >= 6], p)
    known = (
        {} if not charge.any() else {"all": size > 0, "1": size == 1, "3-4": abs(size - 3.5) < 1}
    )
    for name in ("all", "1", "3-4"):
        for p in (5, 50, 95):
            key = f"charge, {p} %" if name == "all" else f"charge, {name} px, {p} %"
            result[key] = np.percentile(charge[known[name]], p) if known else np.nan
    return {key: value for key, value in result.items() if value == value}


def figure(hits, pictures, path):
    """Plot distributions, and patches of real and of simulated frames."""
    fig, axes = plt.subplots(2, 4, figsize=(16, 8), layout="constrained")
    pairs = [("UVIS masks, cleaned", "UVIS simulated"), ("STIS", "STIS simulated")]
    for row, (real, fake) in zip(axes, pairs, strict=True):
        for name, style in ((real, "-"), (fake, "--")):
            size, elongation, charge = hits[name]
            shares = [np.mean(size == n) for n in range(1, 26)]
            row[0].semilogy(range(1, 26), shares, style, label=name)
            values = np.log10(charge) if charge.any() else elongation[size >= 6]
            bins = np.linspace(2, 5, 40) if charge.any() else np.linspace(1, 8, 40)
            row[1].hist(values, bins, histtype="step", density=True, linestyle=style, label=name)
        row[0].set(xlabel="pixels per hit", ylabel="share of the hits")
        row[1].set_xlabel("log10 charge (electron)" if charge.any() else "elongation")
        row[0].legend()
    for ax, (name, image) in zip(axes[:, 2:].flat, pictures.items(), strict=True):
        ax.imshow(image, cmap="gray", vmax=6 if image.dtype != bool else 1, origin="lower")
        ax.set(title=name, xticks=[], yticks=[])
    fig.savefig(path, dpi=70)


if __name__ == "__main__":
    main()
