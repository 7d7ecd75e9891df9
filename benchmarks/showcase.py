"""
Zoomed stamps of the bundled sample: image, mask, probability, cleaned, and what other tools flag.

python benchmarks/showcase.py [--saao DIR] [--out docs/_static]

Needs deepCR (with joblib and tensorboard) and astroscrappy. With ``--saao``, a folder of
``saao_ste3_bulge_008?.fits.gz`` (pyDIA's examples, MIT licence), it also draws one frame of a
telescope on the ground with the hits that other exposures of the field prove.
"""

import argparse
from pathlib import Path

import astroscrappy
import matplotlib.pyplot as plt
import numpy as np
from astropy.io import fits
from astropy.nddata import CCDData
from deepCR import deepCR
from scipy import ndimage

import cosmiq_astro as ca
from cosmiq_astro.cleaning import clean_pixels
from cosmiq_astro.training import label_exposures

SEED, T, READNOISE = 1, 16, 4.71
OBJLIM = 20  # of 2, 5, ... 80 the one that spares most stars of the sample for the hits it loses
GAIN = 1.9  # of the camera on the ground, electrons per adu
WHICH = 2  # of the five exposures on the ground, the one shown
HALF = 10  # pixels on either side of a stamp's middle
STAMPS = (  # x, y of the middle, and what it shows
    (415, 183, "a short track"),
    (104, 334, "two hits"),
    (464, 375, "crowded"),
    (331, 339, "on a star's flank"),
    (401, 319, "faint"),
    (56, 331, "doubtful"),
    (395, 388, "bright star"),
    (359, 208, "saturated star"),
)
EIGHT = np.ones((3, 3))


def stretch(image):
    """Return the arcsinh of an image above its sky, and the range to draw."""
    sky = np.nanmedian(image)
    values = np.arcsinh((image - sky) / 40)
    return values, np.arcsinh(-1.0), np.nanquantile(values, 0.999)


def outline(ax, mask, color):
    """Draw the borders of the pixels of a mask, each where it is."""
    big = np.kron(np.pad(mask, 1), np.ones((8, 8)))
    ny, nx = mask.shape
    ax.contour(
        np.linspace(-1.5, nx + 0.5, big.shape[1]),
        np.linspace(-1.5, ny + 0.5, big.shape[0]),
        big,
        levels=[0.5],
        colors=color,
        linewidths=1.3,
    )
    ax.set(xlim=(-0.5, nx - 0.5), ylim=(-0.5, ny - 0.5))


def sample_stamps():
    """Draw the stamps of the sample, a column each."""
    ccd = ca.load_sample()
    image = ccd.data.astype(np.float32)
    out = ca.cosmicray_vi(ccd, T=T, seed=SEED, readnoise=READNOISE)
    lacosmic = astroscrappy.detect_cosmics(
        image, gain=1, readnoise=READNOISE, satlevel=60000, sigclip=4.5, objlim=OBJLIM
    )[0]
    peer = deepCR(mask="ACS-WFC", device="CPU").clean(image, threshold=0.5, inpaint=False) > 0
    cleaned = clean_pixels(image, out.cr_mask, mask=ccd.mask)
    print(f"cosmicray_vi {out.cr_mask.sum()} pixels, {out.meta['CRVINHIT']} hits")
    print(f"L.A.Cosmic {lacosmic.sum()}, deepCR {peer.sum()} pixels")

    values, low, high = stretch(image)
    cleaned = stretch(cleaned)[0]
    rows = (
        ("image", values, None, None),
        ("mask", values, out.cr_mask, "tab:red"),
        ("probability", out.cr_probability, None, None),
        ("cleaned", cleaned, None, None),
        ("L.A.Cosmic", values, lacosmic, "tab:blue"),
        ("deepCR", values, peer, "tab:orange"),
    )
    figure, axes = plt.subplots(
        len(rows),
        len(STAMPS),
        figsize=(1.45 * len(STAMPS), 1.5 * len(rows) + 0.3),
        layout="constrained",
    )
    for row, (name, plane, mask, color) in zip(axes, rows, strict=True):
        row[0].set_ylabel(name)
        for ax, (x, y, _) in zip(row, STAMPS, strict=True):
            part = slice(y - HALF, y + HALF + 1), slice(x - HALF, x + HALF + 1)
            top = max(values[part].max(), low + 0.6 * (high - low))
            style = {"cmap": "gray_r", "vmin": low, "vmax": top}
            if name == "probability":
                style = {"cmap": "magma", "vmin": 0, "vmax": 1}
            ax.imshow(plane[part], origin="lower", interpolation="nearest", **style)
            ax.set(xticks=[], yticks=[])
            if mask is not None and mask[part].any():
                outline(ax, mask[part], color)
    for ax, (_, _, title) in zip(axes[0], STAMPS, strict=True):
        ax.set_title(title, fontsize=9)
    return figure


