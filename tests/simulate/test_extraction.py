import numpy as np
import pytest

from cosmiq_astro.simulate import cosmic_ray_footprints, extract_footprints


def test_known_hits_come_back():
    rng = np.random.default_rng(2)
    library = cosmic_ray_footprints(200, seed=rng)
    charge = library.paste((512, 512), 250, rng)
    hits = extract_footprints(charge + rng.normal(0, 5, charge.shape), 5.0)
    assert 200 <= len(hits) <= 250  # some touch each other or the edge
    truth = charge[3:-3, 3:-3].sum()
    assert hits.total_charge.sum() == pytest.approx(truth, rel=0.1)


def test_pure_noise_is_not_pasted():
    frame = np.random.default_rng(3).normal(0, 5, (400, 400))
    assert len(extract_footprints(frame, 5.0)) == 0


def test_border_keeps_wings_and_drops_noise():
    frame = np.random.default_rng(4).normal(0, 5, (600, 600))
    frame[20:580:20, 20:580:20] += 800
    frame[20:580:20, 21:580:20] += 12.5  # a wing of 2.5 sigma
    hits = extract_footprints(frame, 5.0)
    peak = hits.charge > 500
    assert peak.sum() == len(hits) == 28**2
    dy, dx = (v - np.repeat(v[peak], hits.n_pixels) for v in (hits.dy, hits.dx))
    wing = (dy == 0) & (dx == 1)
    corners = (np.abs(dy) == 1) & (np.abs(dx) == 1)
    assert wing.sum() > 0.75 * len(hits)
    assert hits.charge[wing].sum() / len(hits) == pytest.approx(12.5, rel=0.3)
    assert corners.sum() < 0.1 * 4 * len(hits)
    assert hits.charge[corners].sum() / (4 * len(hits)) < 1


def test_rim_is_marked_as_unknown():
    frame = np.random.default_rng(4).normal(0, 5, (60, 60))
    frame[30, 30:32] = 900
    (hit,) = (extract_footprints(frame, 5.0, rim=True),)
    core = hit.charge > 500
    np.testing.assert_array_equal(hit.unknown, ~core)
    touching = {(y, x) for y in (29, 30, 31) for x in (29, 30, 31, 32)}
    middle = 30 - hit.dy[core][0], 30 - hit.dx[core].min()
    found = set(zip(hit.dy + middle[0], hit.dx + middle[1], strict=True))
    assert touching <= found
    assert hit.charge.min() >= 0
    assert not extract_footprints(frame, 5.0).unknown.any()


def test_masked_edge_faint_and_huge_hits_are_left_out():
    frame = np.zeros((100, 100))
    frame[10, 10] = 900  # kept
    frame[0, 50] = 900  # edge
    frame[40, 40] = 900  # masked neighbour
    frame[60, 60] = 100  # too faint
    frame[80:83, 10:90] = 900  # too large
    mask = np.zeros(frame.shape, bool)
    mask[41, 41] = True
    hits = extract_footprints(frame, 5.0, mask=mask, max_pixels=200)
    assert hits.charge.tolist() == [900]
    assert len(extract_footprints(frame, 5.0, mask=mask, max_pixels=200, min_charge=50)) == 2


def test_refuses_noise_zero():
    with pytest.raises(ValueError, match="noise must be positive"):
        extract_footprints(np.zeros((5, 5)), 0.0)
