"""What `cosmiq_astro.catalog` measures of each hit."""

import astropy.units as u
import numpy as np
from astropy.table import QTable
from photutils.segmentation import SegmentationImage, SourceCatalog
from scipy import ndimage

from cosmiq_astro.cleaning import scene_under
from cosmiq_astro.preprocess import estimate_statistics
from cosmiq_astro.units import electrons_per_unit, pixel_unit

__all__ = ["electrons", "make_table", "measure"]

_COLUMNS = {  # name: type, unit, description
    "id": (int, None, "number of the hit, from 1"),
    "x": (float, None, "charge-weighted column, 0-based pixel"),
    "y": (float, None, "charge-weighted row, 0-based pixel"),
    "area": (int, u.pix, "number of flagged pixels"),
    "charge": (float, u.electron, "charge above the local background"),
    "peak": (float, u.electron, "largest charge of one pixel above the local background"),
    "length": (float, u.pix, "length of the uniform track with the footprint's second moment"),
    "angle": (float, u.deg, "direction of the footprint, from +x towards +y, [0, 180)"),
    "mean_probability": (float, None, "mean probability over the flagged pixels"),
    "mean_entropy": (float, None, "mean entropy over the flagged pixels, nat"),
    "edge": (bool, None, "touches the edge of the image"),
    "saturated": (bool, None, "has a pixel at or above satlevel"),
    "near_source": (bool, None, "lies on a star, a galaxy or other light above the sky"),
}


def electrons(ccd, gain, exposure):
    """Pixel values in electron, a new floating-point array."""
    image = np.array(ccd.data if hasattr(ccd, "meta") else ccd)
    image = image.astype(np.result_type(image.dtype, np.float32), copy=False)
    image *= electrons_per_unit(
        pixel_unit(ccd, gain), gain=gain, exposure_time=exposure, header=getattr(ccd, "meta", None)
    )
    return image


def measure(image, labels, invalid, level, planes):
    """Return the columns of the table; planes are the probability and the entropy, or None."""
    cr_mask = labels > 0
    background = scene_under(image, cr_mask, invalid)
    charge = np.zeros_like(image)
    charge[cr_mask] = image[cr_mask] - background[cr_mask]
    segments = SegmentationImage(labels)
    hits = SourceCatalog(charge, segments)
    footprints = SourceCatalog(cr_mask.astype(np.float32), segments)
    # The charge gives no position where it is not positive.
    centroid = np.where(np.isfinite(hits.centroid), hits.centroid, footprints.centroid)
    moments = footprints.moments_central / footprints.area.value[:, None, None]
    xx, yy, xy = moments[:, 0, 2], moments[:, 2, 0], moments[:, 1, 1]
    major = 0.5 * (xx + yy) + np.hypot(0.5 * (xx - yy), xy)
    number = segments.labels
    owner = labels[cr_mask]
    sky = estimate_statistics(image, ~(invalid | cr_mask))
    probability, entropy = (
        np.full(number.size, np.nan)
        if plane is None
        else ndimage.mean(plane[cr_mask], owner, number)
        for plane in planes
    )
    border = np.concatenate([labels[[0, -1]].ravel(), labels[:, [0, -1]].ravel()])
    return {
        "id": number,
        "x": centroid[:, 0],
        "y": centroid[:, 1],
        "area": footprints.area.value,
        "charge": hits.segment_flux,
        "peak": hits.max_value,
        "length": np.sqrt(12 * major + 1),
        "angle": footprints.orientation.value % 180,
        "mean_probability": probability,
        "mean_entropy": entropy,
        "edge": np.isin(number, border),
        "saturated": ndimage.maximum(image[cr_mask], owner, number) >= level,
        "near_source": ndimage.mean(background[cr_mask], owner, number) > sky.sky + 3 * sky.noise,
    }


def make_table(values):
    """Make the table of hits, empty where there are no values."""
    table = QTable()
    for name, (dtype, unit, description) in _COLUMNS.items():
        column = np.asarray([] if values is None else values[name], dtype=dtype)
        table[name] = column if unit is None else column << unit
        table[name].info.description = description
    return table
