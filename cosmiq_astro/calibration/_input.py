"""The one place where input is turned into plain, valid, flat arrays."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from astropy import units as u
from astropy.table import Table
from astropy.utils.masked import Masked
from numpy.typing import ArrayLike

Pixels = ArrayLike | Table | Sequence
"""Probabilities, a table of them, or a list of images or detection results."""
Labels = ArrayLike | Sequence | None
"""Labels, or a list of truth images; None where they are in a table."""
Column = ArrayLike | str | Sequence | None
"""None, a value per pixel, a constant, a value per image of a list, or the name of a column."""
Binning = Literal["width", "count"]


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
        Which of the input's pixels these are, if they come of one array or table.
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

    def columns(self):
        """Return what was given of each pixel, by name."""
        names = ("probability", "label", "weight", "group", "uncertainty", "image")
        return {name: v for name in names if (v := getattr(self, name)) is not None}

    def take(self, index):
        """Return the sample of the pixels that ``index`` (a slice or a mask) picks."""
        return Sample(**{name: values[index] for name, values in self.columns().items()})

    def chunks(self, size=1 << 19):
        """Yield the pixels a part at a time."""
        for start in range(0, self.size, size):
            yield self.take(slice(start, start + size))

    def by_group(self):
        """Return the sample of each group by name."""
        names, number = np.unique(self.group, return_inverse=True)
        return {str(name): self.take(number == i) for i, name in enumerate(names)}


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
        return _flat(_from_table(data, label, extra))
    if label is None:
        raise ValueError(
            "label is missing: pass it beside the probability, "
            "or pass a Table with the columns 'probability' and 'label'"
        )
    if plane(data, "probability") is not None:
        data, label = [data], [label]
    if isinstance(data, list | tuple) and any(
        plane(item, "probability") is not None or np.ndim(item) > 0 for item in data
    ):
        return _joined(_from_images(data, label, extra))
    for name, value in extra.items():
        if isinstance(value, str) and name != "group":
            raise ValueError(f"{name}={value!r} names a column, but the input has no columns")
    return _flat({"probability": data, "label": label} | extra)


def plane(result, name):
    """Return a plane of a detection result; a CCDData's own names come with ``cr_``."""
    return getattr(result, f"cr_{name}", getattr(result, name, None))


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
    return columns


def _from_images(results, truths, extra):
    """Yield one `Sample` per image, numbered in the order of the list."""
    if not isinstance(truths, list | tuple) or len(truths) != len(results):
        raise ValueError(f"label must be a list of {len(results)} truth images, one per result")
    for i, (result, truth) in enumerate(zip(results, truths, strict=True)):
        columns = {"image": i}
        for name, value in extra.items():
            if isinstance(value, str) and name == "uncertainty":
                value = plane(result, value)
                if value is None:
                    kind = type(result).__name__
                    raise ValueError(f"uncertainty={extra[name]!r} is no plane of {kind}")
            elif isinstance(value, list | tuple):
                if len(value) != len(results):
                    raise ValueError(f"{name} has {len(value)} entries for {len(results)} images")
                value = value[i]
            if value is not None:
                columns[name] = value
        mask, cr_mask = (getattr(result, name, None) for name in ("mask", "cr_mask"))
        # Where the detector was asked to look, if the result says.
        usable = getattr(result, "usable", None)
        if mask is not None and cr_mask is not None:
            usable = ~mask | cr_mask
        if usable is not None:
            truth = np.ma.masked_where(~usable, truth)
        image = plane(result, "probability")
        yield _flat({"probability": result if image is None else image, "label": truth} | columns)


def _joined(samples):
    """Join the samples of several images."""
    samples = list(samples)
    columns = [sample.columns() for sample in samples]
    joined = {name: np.concatenate([c[name] for c in columns]) for name in columns[0]}
    return Sample(**joined, n_left_out=sum(sample.n_left_out for sample in samples))


def _flat(columns):
    """Check the columns of one image or table, and flatten them."""
    flat, bad, shape = {}, False, None
    for name, value in columns.items():
        if value is None:
            continue
        value, mask = _values(value, name)
        shape = value.shape if shape is None else shape
        if value.shape != shape and (value.ndim or name == "label"):
            raise ValueError(f"{name} has the shape {value.shape}, probability has {shape}")
        bad = bad | mask
        if value.dtype.kind == "f":
            bad = bad | np.isnan(value)
        if name == "weight":
            bad = bad | (value == 0)
        flat[name] = np.broadcast_to(value, shape).ravel()
    keep = ~np.broadcast_to(bad, shape).ravel()
    n_left_out = int(np.count_nonzero(~keep))
    if n_left_out:
        flat = {name: value[keep] for name, value in flat.items()}
    _check(flat)
    flat["label"] = flat["label"] == 1
    return Sample(**flat, keep=keep, n_left_out=n_left_out)


def _values(value, name):
    """Split into plain values and the mask of the entries that do not count."""
    mask = getattr(value, "mask", False)
    value = value.unmasked if isinstance(value, Masked) else np.ma.getdata(value)
    if isinstance(value, u.Quantity):
        try:
            value = value.to_value(u.dimensionless_unscaled)
        except u.UnitConversionError:
            raise u.UnitsError(f"{name} must be dimensionless, its unit is {value.unit}") from None
    value = np.asarray(value)
    if name not in ("group", "image") and value.dtype.kind not in "biuf":
        raise TypeError(f"{name} must be numbers, its dtype is {value.dtype}")
    return value.astype(float) if name == "probability" and value.dtype.kind != "f" else value, mask


def _check(flat):
    """Refuse values out of range."""
    p, y = flat["probability"], flat["label"]
    if p.size and not (p.min() >= 0 and p.max() <= 1):
        raise ValueError(
            f"probability must lie in [0, 1], it runs from {p.min()} to {p.max()}; "
            "turn logits into probabilities first"
        )
    for name in ("weight", "uncertainty"):
        value = flat.get(name)
        if value is not None and value.size and not (value.min() >= 0 and np.isfinite(value.max())):
            raise ValueError(f"{name} must be finite and not negative, it has {value.min()}")
    other = y[(y != 0) & (y != 1)]
    if other.size:
        raise ValueError(
            f"label must be 0 or 1, it has {other[0]}; mask the pixels that do not count"
        )
