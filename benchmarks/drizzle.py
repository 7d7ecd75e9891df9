"""
Whether AstroDrizzle leaves out the pixels that were flagged: the program itself, on an output.

    pip install drizzlepac
    python benchmarks/drizzle.py

The bundled frame is searched, the hits go to a bit of DQ, and the output is drizzled alone. Printed
is how many flagged pixels the mask of the last step lets through, for each bit and ``resetbits``.
"""

import os
import tempfile
from pathlib import Path

from astropy.io import fits

from cosmiq_astro.data import sample_path
from cosmiq_astro.hst import detect_file

STEPS = ("static", "skysub", "driz_separate", "median", "blot", "driz_cr")


def main():
    from drizzlepac.astrodrizzle import AstroDrizzle

    with tempfile.TemporaryDirectory() as folder:
        # It reads and writes where it is started.
        os.chdir(folder)
        with fits.open(sample_path()) as hdus:
            images = [fits.ImageHDU(hdu.data, hdu.header) for hdu in hdus[1:]]
            fits.HDUList([hdus[0], *images]).writeto("plain_flt.fits")
        lines = []
        for bit in (16384, 4096):
            for reset in (4096, 0):
                name = f"b{bit}r{reset}_flt.fits"
                detect_file("plain_flt.fits", name, model="acs-wfc-unet", dq_bit=bit)
                settings = dict.fromkeys(STEPS, False) | {"updatewcs": False, "clean": False}
                AstroDrizzle(name, output="d", resetbits=reset, final_bits=0, **settings)
                hits = fits.getdata(name, "CRVIMASK") > 0
                good = fits.getdata(next(Path().glob(f"{name[:-9]}*final_mask.fits"))) > 0
                used = f"{(good & hits).sum()} of {hits.sum()} flagged pixels are used"
                lines.append(f"DQ bit {bit}, resetbits={reset}: {used}")
        os.chdir("/")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
