"""What a new model's card must say, filled in from the training run."""

__all__ = ["model_card"]

_CARD = """# {name}

{kind} for cosmic rays in single exposures of {instrument}.

## Label

A pixel is a cosmic ray where the charge that a hit left in it exceeds three standard deviations of
the local noise without the hit (source, sky and read noise). Pixels with a smaller charge, or whose
label could not be decided, are ignored, in the loss and in every score. The probability is the
probability of this label.

## Network and input

U-Net with {maps} feature maps at each level, {parameters:,}
parameters{variational}.
Input channels of the image in electrons: {channels}.

## Training

{data}

{n_epochs} epochs, the best one by validation loss taken. Settings: {settings}.

## Scores

On validation frames that neither temperature nor threshold was fitted on: {n_pixels:.3g} pixels,
{hit_fraction:.2f} % of them hit.

| | |
|---|---|
{scores}
| threshold (largest F0.5) | {threshold:.3f} |
| temperature | {temperature:.3f} |

## Limits

{limits}
"""

_SCORES = {
    "nll": "negative log-likelihood, nats per pixel",
    "ece": "expected calibration error",
    "tpr_at_0.0005": "detection rate at a false-positive rate of 0.05 %",
    "tpr_at_0.005": "detection rate at a false-positive rate of 0.5 %",
    "precision": "precision at the threshold",
    "recall": "recall at the threshold",
}
_LIMITS = (
    "Exposures unlike those of the training (other instruments, filters, exposure times, seeing, "
    "crowding) lie outside what was learned; there the probability need not be calibrated."
)


def model_card(model, history, scores, *, data, limits=_LIMITS):
    """
    Write the card of a trained and calibrated model.

    Parameters
    ----------
    model : `~cosmiq_astro.models.model.Model`
        From `~cosmiq_astro.training.calibrate`.
    history : `~astropy.table.Table`
        Of the `~cosmiq_astro.training.TrainingResult`.
    scores : `~astropy.table.QTable`
        From `~cosmiq_astro.training.calibrate`.
    data : str
        What it was trained and validated on: names, numbers, dates, how the
        labels were made, and the command.
    limits : str, optional
        Where it should not be trusted.

    Returns
    -------
    card : str
        Markdown, for `~cosmiq_astro.models.model.save_model`.
    """
    config, row = model.network.config, scores[0]
    is_vi = model.method == "vi"
    return _CARD.format(
        name=model.name,
        kind="A variational (Bayesian) U-Net" if is_vi else "A deterministic U-Net",
        instrument=model.instrument or "an unnamed instrument",
        maps=", ".join(map(str, config.maps)),
        parameters=sum(p.numel() for p in model.network.parameters()),
        variational=(
            f", Gaussian posteriors over the layers {', '.join(config.variational)}"
            if is_vi
            else ""
        ),
        channels=", ".join(config.channels),
        data=data.strip(),
        n_epochs=len(history),
        settings=", ".join(f"{key}={value}" for key, value in history.meta.items()),
        n_pixels=row["n_pixels"],
        hit_fraction=100 * row["hit_fraction"],
        scores="\n".join(f"| {text} | {row[name]:.5g} |" for name, text in _SCORES.items()),
        threshold=model.threshold,
        temperature=model.temperature,
        limits=limits.strip(),
    )
