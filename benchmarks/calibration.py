"""
Recalibration on held-out frames, and the error that a finite number of draws leaves.

    python benchmarks/calibration.py [--models NAME [NAME ...]] [--out docs/validation]

Simulated exposures of 500 s, three fields in turn, in settings near to and far
from what the bundled models were trained on. Labels are those of 3 standard deviations;
pixels with a fainter hit do not count.

calibration_recalibration.ecsv: temperature, beta and isotonic maps fitted on
some frames; scores of others, of other scenes, hits and noise. Intervals (95 %)
come from these frames drawn with replacement; differences are to the model as it is.

calibration_montecarlo.ecsv: what T draws of the weights leave of the probability
and the entropy of many draws, over the pixels that are not trivial: p > 0.01 in 16
draws of their own, or a cosmic ray. Measured, not inferred from the spread: groups of T
draws against the mean of all N, divided by sqrt(1 - T/N) (for the bias 1 - T/N), as they are
part of it.

calibration_draws_needed.ecsv: T for a stated error, by `draws_needed`.

Two figures show the first two tables.
"""

import argparse
import itertools
from pathlib import Path

import numpy as np
from _settings import FIELDS, SETTINGS, draw_logits, make_frames
from astropy.table import QTable
from matplotlib.figure import Figure
from scipy.special import entr, expit

from cosmiq_astro import load_model
from cosmiq_astro.calibration import (
    calibration_report,
    draw_spread,
    draws_needed,
    fit_beta,
    fit_isotonic,
    fit_temperature,
)

MONTE_CARLO = ("familiar", "PSF of 4 pixels")
DRAWS = (1, 2, 4, 8, 16, 32)
ERRORS = (0.05, 0.02, 0.01)


def recalibrate(model, setting, options):
    """Return rows of the table for one setting."""
    seed = options.seed + 10 * list(SETTINGS).index(setting)
    parts = []
    for part, n in enumerate((options.n_fit, options.n_test)):
        frames = make_frames(setting, n, options.size, seed + part)
        logits = [np.stack([*draw_logits(model, image, 16, seed=seed)]) for image, _ in frames]
        parts.append((logits, [label for _, label in frames]))
    (fit_logits, fit_labels), (logits, labels) = parts

    def mean(draws, temperature=model.temperature):
        return [expit(z / temperature).mean(axis=0) for z in draws]

    every = np.concatenate(fit_logits, axis=1), np.concatenate(fit_labels)
    temperature = float(fit_temperature(*every, from_logits=True))
    beta, isotonic = (fit(mean(fit_logits), fit_labels) for fit in (fit_beta, fit_isotonic))
    maps = {
        "as it is": ("", mean(logits)),
        "temperature": (f"{temperature:.3f}", mean(logits, temperature)),
        "beta": (
            f"{beta.a:.3f}, {beta.b:.3f}, {beta.c:.3f}",
            [beta(p) for p in mean(logits)],
        ),
        "isotonic": (f"{len(isotonic.value)} points", [isotonic(p) for p in mean(logits)]),
    }
    data = {name: (p, labels) for name, (_, p) in maps.items()}
    report = calibration_report(data, threshold=model.threshold)
    changes = report.tables["differences"]
    rows = []
    for score in report.tables["scores"]:
        change = changes[(changes["model"] == score["model"]) & (changes["score"] == "nll")]
        rows.append(
            {
                "setting": setting,
                "model": model.name,
                "recalibration": str(score["model"]),
                "numbers": maps[score["model"]][0],
                "nll": score["nll"] * 1e3,
                "change": change["difference"][0] * 1e3 if len(change) else 0.0,
                "low": change["low"][0] * 1e3 if len(change) else 0.0,
                "high": change["high"][0] * 1e3 if len(change) else 0.0,
                "ece": score["ece"] * 1e3,
                "ece_non_trivial": score["ece_non_trivial"],
                "n_frames": len(labels),
            }
        )
        print(*rows[-1].values(), flush=True)
    return rows


