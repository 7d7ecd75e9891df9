"""
Compare simulated cosmic rays with real ones, and with the figures of the ACS handbook.

Real hits are cut from dark-subtracted STIS frames (``stis_ccd_1999.fits``) and
taken from a list of hits in an ACS/HRC frame (``acs_hrc_j8bt06nyq_hits.ecsv``),
both in the folder named by ``--data``. Simulated hits go through the same
binning, noise and extraction. Writes a table and a figure.
"""

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np
from astropy.io import fits
from astropy.table import Table

from cosmiq_astro.simulate import (
    Footprints,
    cosmic_ray_footprints,
    extract_footprints,
    simulate_cosmic_rays,
)

mpl.use("Agg")
import matplotlib.pyplot as plt

STIS_PIXEL = 21.0  # micrometres; the frames are binned by 2 along x
SEEN = 20.0  # electrons: pixels counted in the size of a hit (3 sigma of the STIS frames)


def main():
    """Print and write the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the real frames")
    parser.add_argument("--output", type=Path, default=Path(), help="folder for table and figure")
    parser.add_argument("--rate", type=float, default=1.4, help="hits per cm2 and s, simulated")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    frames = list(stis_frames(args.data / "stis_ccd_1999.fits"))
    real = [extract_footprints(f, s, mask=m, threshold=6) for f, s, m, _ in frames]
    rng = np.random.default_rng(args.seed)
    faked = [fake_stis(f.shape, s, m, t, args.rate, rng) for f, s, m, t in frames]
    fake = [extract_footprints(f, s, mask=m, threshold=6) for f, s, m, _ in faked]
    real, fake = Footprints.concatenate(real), Footprints.concatenate(fake)
    hrc = Table.read(args.data / "acs_hrc_j8bt06nyq_hits.ecsv")
    hrc = Footprints.from_pixels(hrc["hit"], hrc["y"], hrc["x"], hrc["electrons"])
    fake_hrc = cosmic_ray_footprints(5000, seed=rng, pixel_size=21).brighter_than(150)
    fake_hrc = fake_hrc.take(fake_hrc.n_pixels > 0)
    wfc = cosmic_ray_footprints(20_000, seed=rng)
    columns = {
        "STIS real": (real, SEEN),
        "STIS simulated": (fake, SEEN),
        "HRC real": (hrc, 150),
        "HRC simulated": (fake_hrc, 150),
        "WFC simulated": (wfc, 15),
    }
    table = Table({"statistic": list(statistics(wfc, 15))})
    for name, (hits, faintest) in columns.items():
        table[name] = [f"{v:.4g}" for v in statistics(hits, faintest).values()]
    table.pprint_all()
    area = sum((~m).sum() * t for _, _, m, t in frames) * 2 * (STIS_PIXEL * 1e-4) ** 2
    print(f"STIS hits extracted per cm2 and s: real {len(real) / area:.2f}, ", end="")
    print(f"simulated at {args.rate}: {len(fake) / area:.2f}")
    for name, group in (("real", frames), ("simulated", faked)):
        share = np.mean([(f[~m & (s < 7)] > SEEN).mean() / t for f, s, m, t in group])
        print(f"STIS pixels above {SEEN:.0f} e in 1000 s, {name}: {100 * share * 1000:.1f} %")
    charge = simulate_cosmic_rays((2048, 2048), 1000, seed=rng)
    print(f"WFC pixels above 15 e in 1000 s: {100 * (charge > 15).mean():.2f} % (handbook 1.5-3)")
    table.write(args.output / "simulator_check.ecsv", overwrite=True)
    figure(columns, frames[0], faked[0], args.output / "simulator_check.png")


def stis_frames(path):
    """Yield (dark-subtracted frame, noise, mask, exposure time) of each STIS frame."""
    with fits.open(path) as hdus:
        rate = hdus["MEDRATE"].data.astype(float)
        for hdu in hdus[2:9]:  # the last two have much warm-pixel residue
            time = hdu.header["EXPTIME"]
            dark = rate * time
            mask = dark > 150
            mask[400:621] = True  # the spectrum
            frame = hdu.data - dark
            quiet = frame[~mask & (dark < 10)]
            middle = np.median(quiet)
            noise = 1.4826 * np.median(np.abs(quiet - middle))
            yield frame - middle, np.sqrt(noise**2 + np.maximum(dark, 0)), mask, time


def fake_stis(shape, noise, mask, time, rate, rng):
    """Simulate one STIS frame: twice as many columns, binned by 2, with noise."""
    charge = simulate_cosmic_rays(
        (shape[0], 2 * shape[1]), time, seed=rng, rate=rate, pixel_size=STIS_PIXEL
    )
    frame = charge[:, ::2] + charge[:, 1::2] + rng.normal(0, noise, shape)
    return frame, noise, mask, time


def statistics(hits, faintest):
    """Sizes and charges of hits, counting pixels above ``faintest`` electrons."""
    seen = hits.brighter_than(faintest)
    seen = seen.take(seen.n_pixels > 0)
    size, charge = seen.n_pixels, seen.total_charge
    peak = np.maximum.reduceat(seen.charge, seen.offsets[:-1])
    tall, wide = (
        np.maximum.reduceat(v, seen.offsets[:-1]) - np.minimum.reduceat(v, seen.offsets[:-1]) + 1
        for v in (seen.dy, seen.dx)
    )
    share = peak / charge
    return {
        "hits": len(seen),
        "pixels per hit, mode": np.bincount(size).argmax(),
        **{f"pixels per hit, {p} %": np.percentile(size, p) for p in (10, 50, 90, 99)},
        "pixels per hit, mean": size.mean(),
        **{f"charge, {p} %": np.percentile(charge, p) for p in (1, 10, 50, 90, 99)},
        "charge below 500 e": np.mean(charge < 500),
        "rows, median": np.median(tall),
        "rows, 95 %": np.percentile(tall, 95),
        "columns, 95 %": np.percentile(wide, 95),
        "peak over charge, 10 %": np.percentile(share, 10),
        "peak over charge, 50 %": np.median(share),
        "peak over charge, 90 %": np.percentile(share, 90),
        "faint pixels (< 100 e) per hit": np.mean(seen.charge < 100) * size.mean(),
    }


def figure(columns, real, fake, path):
    """Plot distributions and one patch of a real and of a simulated frame."""
    fig, axes = plt.subplots(2, 3, figsize=(15, 9), layout="constrained")
    for name, (hits, faintest) in columns.items():
        seen = hits.brighter_than(faintest)
        seen = seen.take(seen.n_pixels > 0)
        style = {"histtype": "step", "density": True, "label": name}
        axes[0, 0].hist(seen.n_pixels, np.arange(0.5, 40), **style)
        axes[0, 1].hist(np.log10(seen.total_charge), np.linspace(1.5, 5.5, 60), **style)
        axes[0, 2].hist(np.log10(seen.charge), np.linspace(1, 5, 60), **style)
    for ax, label in zip(
        axes[0],
        ("pixels per hit", "log10 charge per hit (e)", "log10 charge per pixel (e)"),
        strict=True,
    ):
        ax.set_xlabel(label)
        ax.legend(fontsize=7)
    for ax, (frame, *_), name in zip(axes[1], (real, fake), ("real", "simulated"), strict=False):
        ax.imshow(np.arcsinh(frame[700:900, 100:300] / 10), vmin=-1, vmax=6, cmap="gray")
        ax.set_title(f"STIS, {name}")
    for name in ("STIS real", "STIS simulated"):
        radius, profile = wing_profile(columns[name][0])
        axes[1, 2].semilogy(radius, profile, label=name)
    axes[1, 2].set_xlabel("rows from the brightest pixel, compact hits")
    axes[1, 2].set_ylabel("mean share of the peak")
    axes[1, 2].legend()
    fig.savefig(path, dpi=70)


def wing_profile(hits, n=5):
    """Mean charge by rows from the brightest pixel, in its column, of hits of few pixels."""
    compact = hits.take((hits.n_pixels > 2) & (hits.n_pixels < 14) & (hits.total_charge > 2000))
    total = np.zeros(2 * n + 1)
    for low, high in zip(compact.offsets[:-1], compact.offsets[1:], strict=True):
        charge = compact.charge[low:high]
        top = low + charge.argmax()
        same = np.flatnonzero(compact.dx[low:high] == compact.dx[top]) + low
        row = compact.dy[same] - compact.dy[top]
        near = np.abs(row) <= n
        total[row[near] + n] += compact.charge[same[near]] / compact.charge[top]
    return np.arange(-n, n + 1), total / max(len(compact), 1)


if __name__ == "__main__":
    main()
