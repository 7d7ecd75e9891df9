"""
Cut the bundled sample out of an HST/ACS/HRC frame.

    python benchmarks/make_sample.py --frame PATH/j8bt06nyq_flt.fits

The frame is in the Debian package ``python-drizzle-testdata``. SCI and ERR
are rounded to a fraction of an electron and RICE-compressed, DQ is kept as
it is.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning

X0, Y0, SIZE = 256, 128, 512
# Steps in electrons; the noise of a sky pixel is about 5.
STEPS = {"SCI": 0.25, "ERR": 0.1}
ROOT = Path(__file__).parents[1] / "cosmiq_astro" / "data"


def cut(hdu):
    """Return a compressed HDU of the cutout, its coordinates right."""
    box = np.s_[Y0 : Y0 + SIZE, X0 : X0 + SIZE]
    header = hdu.header.copy()
    # Blank cards (the titles of the header's sections) do not survive compression.
    for number in reversed([n for n, card in enumerate(header.cards) if card.keyword == ""]):
        del header[number]
    for keyword, offset in (("CRPIX1", X0), ("CRPIX2", Y0), ("LTV1", X0), ("LTV2", Y0)):
        if keyword in header:
            header[keyword] -= offset
    data = np.ascontiguousarray(hdu.data[box])
    options = {}
    if hdu.name in STEPS:
        options = {"quantize_level": -STEPS[hdu.name], "quantize_method": 2, "dither_seed": 1}
    return fits.CompImageHDU(
        data, header, compression_type="RICE_1", tile_shape=(16, SIZE), **options
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--frame", type=Path, required=True, help="j8bt06nyq_flt.fits")
    parser.add_argument("--out", type=Path, default=ROOT / "j8bt06nyq_sample.fits")
    args = parser.parse_args()
    warnings.simplefilter("ignore", FITSFixedWarning)
    with fits.open(args.frame) as hdus:
        primary = fits.PrimaryHDU(header=hdus[0].header)
        primary.header["FILENAME"] = args.out.name
        for line in (
            f"Cutout [{Y0}:{Y0 + SIZE}, {X0}:{X0 + SIZE}] (0-based, y then x) of j8bt06nyq_flt,",
            "an HST/ACS/HRC exposure of 47 Tuc, proposal 9019, PI R. Bohlin, as the",
            "Debian package python-drizzle-testdata has it. Based on observations made",
            "with the NASA/ESA Hubble Space Telescope.",
            f"SCI and ERR rounded to {STEPS['SCI']} and {STEPS['ERR']} electrons, RICE compressed; "
            "DQ as it was.",
            "Made by benchmarks/make_sample.py of cosmiq_astro.",
        ):
            primary.header["HISTORY"] = line
        out = fits.HDUList([primary, *(cut(hdu) for hdu in hdus[1:4])])
        out.writeto(args.out, checksum=True, overwrite=True)
        check(args.out, hdus)


def check(path, hdus):
    """Compare the sample with the frame, and print what it cost."""
    box = np.s_[Y0 : Y0 + SIZE, X0 : X0 + SIZE]
    with fits.open(path, checksum=True) as sample:
        sample.verify("exception")
        for name in STEPS:
            worst = np.abs(sample[name].data - hdus[name].data[box]).max()
            print(f"{name}: largest difference {worst:.3f} electrons")
        assert np.array_equal(sample["DQ"].data, hdus["DQ"].data[box])
        before = WCS(hdus["SCI"].header).pixel_to_world_values(X0 + 10, Y0 + 20)
        assert np.allclose(WCS(sample["SCI"].header).pixel_to_world_values(10, 20), before)
    print(f"{path}: {path.stat().st_size / 1e6:.3f} MB")


if __name__ == "__main__":
    main()
