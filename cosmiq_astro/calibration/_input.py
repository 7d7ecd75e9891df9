"""The one place where input is turned into plain, valid, flat arrays."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
from astropy import units as u
from astropy.table import Table
from astropy.utils.masked import Masked
from numpy.typing import ArrayLike

__all__ = ["Binning", "Column", "Labels", "Pixels", "Sample", "as_sample", "plane"]

Pixels = ArrayLike | Table | Sequence
"""Probabilities, a table of them, or a list of images or detection results."""
Labels = ArrayLike | Sequence | None
"""Labels, or a list of truth images; None where they are in a table."""
Column = ArrayLike | str | Sequence | None
"""None, a value per pixel, a constant, a value per image of a list, or the name of a column."""
Binning = Literal["width", "count"]

_EXTRA = ("weight", "group", "uncertainty", "image")


@dataclass(frozen=True)
class Sample:
    """
    Valid pixels as flat arrays of one length.

    Attributes
    ----------
    probability : `~numpy.ndarray`
        Floating point, in [0, 1].
    label : `~numpy.ndarray` of bool
        Whether the pixel is a cosmic ray.
    weight, group, uncertainty, image : `~numpy.ndarray` or None
        What was given beside them.
    keep : `~numpy.ndarray` of bool or None
        Which of the input's pixels these are; None means all of them.
    n_left_out : int
        Number of pixels that were masked, not a number, or of weight zero.
    """

    probability: np.ndarray
    label: np.ndarray
    weight: np.ndarray | None = None
    group: np.ndarray | None = None
    uncertainty: np.ndarray | None = None
    image: np.ndarray | None = None
    keep: np.ndarray | None = None
    n_left_out: int = 0

    @property
    def size(self):
        """Number of pixels."""
        return self.label.size

    def take(self, index):
        """Return the sample of the pixels that ``index`` (a slice or a mask) picks."""
        names = [f.name for f in fields(self) if f.name not in ("keep", "n_left_out")]
        values = {name: getattr(self, name) for name in names}
        return Sample(**{k: None if v is None else v[index] for k, v in values.items()})


def as_sample(data, label=None, *, weight=None, group=None, uncertainty=None, image=None):
    """
    Turn any accepted input into a `Sample`.

    Parameters
    ----------
    data : array-like, `~astropy.table.Table`, result, or list of arrays or results
        Probabilities, or a table with the columns ``probability`` and
        ``label``, or detection results (anything with a ``cr_probability``
        or ``probability`` attribute).
    label : array-like or list of array-like, optional
        Truth: 0, 1, and NaN or masked where the pixel does not count.
    weight, group, uncertainty, image : array-like, scalar, or str, optional
        Further columns; a name means a column of the table or an attribute
        of the results.

    Returns
    -------
    sample : `Sample`
        Valid pixels only.

    Raises
    ------
    ValueError
        If shapes differ, a probability lies outside [0, 1], a label is
        neither 0 nor 1, or a weight or an uncertainty is negative.
    """
    extra = {"weight": weight, "group": group, "uncertainty": uncertainty, "image": image}
    if isinstance(data, Table):
        return _flat(*_from_table(data, label, extra))
    if label is None:
        raise ValueError(
            "label is missing: pass it beside the probability, "
            "or pass a Table with the columns 'probability' and 'label'"
        )
    if plane(data, "probability") is not None:
        data, label = [data], [label]
    if _is_list_of_images(data):
        return _concatenate(_from_images(data, label, extra))
    for name, value in extra.items():
        if isinstance(value, str) and name != "group":
            raise ValueError(f"{name}={value!r} names a column, but the input has no columns")
    return _flat(data, label, extra)


def _from_table(table, label, extra):
    """Look the columns up by their names."""
    if label is not None:
        raise ValueError("label is taken from the table's column 'label'; do not pass it as well")
    columns = {name: name for name in ("probability", "label")}
    columns |= {n: n if v is None and n in table.colnames else v for n, v in extra.items()}
    for name, value in columns.items():
        if isinstance(value, str):
            if value not in table.colnames:
                raise ValueError(
                    f"{name}: the table has no column {value!r}, only {table.colnames}"
                )
            columns[name] = table[value]
    return columns.pop("probability"), columns.pop("label"), columns


def plane(result, name):
    """Return a plane of a detection result; a CCDData's own names come with ``cr_``."""
    return getattr(result, f"cr_{name}", getattr(result, name, None))


def _is_list_of_images(data):
    """Tell a list of images or results from a list of numbers."""
    return isinstance(data, list | tuple) and any(
        plane(item, "probability") is not None or np.ndim(item) > 0 for item in data
    )


def _from_images(results, truths, extra):
    """Give one `Sample` per image, numbered in the order of the list."""
    if not isinstance(truths, list | tuple) or len(truths) != len(results):
        raise ValueError(f"label must be a list of {len(results)} truth images, one per result")
    samples = []
    for i, (result, truth) in enumerate(zip(results, truths, strict=True)):
        image = plane(result, "probability")
        values = {n: _of_image(v, i, result, len(results), n) for n, v in extra.items()}
        if values["image"] is None:
            values["image"] = i
        usable = _usable(result)
        if usable is not None:
            truth = np.ma.masked_where(~usable, truth)
        samples.append(_flat(result if image is None else image, truth, values))
    return samples


