"""Model cards of the bundled models."""

CARD = """# {name}

{kind} for cosmic rays in single HST ACS/WFC exposures.

## Label

A pixel is a cosmic ray where the charge that a hit left in it exceeds three standard deviations of
the local noise without the hit (source, sky and read noise). Pixels with a smaller charge are
ignored, in the loss and in every score. Charge-transfer trails count as the hit they trail. The
probability is the probability of this label.

## Network and input

Three-level U-Net, {hidden} feature maps at the first level, no normalisation layers, {parameters}
parameters{variational}. Two input channels of the sky-subtracted image in electrons:
asinh(image / noise), and the generalised Anscombe transform.

## Training data

No labelled ACS/WFC exposure was used. {n_scenes} noise-free scenes of 512 x 512 pixels simulated by
`recipes/scenes.py` (extragalactic fields with COSMOS2020 sizes and fluxes, globular clusters,
resolved galaxies, nebulae, blends; TinyTim ACS/WFC and computed HST PSFs at 0.05, 0.04 and 0.027
arcsec per pixel; a few trailed exposures and satellite trails), exposed anew each time a patch was
drawn: 10-2,000 s, sky 0.01-0.5 e/s, read noise 3-6 e, saturation, bleeding, charge-transfer trails,
warm and hot pixels, bias steps, bad columns, gain off by up to 25 %. Hits: 60 % cut from seven
HST/STIS CCD exposures of 1999 (proposal 7353), turned, flipped and scaled by 0.5-2; 40 % simulated.
Scenes, STIS exposures and simulated hits of the validation set were not trained on; the parameters
of the simulated hits were fitted to STIS exposures that include the two held out here.

Command: `python recipes/acs_wfc.py --data DIR --work DIR{init}`. Begun from {start};
{trunk} epochs as a baseline, then {epochs} epochs {how}
({settings}; seed {seed}); the best epoch by validation loss.
Its twin, {twin}, went on from the same baseline, for as many epochs and with the same patches.

## Scores on validation scenes

Simulated scenes with hits of two held-out STIS exposures (60 %) and simulated hits (40 %), all
conditions above. Temperature and threshold were fitted on one half of the validation scenes, and
the scores below come from the other half; {n_pixels:.1f} million pixels, {hit_fraction:.2f} % of
them hit. Both halves draw on the same two STIS exposures, and the epoch was chosen by the loss on
both.

| | |
|---|---|
| negative log-likelihood, nats per pixel | {nll:.5f} |
| expected calibration error | {ece:.5f} |
| detection rate at a false-positive rate of 0.05 % | {tpr1:.4f} |
| detection rate at a false-positive rate of 0.5 % | {tpr2:.4f} |
| precision at the threshold | {precision:.4f} |
| recall at the threshold | {recall:.4f} |
| threshold (largest F1) | {threshold:.3f} |
| temperature | {temperature:.3f} |

## Limits

A score on simulated scenes with real STIS hits is exactly that. Other instruments, thick CCDs,
ground-based images, drizzled or sky-subtracted images and units other than electrons lie outside
the training range; there the probability need not be calibrated.
"""


def model_card(model, result, scores, settings, *, n_scenes, n_trunk, start):
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
    settings : dict
        Arguments of `train`.
    n_scenes, n_trunk : int
        Scenes trained on, and epochs of the baseline that both models go on from.
    start : str or None
        Model that the baseline began from.
    """
    network = model.network
    is_vi = model.method == "vi"
    n_parameters = sum(p.numel() for p in network.parameters())
    return CARD.format(
        name=model.name,
        kind="A variational (Bayesian) U-Net" if is_vi else "A deterministic U-Net, the baseline",
        hidden=network.config.hidden,
        parameters=f"{n_parameters:,}",
        variational=(
            " (means and standard deviations of Gaussian posteriors over the weights and biases of "
            f"the layers {', '.join(network.config.variational)})"
            if is_vi
            else ""
        ),
        n_scenes=n_scenes,
        init=f" --init {start}" if start else "",
        start=f"version 1 of {start}\n(in the history of the repository)"
        if start
        else "random weights",
        trunk=n_trunk,
        how="with drawn weights in the last block" if is_vi else "more",
        twin="acs-wfc-unet" if is_vi else "acs-wfc-vi",
        settings=", ".join(f"{k} {v:g}" for k, v in settings.items() if isinstance(v, float)),
        seed=result.seed,
        epochs=len(result.history),
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
    )
