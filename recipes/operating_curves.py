"""
Measure the operating curves of the bundled models, and store them in their configurations.

Twelve simulated exposures for each of two cameras, 1.6 million pixels, which no model was trained
on: precision and recall at 47 thresholds, for the share of pixels hit that these frames have. In
``config.json`` ``operating_curve`` and ``threshold`` change, which is that of the largest F1;
weights and card stay.

    python recipes/operating_curves.py [MODEL ...]
"""

import argparse
import json
import warnings

import numpy as np
from astropy.nddata import CCDData

import cosmiq_astro as ca
from cosmiq_astro._operating_curve import largest_f
from cosmiq_astro.calibration import operating_curve
from cosmiq_astro.models.registry import find_model, list_models
from cosmiq_astro.simulate import (
    expose,
    hst_psf,
    label_from_charge,
    moffat_psf,
    simulate_cosmic_rays,
    simulate_scene,
)

FIELDS = ("extragalactic", "globular", "galaxy")
SIZE, DRAWS, SEED = 256, 4, 33001
UVIS = {"pixel_scale": 0.04, "spike_angle": np.pi / 4}
# A camera, exposure times, hits per second and cm2, settings of the exposures, and
# point-spread functions.
KINDS = (
    (
        "WFC3/UVIS",
        (500, 1000),
        2.0,
        {"readnoise": 3.1, "gain": 1.6},
        (lambda: hst_psf(606, **UVIS), lambda: hst_psf(814, **UVIS)),
    ),
    (
        "ground-based",
        (300, 600),
        0.5,
        {"readnoise": 5.0, "sky_rate": 1.0},
        (lambda: moffat_psf(2.2), lambda: moffat_psf(3.5)),
    ),
)


def exposures(times, rate, settings, psfs):
    """
    Yield image, label, ignored pixels and read noise of simulated exposures.

    There are no hot or warm pixels: calibrated files have these in DQ.
    """
    readnoise = settings["readnoise"]
    seeds = iter(np.random.SeedSequence(SEED).spawn(len(FIELDS) * len(times) * len(psfs)))
    for make_psf in psfs:
        psf = make_psf()
        for time in times:
            for field in FIELDS:
                rng = np.random.default_rng(next(seeds))
                scene = simulate_scene((SIZE, SIZE), field, psf, seed=rng)
                hits = simulate_cosmic_rays((SIZE, SIZE), time, seed=rng, rate=rate)
                image, expected, charge = expose(
                    scene.rate, time, hits, seed=rng, defects=False, **settings
                )
                noise = np.sqrt(np.maximum(expected, 0) + readnoise**2)
                yield CCDData(image, unit="electron"), *label_from_charge(charge, noise), readnoise


def curve_of(name, frames):
    """Return the operating curve of a model on frames, and what frames these are."""
    find = ca.cosmicray_vi if ca.load_model(name).method == "vi" else ca.cosmicray_unet
    draws = {"T": DRAWS, "seed": 0} if find is ca.cosmicray_vi else {}
    probability, label = [], []
    for ccd, hit, ignore, readnoise in frames:
        out = find(ccd, model=name, readnoise=readnoise, **draws)
        probability.append(out.cr_probability[~ignore])
        label.append(hit[~ignore])
    curve = operating_curve(np.concatenate(probability), np.concatenate(label))
    kinds = [f"{camera}, {' and '.join(map(str, times))} s" for camera, times, *_ in KINDS]
    return {"frames": f"{len(frames)} simulated exposures: {'; '.join(kinds)}"} | curve


def main():
    """Measure and store."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("models", nargs="*", default=list(list_models()["name"]), metavar="MODEL")
    warnings.simplefilter("ignore")
    models = parser.parse_args().models
    frames = [frame for _, *kind in KINDS for frame in exposures(*kind)]
    for name in models:
        curve = curve_of(name, frames)
        path = find_model(name) / "config.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        # In the place where saving a model puts it: before the network.
        tail = {key: config.pop(key) for key in ("network", "sha256")}
        config = config | {"operating_curve": curve} | tail
        config["threshold"] = largest_f(curve, 1.0)
        path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        at = int(np.searchsorted(curve["threshold"], config["threshold"]))
        print(
            f"{name}: at {curve['threshold'][at]:.3f} precision {curve['precision'][at]:.4f}, "
            f"recall {curve['recall'][at]:.4f}; {100 * curve['hit_fraction']:.2f} % of "
            f"{curve['n_pixels']:,} pixels hit",
            flush=True,
        )


if __name__ == "__main__":
    main()