def _usable(result):
    """Return where the detector was asked to look, or None if the result does not say."""
    masks = [getattr(result, name, None) for name in ("mask", "cr_mask")]
    if not any(mask is None for mask in masks):
        return ~masks[0] | masks[1]
    return getattr(result, "usable", None)


def _of_image(value, i, result, n_images, name):
    """Pick what belongs to image ``i``: an attribute, an entry of a list, or a constant."""
    if isinstance(value, str) and name == "uncertainty":
        values = plane(result, value)
        if values is None:
            raise ValueError(f"uncertainty={value!r} is no plane of {type(result).__name__}")
        return values
    if isinstance(value, list | tuple):
        if len(value) != n_images:
            raise ValueError(f"{name} has {len(value)} entries for {n_images} images")
        return value[i]
    return value


def _concatenate(samples):
    """Join the samples of several images."""
    joined = {}
    for field in fields(Sample):
        values = [getattr(sample, field.name) for sample in samples]
        if field.name == "n_left_out":
            joined[field.name] = sum(values)
        elif field.name == "keep" or values[0] is None:
            joined[field.name] = None
        else:
            joined[field.name] = np.concatenate(values)
    return Sample(**joined)


def _flat(probability, label, extra):
    """Check one image or column and flatten it."""
    p, bad = _values(probability, "probability")
    if p.dtype.kind != "f":
        p = p.astype(float)
    y, bad_label = _values(label, "label")
    if y.shape != p.shape:
        raise ValueError(f"label has the shape {y.shape}, probability has {p.shape}")
    bad = _either(bad, bad_label, _nan(p), _nan(y))

    plain = {}
    for name in _EXTRA:
        value = extra.get(name)
        if value is None:
            continue
        value, bad_value = _values(value, name)
        if value.shape not in ((), p.shape):
            raise ValueError(f"{name} has the shape {value.shape}, probability has {p.shape}")
        bad = _either(bad, bad_value)
        if name in ("weight", "uncertainty"):
            bad = _either(bad, _nan(value), value == 0 if name == "weight" else None)
        plain[name] = np.broadcast_to(value, p.shape).ravel()

    keep = None if bad is None else ~np.broadcast_to(bad, p.shape).ravel()
    plain |= {"probability": p.ravel(), "label": y.ravel()}
    if keep is not None:
        plain = {name: value[keep] for name, value in plain.items()}
    n_left_out = 0 if keep is None else int(keep.size - np.count_nonzero(keep))
    plain["label"] = _checked(plain)
    return Sample(**plain, keep=keep, n_left_out=n_left_out)


def _values(value, name):
    """Split into plain values and the mask of the entries that do not count (or None)."""
    if isinstance(value, Masked):
        value, mask = value.unmasked, value.mask
    else:
        mask = np.ma.getmask(value) if isinstance(value, np.ma.MaskedArray) else None
        value = np.ma.getdata(value) if mask is not None else value
    if isinstance(value, u.Quantity):
        try:
            value = value.to_value(u.dimensionless_unscaled)
        except u.UnitConversionError:
            raise u.UnitsError(f"{name} must be dimensionless, its unit is {value.unit}") from None
    value = np.asarray(value)
    if name != "group" and value.dtype.kind not in "biuf" and name != "image":
        raise TypeError(f"{name} must be numbers, its dtype is {value.dtype}")
    return value, None if mask is None or not np.any(mask) else np.asarray(mask)


def _nan(values):
    """Return the mask of the NaNs, or None if there is none."""
    if values.dtype.kind != "f":
        return None
    mask = np.isnan(values)
    return mask if mask.any() else None


def _either(*masks):
    """Combine masks of which any may be None."""
    masks = [mask for mask in masks if mask is not None and np.any(mask)]
    return np.logical_or.reduce(np.broadcast_arrays(*masks)) if masks else None


def _checked(plain):
    """Refuse values out of range; return the label as bool."""
    p, y = plain["probability"], plain["label"]
    if p.size and not (p.min() >= 0 and p.max() <= 1):
        raise ValueError(
            f"probability must lie in [0, 1], it runs from {p.min()} to {p.max()}; "
            "turn logits into probabilities first"
        )
    for name in ("weight", "uncertainty"):
        value = plain.get(name)
        if value is not None and value.size and not (value.min() >= 0 and np.isfinite(value.max())):
            raise ValueError(f"{name} must be finite and not negative, it has {value.min()}")
    if y.dtype == bool:
        return y
    truth = y == 1
    if np.any(other := ~truth & (y != 0)):
        raise ValueError(
            f"label must be 0 or 1, it has {y[other][0]}; mask the pixels that do not count"
        )
    return truth
