"""Plans and results, as text for people and as facts for JSON."""

from dataclasses import asdict

from cosmiq_astro._rate import RATE


def result_text(result, *, chips=False):
    """
    Sum up a detection.

    Parameters
    ----------
    result : `~cosmiq_astro.hst.FileResult`
        What was found.
    chips : bool, optional
        Whether to add a line per chip.

    Returns
    -------
    text : str
        Pixels flagged, hits, hit rate, time and output; then whether to trust
        the mask.
    """
    lines = [f"{result.file_in}: {_counts(result)} -> {result.file_out}", f"  {result.verdict}"]
    if chips:
        lines += [f"  chip {chip.extver}: {_counts(chip)}" for chip in result.chips]
        lines.append(
            f"  {result.instrument}, model {result.model}, T={result.T}, seed {result.seed}, "
            f"threshold {result.threshold:g}"
        )
    return "\n".join(lines)


def _counts(found):
    counts = f"{found.n_pixels_flagged} pixels flagged, {found.n_hits} hits"
    if found.hit_rate is not None:
        counts += f", {found.hit_rate.to_value(RATE):.3g} hits/cm2/s"
    return f"{counts}, {found.seconds:.1f} s"


def result_facts(result):
    """
    Sum up a detection in what JSON can hold.

    Parameters
    ----------
    result : `~cosmiq_astro.hst.FileResult`
        What was found.

    Returns
    -------
    facts : dict
        ``status`` is ``'ok'``; ``hit_rate`` is in cm⁻² s⁻¹.
    """
    names = ("instrument", "model", "T", "seed", "threshold", "doubts", "verdict")
    return {
        "file_in": str(result.file_in),
        "status": "ok",
        "file_out": str(result.file_out),
        **{name: getattr(result, name) for name in names},
        **_numbers(result),
        "chips": [
            {"extver": chip.extver, "n_pixels": chip.n_pixels, **_numbers(chip)}
            for chip in result.chips
        ],
    }


def _numbers(found):
    return {
        "n_pixels_flagged": found.n_pixels_flagged,
        "n_hits": found.n_hits,
        "hit_rate": None if found.hit_rate is None else found.hit_rate.to_value(RATE),
        "seconds": round(found.seconds, 3),
    }


def plan_text(plan):
    """
    Say what would be done with a file.

    Parameters
    ----------
    plan : `~cosmiq_astro.hst.FilePlan`
        What would be done.

    Returns
    -------
    text : str
        A line for the file, one per chip, and the notes.
    """
    lines = [f"{plan.file_in}: {plan.instrument.name} -> {plan.file_out}"]
    for chip in plan.chips:
        facts = _chip_facts(chip)
        shape = "x".join(map(str, facts.pop("shape")))
        known = ", ".join(
            f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}"
            for key, value in facts.items()
            if value is not None
        )
        lines.append(f"  {shape} pixels, {known}")
    return "\n".join([*lines, *(f"  note: {note}" for note in plan.notes)])


def plan_facts(plan):
    """
    Say what would be done with a file in what JSON can hold.

    Parameters
    ----------
    plan : `~cosmiq_astro.hst.FilePlan`
        What would be done.

    Returns
    -------
    facts : dict
        ``status`` is ``'planned'``; levels are in electrons.
    """
    return {
        "file_in": str(plan.file_in),
        "status": "planned",
        "file_out": str(plan.file_out),
        "instrument": plan.instrument.name,
        "notes": list(plan.notes),
        "chips": [_chip_facts(chip) for chip in plan.chips],
    }


def _chip_facts(chip):
    return {
        "extver": chip.chip.extver,
        "shape": list(chip.shape),
        "unit": str(chip.unit),
        **asdict(chip.readout),
        "exposure_time": chip.exposure_time,
        "dq_bit": chip.dq_bit,
    }
