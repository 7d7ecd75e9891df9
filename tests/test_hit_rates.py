import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits

from cosmiq_astro.hit_rates import hit_rates, plot_hit_rates


@pytest.fixture
def write(tmp_path):
    def write(name, *chips, **cards):
        hdus = fits.HDUList([fits.PrimaryHDU(header=fits.Header(cards))])
        for n_hits, rate, *n_pixels in chips:
            hdu = fits.ImageHDU(np.zeros((4, 8), np.float32), name="SCI", ver=len(hdus))
            hdu.header["CRVINHIT"] = n_hits
            hdu.header["CRVINUSE"] = n_pixels[0] if n_pixels else hdu.data.size
            if rate is not None:
                hdu.header["CRVIRATE"] = rate
            hdus.append(hdu)
        hdus.writeto(tmp_path / name)
        return tmp_path / name

    return write


def test_files_by_time(write):
    late = write("late.fits", (9, 1.0), (16, 3.0), EXPSTART=56001.0, EXPTIME=864.0)
    early = write("early.fits", (0, 0.0), **{"DATE-OBS": "2012-03-14", "TIME-OBS": "12:00:00"})
    plain = write("plain.fits", (4, None), **{"DATE-OBS": "2012-03-17T00:00:00"}, EXPTIME=100.0)
    rates = hit_rates([late, early, plain])
    assert list(rates["file"]) == [str(early), str(late), str(plain)]
    np.testing.assert_allclose(rates["time"].mjd, [56000.5, 56001.005, 56003 + 50 / 86400])
    assert list(rates["n_hits"]) == [0, 25, 4]
    unit = 1 / (u.cm**2 * u.s)
    np.testing.assert_allclose(rates["hit_rate"].to_value(unit), [0, 2, np.nan])
    np.testing.assert_allclose(rates["hit_rate_error"].to_value(unit), [0, 0.4, np.nan])
    np.testing.assert_allclose(rates["exposure_time"].to_value(u.s), [np.nan, 864, 100])
    assert len(hit_rates([])) == 0


def test_chips_count_by_the_pixels_searched(write):
    masked = write("a.fits", (9, 1.0, 24), (16, 3.0, 8), (0, None, 0), EXPSTART=1.0, XPOSURE=9.0)
    blank = write("b.fits", (0, None, 0), (0, None, 0), EXPSTART=2.0)
    unknown = write("c.fits", (9, 1.0, 24), (1, None, 8), EXPSTART=3.0)
    rates = hit_rates([masked, blank, unknown])
    np.testing.assert_allclose(rates["hit_rate"].value, [1.5, np.nan, np.nan])
    assert rates["exposure_time"][0] == 9 * u.s


def test_compressed_images_count_as_others_do(write, tmp_path):
    plain = write("a.fits", (9, 1.0, 24), (16, 3.0, 8), EXPSTART=1.0, EXPTIME=9.0)
    with fits.open(plain) as hdus:
        packed = [fits.CompImageHDU(hdu.data, hdu.header) for hdu in hdus[1:]]
        fits.HDUList([hdus[0], *packed]).writeto(tmp_path / "b.fits")
    one, other = hit_rates([plain, tmp_path / "b.fits"])
    assert one["hit_rate"] == other["hit_rate"] > 0
    assert one["n_hits"] == other["n_hits"] == 25


def test_a_number_may_stand_as_a_text(write):
    (rates,) = hit_rates([write("a.fits", (4, 1.0), EXPSTART=" 56000.5", EXPTIME="864.0 ")])
    assert rates["exposure_time"] == 864 * u.s
    assert rates["time"].mjd == pytest.approx(56000.505)


@pytest.mark.parametrize(
    ("cards", "message"),
    [
        ({"EXPSTART": 1.0, "EXPTIME": "long"}, r"EXPTIME \(or XPOSURE\) is 'long', not a number"),
        ({"EXPSTART": 1.0, "XPOSURE": "8 min"}, r"EXPTIME \(or XPOSURE\) is '8 min', not a number"),
        ({"EXPSTART": "noon"}, "EXPSTART is 'noon', not a number: correct it"),
        ({"DATE-OBS": "yesterday"}, "DATE-OBS is 'yesterday', not a date: correct it"),
    ],
)
def test_cards_that_are_no_numbers(write, cards, message):
    file = write("a.fits", (4, 1.0), **cards)
    with pytest.raises(ValueError, match=f"^{file}: {message}"):
        hit_rates([file])


def test_bad_files(write):
    with pytest.raises(ValueError, match=r"a\.fits holds no detection"):
        hit_rates([write("a.fits", EXPSTART=56000.0)])
    with pytest.raises(ValueError, match=r"b\.fits has neither EXPSTART nor DATE-OBS"):
        hit_rates([write("b.fits", (1, 1.0))])


def test_plot(write):
    figure = pytest.importorskip("matplotlib.figure").Figure()
    file = write("a.fits", (9, 1.0), EXPSTART=56000.0, EXPTIME=100.0)
    ax = plot_hit_rates(hit_rates([file]), figure.subplots())
    assert ax.get_ylabel() == "hits per cm$^2$ and second"
    assert ax.containers[0].lines[0].get_ydata() == pytest.approx([1.0])
