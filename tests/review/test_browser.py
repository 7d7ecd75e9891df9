"""The review page in a real browser: open, slide, brush, save, apply, and compare pixels."""

import json
import shutil
import time

import numpy as np
import pytest
from astropy.io import fits

import cosmiq_astro as ca
from cosmiq_astro.calibration import operating_curve
from cosmiq_astro.cli.main import main
from cosmiq_astro.hst import detect_file, read_chip
from cosmiq_astro.models.model import load_model, save_model
from cosmiq_astro.page._planes import probability_levels, quantise_levels

webdriver = pytest.importorskip("selenium.webdriver")
pytest.importorskip("selenium.webdriver.chrome.service")
CHROME = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.skipif(not (CHROME and DRIVER), reason="needs chromium and chromedriver"),
    # Of the driver's own sockets.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
CURVE = operating_curve(np.linspace(0.005, 0.995, 200), np.arange(200) % 3 > 0)


@pytest.fixture(scope="module")
def reviewed(tmp_path_factory):
    """A detection on the sample, of a model that has a curve, and its page."""
    from dataclasses import replace

    folder = tmp_path_factory.mktemp("page")
    model = replace(load_model("acs-wfc-vi"), name="curved", operating_curve=CURVE)
    save_model(model, folder / "model", card="test")
    file = folder / "sample_crvi.fits"
    detect_file(ca.data.sample_path(), file, model=folder / "model", T=4, seed=1)
    command = ["review", str(file), "--model", str(folder / "model"), "--regions", "--votable"]
    assert main(command) == 0
    return file, folder / "sample_crvi_review.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROME
    for flag in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={tmp_path_factory.mktemp('profile')}", "--window-size=1300,900",
    ):  # fmt: skip
        options.add_argument(flag)
    downloads = tmp_path_factory.mktemp("downloads")
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.downloads = downloads
    yield driver
    driver.quit()


@pytest.fixture
def page(browser, reviewed):
    browser.get(reviewed[1].as_uri())
    wait(lambda: browser.find_element("tag name", "body").get_attribute("data-ready") == "yes")
    yield browser
    assert [entry["message"] for entry in browser.get_log("browser")] == []
    browser.execute_script("review.saved = true")


