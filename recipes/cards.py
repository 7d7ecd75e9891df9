"""Model cards of the bundled models."""

CARD = """# {name}

{kind} for cosmic rays in single exposures{of}.

## Label

A pixel is a cosmic ray where the charge that a hit left in it exceeds three standard deviations of
the local noise without the hit (source, sky and read noise). Pixels with a smaller charge are
ignored, in the loss and in every score. Charge-transfer trails count as the hit they trail. The
probability is the probability of this label.

## Network and input

U-Net with {maps} feature maps at its levels, no normalisation layers, {parameters}
parameters{variational}. Two input channels of the sky-subtracted image in electrons:
asinh(image / noise), and the generalised Anscombe transform.

## Training data

{data}

Command: `python recipes/{recipe} --data DIR --work DIR{init}`. {how}
({settings}; seed {seed}); the best epoch by validation loss.

## Scores on validation scenes

{validation} Temperature and threshold
were fitted on one half of the validation scenes, and the scores below come from the other half;
{n_pixels:.1f} million pixels, {hit_fraction:.2f} % of them hit. The epoch was chosen by the loss on
both.

| | |
|---|---|
| negative log-likelihood, nats per pixel | {nll:.5f} |
| expected calibration error | {ece:.5f} |
| detection rate at a false-positive rate of 0.05 % | {tpr1:.4f} |
| detection rate at a false-positive rate of 0.5 % | {tpr2:.4f} |
| precision at the threshold | {precision:.4f} |
| recall at the threshold | {recall:.4f} |
| threshold (largest F0.5) | {threshold:.3f} |
| temperature | {temperature:.3f} |
| width of the sharpest stars, FWHM | {stars[0]:.1f} to {stars[1]:.1f} pixels |
| elongation of the sharpest stars | up to {stars[2]:.1f} |

Widths and elongations are those of 95 % of 512 patches.

## Limits

{limits}
"""

_SHOWN = ("learning_rate", "batch_size")
TURNED = {2: "", 4: ", every other two see it turned by half a turn"}


def model_card(model, result, scores, settings, texts, *, start, keep_means):
    """
    Fill in the card.

    Parameters
    ----------
    model : Model
        The calibrated model.
    result : TrainingResult
        What training returned.
    scores : Row
        Of the table from `calibrate`.
    settings : TrainingSettings
        Of the run.
    texts : dict of str
        What the recipe says: ``recipe``, ``of``, ``data``, ``validation``, ``limits`` and
        ``start``, from which the baseline began if not at random.
    start : str or None
        Model that the baseline began from.
    keep_means : bool
        Whether the means are those of training, or the weights of the baseline.
    """
    network = model.network
    is_vi = model.method == "vi"
    n_parameters = sum(p.numel() for p in network.parameters())
    epochs = len(result.history)
    epochs = f"{epochs} epoch{'s' if epochs > 1 else ''}"
    if is_vi:
        how = (
            f"Begun from {model.name.removesuffix('-vi')}-unet;\n{epochs} with drawn weights in "
            "the last block, the layers before it as they were; standard\ndeviations solved for in "
            "the end"
        )
        if not keep_means:
            how += ", and the means\nset back to the weights of the baseline"
    else:
        how = f"Begun from {texts['start'] if start else 'random weights'};\n{epochs}"
    return CARD.format(
        **texts,
        name=model.name,
        kind="A variational (Bayesian) U-Net" if is_vi else "A deterministic U-Net, the baseline",
        maps=", ".join(map(str, network.config.maps)),
        parameters=f"{n_parameters:,}",
        variational=(
            " (means and standard deviations of Gaussian posteriors over the weights and biases of "
            f"the layers {', '.join(network.config.variational)};\n"
            f"every other draw sees the image transposed{TURNED[network.config.views]})"
            if is_vi
            else ""
        ),
        init=f" --init {start}" if start else "",
        how=how,
        settings=", ".join(f"{k} {getattr(settings, k):g}" for k in _SHOWN),
        seed=result.seed,
        n_pixels=scores["n_pixels"] / 1e6,
        hit_fraction=100 * scores["hit_fraction"],
        nll=scores["nll"],
        ece=scores["ece"],
        tpr1=scores["tpr_at_0.0005"],
        tpr2=scores["tpr_at_0.005"],
        precision=scores["precision"],
        recall=scores["recall"],
        threshold=model.threshold,
        temperature=model.temperature,
        stars=model.known_stars.limits(),
    )