def ground_frame(folder):
    """Draw one frame from the ground, a stamp for each hit that the other frames prove."""
    paths = sorted(folder.glob("saao_ste3_bulge_008?.fits.gz"))
    images = [GAIN * fits.getdata(path).astype(np.float32) for path in paths]
    labels = label_exposures(images, readnoise=5, offsets="measure")
    model, results = ca.load_model("acs-wfc-vi"), []
    for i, image in enumerate(images):
        ccd = CCDData(image, unit="electron")
        results.append(ca.cosmicray_vi(ccd, T=T, seed=SEED, readnoise=5, model=model))
        flagged, n = ndimage.label(results[i].cr_mask, EIGHT)
        alone = n
        for name, mask in (("proven", labels.masks[i]), ("undecided", labels.ignore[i])):
            touched = np.setdiff1d(flagged[np.asarray(mask)], 0)
            flagged[np.isin(flagged, touched)] = 0
            alone -= touched.size
            print(f"frame {i}: {touched.size} of {n} groups {name}", end="; ")
        print(f"{alone} neither")
    image, proven, out = images[WHICH], np.asarray(labels.masks[WHICH]), results[WHICH]
    groups, n = ndimage.label(proven, EIGHT)
    print(f"{np.unique(groups[out.cr_mask & proven]).size} of {n} proven hits found")

    figure = plt.figure(figsize=(11, 3.6), layout="constrained")
    whole, stamps = figure.subfigures(1, 2, width_ratios=(3.4, 7.6))
    values, low, high = stretch(image)
    ax = whole.subplots()
    ax.imshow(values, origin="lower", cmap="gray_r", vmin=low, vmax=high)
    places = np.round(ndimage.center_of_mass(proven, groups, range(1, n + 1))).astype(int)
    ax.plot(places[:, 1], places[:, 0], "o", ms=9, mfc="none", mec="tab:red")
    ax.set(title=f"300 s, SAAO 1 m: {out.meta['CRVINHIT']} hits flagged", xticks=[], yticks=[])
    axes = stamps.subplots(3, -(-n // 3)).ravel()
    for ax in axes:
        ax.axis("off")
    half = HALF - 3
    for ax, place in zip(axes, places, strict=False):
        # At the border a stamp moves inwards: all have the same size.
        y, x = np.clip(place, half, np.array(image.shape) - half - 1)
        part = slice(y - half, y + half + 1), slice(x - half, x + half + 1)
        ax.imshow(values[part], origin="lower", cmap="gray_r", vmin=low, vmax=values[part].max())
        if out.cr_mask[part].any():
            outline(ax, out.cr_mask[part], "tab:red")
        else:
            outline(ax, proven[part], "tab:blue")
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--saao", type=Path, help="folder of the frames from the ground")
    parser.add_argument("--out", type=Path, default=Path("docs/_static"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    sample_stamps().savefig(arguments.out / "sample.png", dpi=110)
    if arguments.saao:
        figure = ground_frame(arguments.saao)
        figure.savefig(arguments.out / "ground.png", dpi=110)


if __name__ == "__main__":
    main()
