"""Photometry of stars before and after the flagged pixels are replaced, against the known light."""

import numpy as np
from photutils.aperture import CircularAperture

from cosmiq_astro.cleaning import clean_pixels

__all__ = ["measure", "photometry_rows"]

RADIUS = 3.0  # pixels
BINS = (10, 30, 100, 300, np.inf)  # S/N of the star
_NAMES = ("10-30", "30-100", "100-300", ">300")
_WORST = 1.0  # mag: larger errors count as this, or one hit would decide the mean


def measure(frame, flagged, distance):
    """
    Return the sums of the errors of the stars of a frame.

    Parameters
    ----------
    frame : `_frames.Frame`
        Image and truth.
    flagged : ndarray of bool
        Pixels to replace.
    distance : ndarray
        Distance of each pixel from the nearest hit, pixels.

    Returns
    -------
    sums : ndarray
        Shape (2, n_bins, 3): without and with a hit in the aperture, bins of
        S/N, and number of stars, sums of the error before and after (mag).
    """
    sums = np.zeros((2, len(_NAMES), 3))
    bright = frame.star_snr >= BINS[0]
    y, x = frame.star_y[bright], frame.star_x[bright]
    if not y.size:
        return sums
    cleaned = clean_pixels(frame.image, flagged)
    sky = np.median(frame.expected)
    aperture = CircularAperture(np.stack([x, y], axis=1), RADIUS)
    before, after, known = (
        aperture.do_photometry(image - sky)[0] for image in (frame.image, cleaned, frame.expected)
    )
    hit = (distance[y, x] <= RADIUS).astype(int)
    row = np.digitize(frame.star_snr[bright], BINS) - 1
    for k, flux in ((1, before), (2, after)):
        # A star that lies in a dark lane may have less light than the sky of the frame.
        ratio = np.maximum(flux, 1e-9) / np.maximum(known, 1e-9)
        error = np.clip(-2.5 * np.log10(ratio), -_WORST, _WORST)
        np.add.at(sums, (hit, row, k), error)
    np.add.at(sums, (hit, row, 0), 1)
    return sums


def photometry_rows(tool, sums, *, n_resamples, seed):
    """Return the mean error of each bin with intervals from frames drawn with replacement."""
    sums = np.asarray(sums)  # (n_frames, 2, n_bins, 3)
    rng, n = np.random.default_rng(seed), len(sums)
    times = rng.multinomial(n, np.full(n, 1 / n), n_resamples)
    drawn = np.tensordot(times, sums, axes=1)
    rows = []
    for hit in (0, 1):
        for k, name in enumerate(_NAMES):
            total = sums.sum(axis=0)[hit, k]
            row = {"tool": tool, "hit": bool(hit), "snr": name, "stars": int(total[0])}
            for j, when in ((1, "before"), (2, "after")):
                with np.errstate(invalid="ignore", divide="ignore"):
                    row[f"bias_{when}"] = total[j] / total[0]
                    means = drawn[:, hit, k, j] / drawn[:, hit, k, 0]
                ends = np.nanquantile(means, (0.025, 0.975)) if total[0] else (np.nan, np.nan)
                row |= {f"bias_{when}_low": ends[0], f"bias_{when}_high": ends[1]}
            rows.append(row)
    return rows
