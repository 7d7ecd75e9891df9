"""Diagnostics of any number of pixels in fixed memory."""

from __future__ import annotations

import numpy as np
from astropy.table import QTable
from scipy.special import expit, logit

from . import _sums
from ._input import Column, Labels, Pixels, as_sample
from ._scores import Scores, with_descriptions

__all__ = ["CalibrationAccumulator"]

_N_FINE = 1 << 18
_LOW = -40.0
_LOGIT_WIDTH = 80.0 / _N_FINE  # logits from -40 to 40: float64 rounds 1 - p to 0 at 37
_LOG_WIDTH = 64.0 / _N_FINE  # ln uncertainty from -40 to 24


class CalibrationAccumulator(Scores):
    """
    Counts pixels as they come and gives every diagnostic at the end.

    Memory is fixed, 8 MiB (and as much for each group), plus 3 KiB for each
    call of `update`, the unit of the bootstrap. Scores that are sums over
    pixels or over bins of fixed width (Brier, NLL, ECE, MCE, rates at the
    threshold) are exact. Rank measures come from 262 144 fine bins of the
    logit of p and of the logarithm of the uncertainty, with separate bins for
    exactly 0 and 1: every row of the ROC, precision-recall and risk-coverage
    tables is exact for its threshold, and the areas to 1e-4 as long as no range
    of 0.0003 in logit holds more than 2e-4 of the pixels of a class (unless all
    have p of exactly 0 or 1).

    Parameters
    ----------
    n_bins : int, optional
        Number of equal-width bins of the calibration errors.
    threshold : float, optional
        Pixels with p at or above it are called cosmic ray.

    Examples
    --------
    >>> import numpy as np
    >>> from cosmiq_astro.calibration import CalibrationAccumulator
    >>> rng = np.random.default_rng(0)
    >>> counts = CalibrationAccumulator()
    >>> for _ in range(4):
    ...     p = rng.random((64, 64))
    ...     counts.update(p, rng.random((64, 64)) < p)
    >>> counts.n_pixels
    16384
    >>> bool(abs(counts.brier_score() - 1 / 6) < 0.01)
    True
    """

    def __init__(self, *, n_bins: int = 15, threshold: float = 0.5) -> None:
        if n_bins < 1:
            raise ValueError(f"n_bins must be at least 1, not {n_bins}")
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold must lie in [0, 1], not {threshold}")
        self.n_bins = int(n_bins)
        self.threshold = float(threshold)
        self.n_left_out = 0
        self._images = []
        self._by_probability = np.zeros((2, _N_FINE + 2))
        self._by_uncertainty = np.zeros((2, _N_FINE + 2))
        self._groups = {}

    def __repr__(self):
        n_images = sum(map(len, self._images))
        groups = f", groups {', '.join(self.groups)}" if self.groups else ""
        return f"<CalibrationAccumulator: {self.n_pixels:,} pixels of {n_images} images{groups}>"

    def update(
        self,
        probability: Pixels,
        label: Labels = None,
        *,
        weight: Column = None,
        uncertainty: Column = None,
        group: Column = None,
        image: Column = None,
    ) -> None:
        """
        Count more pixels.

        Parameters
        ----------
        probability, label, weight, uncertainty : array-like
            As for `~cosmiq_astro.calibration.aurc`. Give the uncertainty in
            every call or in none.
        group : array-like or scalar, optional
            Group of each pixel, or of all.
        image : array-like, optional
            Image or block of each pixel, for the bootstrap; by default one
            call counts one image, and a list one for each of its images.
        """
        sample = as_sample(
            probability, label, weight=weight, group=group, uncertainty=uncertainty, image=image
        )
        self.n_left_out += sample.n_left_out
        self._count(sample)
        if sample.group is not None:
            for name, part in sample.by_group().items():
                self._group(name)._count(part)

    def merge(self, other: CalibrationAccumulator) -> None:
        """
        Add the counts of another accumulator, of other files or another worker.

        Parameters
        ----------
        other : `CalibrationAccumulator`
            Of the same ``n_bins`` and ``threshold``; it is not changed.

        Raises
        ------
        ValueError
            If the settings differ.
        """
        for name in ("n_bins", "threshold"):
            if getattr(self, name) != getattr(other, name):
                raise ValueError(
                    f"other.{name} is {getattr(other, name)}, this one's is {getattr(self, name)}; "
                    "count both with the same settings"
                )
        self.n_left_out += other.n_left_out
        self._images += other._images
        self._by_probability += other._by_probability
        self._by_uncertainty += other._by_uncertainty
        for name, counts in list(other._groups.items()):
            self._group(name).merge(counts)

    @property
    def n_pixels(self) -> int:
        """Number of pixels counted."""
        return int(sum(sums[..., _sums.COUNT].sum() for sums in self._images))

    @property
    def groups(self) -> dict[str, CalibrationAccumulator]:
        """Accumulator of each group, by name, in order."""
        return dict(sorted(self._groups.items()))

    def to_table(self) -> QTable:
        """
        Return the counts as a weighted table of a fixed number of rows.

        Any function that takes a table takes this one: fit a recalibration or
        choose a threshold on a billion pixels. Logits are rounded to 0.00015,
        rates stay exact at the edges between rows.

        Returns
        -------
        table : `~astropy.table.QTable`
            ``probability``, ``label`` and ``weight``, at most 524 292 rows.
        """
        ranks = self._p_ranks
        weight = np.concatenate([ranks.other, ranks.event])
        some = weight > 0
        table = {
            "probability": np.tile(ranks.mean, 2)[some],
            "label": np.repeat([False, True], ranks.mean.size)[some],
            "weight": weight[some],
        }
        return with_descriptions(QTable(table))

    def _group(self, name):
        """Return the accumulator of a group, a new one at first."""
        new = CalibrationAccumulator(n_bins=self.n_bins, threshold=self.threshold)
        return self._groups.setdefault(name, new)

    def _count(self, sample):
        """Add the sums and the fine histograms of a sample."""
        sums = _sums.sample_sums(sample, n_bins=self.n_bins, threshold=self.threshold)
        self._images.append(sums)
        for part in sample.chunks():
            fine = _fine_bin(logit(part.probability.astype(float)), _LOGIT_WIDTH)
            _add(self._by_probability, fine, part.label, part.weight)
            uncertainty, wrong = _sums.errors(part, self.threshold)
            with np.errstate(divide="ignore"):
                fine = _fine_bin(np.log(uncertainty), _LOG_WIDTH)
            _add(self._by_uncertainty, fine, wrong, part.weight)

    @property
    def _image_sums(self):
        if not self._images:
            raise ValueError("nothing is counted yet; call update(probability, label) first")
        return np.concatenate(self._images)

    @property
    def _p_ranks(self):
        low, middle = (
            np.concatenate([[0.0], expit(_LOW + _LOGIT_WIDTH * (np.arange(_N_FINE) + part)), [1.0]])
            for part in (0.0, 0.5)
        )
        return _sums.Ranks(low, *self._by_probability, middle).occupied()

    @property
    def _error_ranks(self):
        low = np.append(0.0, np.exp(_LOW + _LOG_WIDTH * np.arange(_N_FINE + 1)))
        middle = low * np.exp(0.5 * _LOG_WIDTH)
        return _sums.Ranks(low, *self._by_uncertainty, middle).occupied()


def _fine_bin(x, width):
    """Return the fine bin of each value, the outer two kept for infinite ones."""
    fine = np.clip((x - _LOW) * (1 / width), 0, _N_FINE - 1).astype(np.intp) + 1
    fine[x == -np.inf] = 0
    fine[x == np.inf] = _N_FINE + 1
    return fine


def _add(histogram, fine, event, weight):
    """Add to the histograms of events and of the rest."""
    number = np.where(event, fine, fine + histogram.shape[1])
    histogram += np.bincount(number, weight, histogram.size).reshape(histogram.shape)