def monte_carlo(model, setting, options):
    """Return rows of both Monte Carlo tables for one setting."""
    seed = options.seed + 1000 + 10 * list(SETTINGS).index(setting)
    chosen = []
    frames = make_frames(setting, len(FIELDS), options.size, seed)
    for image, label in frames:
        p = np.mean(
            [expit(z / model.temperature) for z in draw_logits(model, image, 16, seed=1)], 0
        )
        chosen.append((p > 0.01) | (label == 1))
    rows, needed = [], []
    for sampling in ("independent", "antithetic"):
        settings = {"sampling": sampling, "seed": seed}
        draws = np.concatenate(
            [
                [
                    expit(z[pixels] / model.temperature)
                    for z in draw_logits(model, image, options.draws, **settings)
                ]
                for (image, _), pixels in zip(frames, chosen, strict=True)
            ],
            axis=1,
        )  # (n_draws, n_pixels)
        facts = {"setting": setting, "sampling": sampling}
        for T in DRAWS[sampling == "antithetic" :]:
            rows.append(facts | {"T": T} | errors(draws, T, model.threshold))
            print(*rows[-1].values(), flush=True)
        # One of two draws sees the image transposed, always: the two of them are a unit.
        units = draws.reshape(-1, 2, draws.shape[1]).mean(axis=1)
        spread = draw_spread(units, antithetic=sampling == "antithetic")
        for error in ERRORS:
            wanted = {"error": error, "antithetic": sampling == "antithetic"}
            counts = {
                "T_rms": 2 * draws_needed(spread, **wanted),
                "T_95": 2 * draws_needed(spread, quantile=0.95, **wanted),
            }
            needed.append(facts | {"error": error} | counts | {"n_pixels": spread.size})
    return rows, needed