def wait(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def text_of(browser, name):
    return browser.find_element("id", name).text


def press(browser, name):
    browser.find_element("id", name).click()


def slide(browser, position):
    browser.execute_script(
        "const s = document.getElementById('threshold'); s.value = arguments[0];"
        "s.dispatchEvent(new Event('input'))",
        position,
    )


def choose(browser, tool):
    browser.find_element("css selector", f'input[value="{tool}"] + span').click()


def click_pixel(browser, x, y, *, to=None):
    """Press the button on a pixel, drag to another one, and let it go."""
    browser.execute_script("review.view.centre(arguments[0], arguments[1], 10)", x, y)
    canvas = browser.find_element("id", "canvas")
    actions = webdriver.ActionChains(browser, duration=20)
    actions.move_to_element(canvas).click_and_hold()
    if to is not None:
        actions.move_by_offset(round(10 * (to[0] - x)), round(-10 * (to[1] - y)))
    actions.release().perform()


def saved(browser, button, name):
    path = browser.downloads / name
    path.unlink(missing_ok=True)
    press(browser, button)
    wait(lambda: path.exists() and path.stat().st_size > 0)
    return path


def mask_of(browser, ccd):
    with fits.open(saved(browser, "fits", "sample_crvi_mask.fits")) as hdus:
        hdus.verify("exception")
        assert hdus[0].data.shape == ccd.shape
        return hdus[0].data.astype(bool)


def test_the_slider_moves_mask_counts_and_expectations(page, reviewed):
    ccd = read_chip(reviewed[0])
    threshold = ccd.meta["CRVITHR"]
    edges = probability_levels(threshold)
    assert f"{ccd.cr_mask.sum():,} pixels flagged" in text_of(page, "counts")
    np.testing.assert_array_equal(mask_of(page, ccd), ccd.cr_mask)
    wait(lambda: f"{ccd.meta['CRVINHIT']} hits" in text_of(page, "counts"))
    position = int(np.searchsorted(edges, 0.2)) + 1
    slide(page, position)
    expected = quantise_levels(ccd.cr_probability, edges) >= position
    np.testing.assert_array_equal(expected, ccd.cr_probability >= edges[position - 1])
    np.testing.assert_array_equal(mask_of(page, ccd), expected)
    assert f"{expected.sum():,} pixels flagged" in text_of(page, "counts")
    for column in ("precision", "recall"):
        value = np.interp(edges[position - 1], CURVE["threshold"], CURVE[column])
        assert f"{column} {100 * value:.1f} %" in text_of(page, "expected")
    assert f"{100 * CURVE['hit_fraction']:.1f} % of the pixels are hit" in text_of(page, "expected")
    press(page, "reset")
    np.testing.assert_array_equal(mask_of(page, ccd), ccd.cr_mask)


def test_brush_hit_undo_save_apply(page, reviewed, tmp_path):
    file = reviewed[0]
    ccd = read_chip(file)
    expected = ccd.cr_mask.copy()
    # A stroke over the sky.
    sky = np.argwhere(ccd.cr_probability[200:300, 200:300] < 0.005) + 200
    y, x = sky[len(sky) // 2].tolist()
    choose(page, "add")
    click_pixel(page, x, y, to=(x + 3, y))
    expected[y, x : x + 4] = True
    # One pixel of a hit off.
    b, a = np.argwhere(ccd.cr_mask)[20].tolist()
    choose(page, "erase")
    click_pixel(page, a, b)
    expected[b, a] = False
    np.testing.assert_array_equal(mask_of(page, ccd), expected)
    # A whole hit off, and on again.
    from scipy import ndimage

    labels, _ = ndimage.label(expected, structure=np.ones((3, 3)))
    sizes = np.bincount(labels.ravel())[1:]
    hit = labels == 1 + int(np.argmax(sizes))
    b, a = np.argwhere(hit)[0].tolist()
    choose(page, "hit")
    click_pixel(page, a, b)
    np.testing.assert_array_equal(mask_of(page, ccd), expected & ~hit)
    press(page, "undo")
    np.testing.assert_array_equal(mask_of(page, ccd), expected)
    # The first of the list is right; the second is unsure.
    seeds = page.execute_script("return review.facts.hits.seed.slice(0, 2)")
    for key in ("n", "c", "u"):
        webdriver.ActionChains(page).send_keys(key).perform()
    edits_file = saved(page, "save", "sample_crvi_edits.json")
    edits = json.loads(edits_file.read_text())
    for name, seed in zip(("confirmed", "unsure"), seeds, strict=True):
        row, column = divmod(seed, ccd.shape[1])
        assert any(y == row and x <= column < x + n for y, x, n in edits[name])
    assert not edits["complete"]
    out = tmp_path / "out.fits"
    assert main(["apply", str(edits_file), str(file), "-o", str(out)]) == 0
    done = read_chip(out)
    np.testing.assert_array_equal(done.cr_mask, expected)
    np.testing.assert_array_equal((done.flags & 16384) != 0, expected)
    assert (done.meta["CRVIEADD"], done.meta["CRVIEREM"]) == (
        (expected & ~ccd.cr_mask).sum(),
        (ccd.cr_mask & ~expected).sum(),
    )
    # The page takes its edits back.
    page.execute_script("review.saved = true")
    page.refresh()
    wait(lambda: page.find_element("tag name", "body").get_attribute("data-ready") == "yes")
    page.find_element("id", "load").send_keys(str(edits_file))
    wait(lambda: "0 pixels added" not in text_of(page, "changes"))
    np.testing.assert_array_equal(mask_of(page, ccd), expected)
    edits["exposure"] = "0" * 32
    other = tmp_path / "other.json"
    other.write_text(json.dumps(edits))
    page.find_element("id", "load").send_keys(str(other))
    wait(lambda: "belong to another exposure" in text_of(page, "readout"))


def test_list_overlays_and_regions(page, reviewed):
    ccd = read_chip(reviewed[0])
    hits = page.execute_script("return review.facts.hits")
    charge = np.maximum(hits["charge"], 0)
    worth = np.array(hits["entropy"]) * charge
    rounding = 0.0005 * (charge[:-1] + charge[1:])  # of the entropy
    assert (np.diff(worth) <= 0.02 * worth[:-1] + rounding + 1e-9).all()
    press(page, "next")
    at = page.execute_script("return [review.view.x, review.view.y]")
    np.testing.assert_allclose(at, [hits["x"][0], hits["y"][0]])
    row = page.find_element("css selector", '.hit[aria-selected="true"]').text.split()
    assert row[1:4] == [f"{hits['x'][0]:.1f}", f"{hits['y'][0]:.1f}", str(hits["area"][0])]
    # Every overlay and stretch changes what is drawn.
    press(page, "fit")
    seen = set()
    for select in ("overlay", "stretch"):
        control = page.find_element("id", select)
        for option in control.find_elements("tag name", "option"):
            option.click()
            seen.add(
                page.execute_script("review.view.draw(); return review.view.canvas.toDataURL()")
            )
    assert len(seen) == 9
    lines = saved(page, "regions", "sample_crvi.reg").read_text().splitlines()
    assert lines[1] == "image"
    assert len(lines) - 2 == ccd.meta["CRVINHIT"]


def test_the_network_is_shut_out(page):
    # What the page's own policy forbids cannot be fetched, whatever is in the file.
    policy = page.execute_script(
        "return document.querySelector('meta[http-equiv=\"Content-Security-Policy\"]').content"
    )
    assert policy.startswith("default-src 'none'")
    loaded = page.execute_script("return performance.getEntriesByType('resource').length")
    assert loaded == 0
