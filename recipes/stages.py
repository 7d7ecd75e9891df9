"""How a baseline, and the variational model that goes on from it, are trained."""

import argparse
import dataclasses
import sys
from pathlib import Path

import cards
import torch

from cosmiq_astro.models.model import save_model
from cosmiq_astro.training import (
    TrainingResult,
    TrainingRun,
    TrainingSettings,
    calibrate,
    train,
)

# The variational model goes on from the baseline: weights are drawn in the last block alone, since
# what comes before looks at each tile once, and nothing else is trained. Small batches: many steps.
VI = TrainingSettings(
    variational=("merge.0.*", "head"),
    freeze=("down.*", "up.*", "merge.1.*"),
    batch_size=4,
    learning_rate=1e-3,
    patch_size=192,
)


def run(
    family,
    make_dataset,
    texts,
    *,
    epochs,
    vi_epochs,
    instrument,
    version,
    conditions,
    knows_hits=True,
    hidden=16,
    growth=2,
    views=2,
    keep_means=True,
    batch_size=4,
    learning_rate=1e-3,
):
    """
    Train the models of a family, as the command line asks for.

    Parameters
    ----------
    family : str
        Their name, up to ``-unet`` and ``-vi``.
    make_dataset : callable
        ``make_dataset(part, data, work)``, part ``'training'`` or ``'validation'``.
    texts : dict of str
        For `cards.model_card`.
    epochs, vi_epochs : int
        Of the baseline, and of the variational model after it.
    instrument, version : str
        Of the models.
    conditions : ObservingConditions
        That the datasets vary; the models tell their ranges.
    knows_hits : bool
        Whether they may judge the hits of an exposure: not where each patch mixes kinds that no
        exposure has together.
    hidden, growth : int
        Feature maps of the first level, and their growth with each level below, where the
        baseline does not go on from a model.
    views : {2, 4}
        In which the variational model looks at an image, see `UNetConfig`.
    keep_means : bool
        Whether the variational model keeps the means that training led to: if not, they are the
        weights of the baseline, and only the standard deviations are learned.
    batch_size : int
        Patches of 192 x 192 pixels per step of the baseline.
    learning_rate : float
        Of the baseline, the highest.
    """
    parser = argparse.ArgumentParser(description=f"Train {family}-unet and {family}-vi.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--stage", choices=("unet", "vi", "all"), default="all")
    parser.add_argument("--init", help="model to go on from: a name, or a folder")
    parser.add_argument("--epochs", type=int, default=epochs, help="of the baseline")
    parser.add_argument("--seed", type=int, default=1, help="another one for more of an ensemble")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=0, help="processes that prepare patches")
    arguments = parser.parse_args()
    # Subnormal numbers slow convolutions down several times; a script may set this, a library not.
    torch.set_flush_denormal(True)
    # The thread that prepares batches must not hold up the one that trains.
    sys.setswitchinterval(1e-4)
    training, validation = (
        make_dataset(part, arguments.data, arguments.work) for part in ("training", "validation")
    )
    member = f"-{arguments.seed}" if arguments.seed != 1 else ""
    baseline = arguments.work / f"{family}-unet{member}.ckpt"
    for method in ("unet", "vi") if arguments.stage == "all" else (arguments.stage,):
        if method == "unet":
            init, n_epochs = arguments.init, arguments.epochs
            settings = TrainingSettings(
                growth=growth,
                batch_size=batch_size,
                learning_rate=learning_rate,
                patch_size=192,
            )
        else:
            init, n_epochs = TrainingResult.from_checkpoint(baseline).model, vi_epochs
            settings = VI
        name = f"{family}-{method}{member}"
        result = train(
            training,
            method == "vi",
            validation=validation,
            init=init,
            hidden=hidden,
            epochs=n_epochs,
            seed=arguments.seed,
            settings=settings,
            run=TrainingRun(
                name=name,
                instrument=instrument,
                checkpoint=arguments.work / f"{name}.ckpt",
                device=arguments.device,
                workers=arguments.workers,
                progress_bar=True,
            ),
        )
        result.history.write(arguments.work / f"{name}_history.ecsv", overwrite=True)
        network = result.model.network.to(arguments.device)
        if method == "vi":
            network.config = dataclasses.replace(network.config, views=views)
            if not keep_means:
                network.load_state_dict(init.network.state_dict(), strict=False)
        model, scores = calibrate(result.model, validation)
        model.network.cpu()
        ranges = {name: getattr(conditions, name) for name in ("exposure_time", "readnoise")}
        model = dataclasses.replace(model, version=version, ranges=ranges)
        if not knows_hits:
            model = dataclasses.replace(model, known_hits=None)
        scores.write(arguments.work / f"{name}_scores.ecsv", overwrite=True)
        card = cards.model_card(
            model,
            result,
            scores[0],
            settings,
            texts,
            start=arguments.init,
            keep_means=keep_means,
        )
        save_model(model, arguments.work / name, card=card, overwrite=True)
        print(scores)