def errors(draws, T, threshold):
    """Measure what groups of T draws differ from all of them."""
    N = len(draws)
    groups = draws[: N // T * T].reshape(-1, T, draws.shape[1]).mean(axis=1)
    best = draws.mean(axis=0)
    entropy = entr(groups) + entr(1 - groups)
    gap = entropy - (entr(best) + entr(1 - best))
    rest = 1 - T / N
    error = np.sqrt(np.mean((groups - best) ** 2, axis=0) / rest)
    flipped = np.count_nonzero((groups >= threshold) != (best >= threshold)) / len(groups)
    return {
        "probability_error": np.sqrt(np.mean(error**2)),
        "probability_error_95": np.quantile(error, 0.95),
        "entropy_error": np.sqrt(np.mean(gap**2) / rest),
        "entropy_bias": gap.mean() / rest,
        "flipped": 100 * flipped / np.count_nonzero(best >= threshold),
        "n_pixels": best.size,
    }


FORMATS = {
    "nll": ".4f",
    "change": "+.4f",
    "low": "+.4f",
    "high": "+.4f",
    "ece": ".3f",
    "ece_non_trivial": ".4f",
    "probability_error": ".4f",
    "probability_error_95": ".4f",
    "entropy_error": ".4f",
    "entropy_bias": "+.4f",
    "flipped": ".2f",
}
DESCRIPTIONS = {
    "nll": "negative log-likelihood, 1e-3 nats per pixel; lower is better",
    "change": "of the NLL against the model as it is, 1e-3 nats per pixel",
    "low": "of the 95 % interval of the change",
    "high": "of the 95 % interval of the change",
    "ece": "expected calibration error of all pixels, 1e-3",
    "ece_non_trivial": "the same of pixels with p > 0.01 or label 1",
    "numbers": "temperature; a, b and c; number of points",
    "probability_error": "root mean square over the pixels",
    "probability_error_95": "error that 95 % of the pixels stay below",
    "entropy_error": "nats, root mean square",
    "entropy_bias": "nats, mean",
    "flipped": "pixels on the other side of the threshold, % of those flagged",
    "T_rms": "draws for this root-mean-square error",
    "T_95": "draws for this error in 95 % of the pixels",
}


def write(rows, name, title, description, models, options):
    """Write a table that says what it is."""
    table = QTable(rows)
    for column in table.colnames:
        table[column].info.format = FORMATS.get(column, "")
        table[column].info.description = DESCRIPTIONS.get(column)
    table.meta = {
        "title": title,
        "description": description,
        "models": {model.name: model.sha256 for model in models},
        "command": "python benchmarks/calibration.py",
        "options": {
            key: getattr(options, key) for key in ("size", "n_fit", "n_test", "draws", "seed")
        },
    }
    table.write(options.out / f"calibration_{name}.ecsv", format="ascii.ecsv", overwrite=True)
    return table


def draw_recalibration(table, path):
    """Draw the change of the NLL with its interval, a panel per model."""
    models = list(dict.fromkeys(table["model"].tolist()))
    figure = Figure(figsize=(4.6 * len(models), 3.2), layout="constrained")
    axes = figure.subplots(1, len(models), sharex=True, sharey=True, squeeze=False)[0]
    names = ("temperature", "beta", "isotonic")
    for ax, model in zip(axes, models, strict=True):
        for i, name in enumerate(names):
            part = table[(table["model"] == model) & (table["recalibration"] == name)]
            y = np.arange(len(part)) + 0.2 * (i - 1)
            arms = np.abs([part["change"] - part["low"], part["high"] - part["change"]])
            ax.errorbar(part["change"], y, xerr=arms, fmt="o", ms=4, capsize=2, label=name)
        ax.axvline(0, color="0.6", lw=1, zorder=0)
        ax.set(title=model, xlabel="change of the NLL (10$^{-3}$ nats per pixel)")
        ax.set_yticks(range(len(SETTINGS)), SETTINGS)
    axes[0].invert_yaxis()
    axes[-1].legend(frameon=False, fontsize="small")
    figure.savefig(path, dpi=110)


def draw_monte_carlo(table, path):
    """Draw errors against T, a panel per setting."""
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    panels = figure.subplots(1, len(MONTE_CARLO), sharey=True)
    for ax, setting in zip(panels, MONTE_CARLO, strict=True):
        for color, sampling in (("C0", "independent"), ("C1", "antithetic")):
            part = table[(table["setting"] == setting) & (table["sampling"] == sampling)]
            for style, name in (("o-", "probability"), ("s--", "entropy")):
                values = part[f"{name}_error"]
                ax.loglog(part["T"], values, style, color=color, ms=4, label=f"{sampling}, {name}")
        ax.set(xlabel="T", title=setting)
        ax.set_xticks(DRAWS, map(str, DRAWS))
        ticks = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
        ax.set_yticks(ticks, map(str, ticks))
        ax.minorticks_off()
    panels[0].set_ylabel("Monte Carlo error (entropy: nats)")
    panels[0].legend(frameon=False, fontsize="small")
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--models", nargs="+", default=["acs-wfc-vi", "acs-wfc-unet"])
    parser.add_argument("--out", type=Path, default=Path("docs/validation"))
    parser.add_argument("--size", type=int, default=192, help="side of the frames")
    parser.add_argument("--n-fit", type=int, default=15, help="frames to fit on, per setting")
    parser.add_argument("--n-test", type=int, default=45, help="held-out frames, per setting")
    parser.add_argument("--draws", type=int, default=128, help="N of the Monte Carlo tables")
    parser.add_argument("--seed", type=int, default=20261122)
    options = parser.parse_args()
    models = [load_model(name) for name in options.models]
    options.out.mkdir(parents=True, exist_ok=True)

    found = [recalibrate(model, setting, options) for model in models for setting in SETTINGS]
    table = write(
        [*itertools.chain(*found)],
        "recalibration",
        "Recalibration, judged on held-out frames",
        f"Maps fitted on {options.n_fit} simulated exposures per setting ({options.size} x "
        f"{options.size} pixels, 500 s), scores of {options.n_test} others. NLL and its change in "
        "1e-3 nats per pixel, ECE in 1e-3; lower is better. Intervals: 95 %, exposures drawn with "
        "replacement.",
        models,
        options,
    )
    draw_recalibration(table, options.out / "calibration_recalibration.png")

    found = [monte_carlo(models[0], setting, options) for setting in MONTE_CARLO]
    rows, needed = ([*itertools.chain(*parts)] for parts in zip(*found, strict=True))
    description = (
        f"Model {models[0].name}, {len(FIELDS)} simulated exposures per setting ({options.size} x "
        f"{options.size} pixels, 500 s); pixels with p > 0.01 or a cosmic ray. Limit: "
        f"{options.draws} draws. Entropy in nats; flipped: pixels on the other side of the "
        "threshold, % of those flagged."
    )
    table = write(
        rows, "montecarlo", "What T draws leave of the limit", description, models[:1], options
    )
    title = "Draws needed for a stated error of the probability"
    description = (
        "The same pixels. T_rms: for this root-mean-square error over the pixels; T_95: for this "
        "error in 95 % of them."
    )
    write(needed, "draws_needed", title, description, models[:1], options)
    draw_monte_carlo(table, options.out / "calibration_montecarlo.png")


if __name__ == "__main__":
    main()
