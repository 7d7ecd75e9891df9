"""
Draw the review page of the bundled sample as a browser shows it, for the guide.

Its size is printed, and that of a page of 2048 x 4096 pixels as crowded: the sample, repeated.

    python benchmarks/review_picture.py --out docs/_static

Needs chromium, chromedriver and selenium.
"""

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
from astropy.nddata import CCDData
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

import cosmiq_astro as ca

_ENTRY = 4  # of the list of hits


def shoot(driver, picture, *, width=1200, height=820, scheme="light"):
    """Draw the page that a browser has open, in a window of this width, at an entry of its list."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    feature = {"name": "prefers-color-scheme", "value": scheme}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    driver.refresh()
    while driver.find_element("tag name", "body").get_attribute("data-ready") != "yes":
        time.sleep(0.1)
    for _ in range(_ENTRY):
        driver.find_element("id", "next").click()
    time.sleep(1)
    driver.save_screenshot(str(picture))


def main():
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="for review.png")
    parser.add_argument("--all", action="store_true", help="narrow, and on a dark desktop too")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome")
    for flag in ("headless=new", "no-sandbox", "hide-scrollbars"):
        options.add_argument(f"--{flag}")
    with tempfile.TemporaryDirectory() as folder:
        sample, page = ca.load_sample(), Path(folder) / "sample.html"
        chip = CCDData(np.tile(sample.data, (4, 8)), unit=sample.unit)
        for ccd, path in ((chip, Path(folder) / "chip.html"), (sample, page)):
            ca.cosmicray_vi(ccd, readnoise=4.71, seed=1).review(path)
            print(f"{ccd.shape}: {path.stat().st_size / 1e6:.1f} MB", flush=True)
        driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        driver.get(page.as_uri())
        shoot(driver, args.out / "review.png")
        if args.all:
            shoot(driver, args.out / "review_dark.png", scheme="dark")
            narrow = {"width": 480, "height": 1600}
            shoot(driver, args.out / "review_narrow.png", **narrow)
            shoot(
                driver, args.out / "review_narrow_dark.png", width=480, height=1600, scheme="dark"
            )
        driver.quit()


if __name__ == "__main__":
    main()
