"""Hits for DS9, TOPCAT and Aladin."""

import numpy as np
import pytest
from astropy.table import Table

import cosmiq_astro as ca
from cosmiq_astro.catalog import cosmicray_catalog
from cosmiq_astro.review import write_regions, write_votable


@pytest.fixture(scope="module")
def catalog():
    ccd = ca.load_sample()
    hit = np.zeros(ccd.shape, dtype=bool)
    hit[100, 50:54] = True
    hit[200:203, 300] = True
    return cosmicray_catalog(ccd, hit)


def test_regions_are_where_the_hits_are(catalog, tmp_path):
    path = tmp_path / "hits.reg"
    write_regions(catalog, path)
    regions = pytest.importorskip("regions")
    found = regions.Regions.read(path, format="ds9")
    assert len(found) == len(catalog) == 2
    for region, row in zip(found, catalog, strict=True):
        # DS9 counts from 1, the catalogue from 0.
        assert region.center.x == pytest.approx(row["x"], abs=0.01)
        assert region.center.y == pytest.approx(row["y"], abs=0.01)
    assert found[0].to_mask().to_image((512, 512))[100, 50:54].all()
    with pytest.raises(FileExistsError, match="exists already"):
        write_regions(catalog, path)


def test_votable_holds_the_catalogue_and_the_sky(catalog, tmp_path):
    path = tmp_path / "hits.vot"
    write_votable(catalog, path)
    back = Table.read(path, format="votable")
    np.testing.assert_allclose(back["charge"], catalog["charge"].value)
    np.testing.assert_allclose(back["ra"], catalog["sky"].ra.deg)
    np.testing.assert_allclose(back["dec"], catalog["sky"].dec.deg)
    assert back["charge"].description.endswith("electron")
    assert back["ra"].unit == "deg"
    assert list(back["edge"]) == list(catalog["edge"])
