"""What ``cosmiq-astro detect`` does once its arguments are known to be right."""

import importlib.util
import json
import sys
import traceback

from tqdm import tqdm

from cosmiq_astro._io import written_whole
from cosmiq_astro.batch import find_outcome, outcomes_table, run_survey
from cosmiq_astro.cli import _report
from cosmiq_astro.cli._errors import describe, with_advice
from cosmiq_astro.cli._terminal import print_error, print_warning
from cosmiq_astro.hst import plan_file, read_chip
from cosmiq_astro.survey.urls import local_files

__all__ = ["detect_files", "draw"]


def detect_files(args, files):
    """
    Detect the cosmic rays in files, or say what would be done; one bad file does not stop the rest.

    Parameters
    ----------
    args : `argparse.Namespace`
        Parsed arguments.
    files : list of tuple
        Input and output name of each; no output name if it is the input.

    Returns
    -------
    code : int
        1 if any file failed, else 0.
    """
    if args.sample and importlib.util.find_spec("matplotlib") is None:
        raise ImportError("--sample draws with matplotlib: pip install 'cosmiq_astro[plot]'")
    if args.dry_run:
        model = _load_for_resume(args)
        n_failed = sum(not _plan(args, names, model) for names in files)
    else:
        n_failed = _detect(args, files)
    if n_failed and len(files) > 1:
        print(f"cosmiq-astro: {n_failed} of {len(files)} files failed", file=sys.stderr)
    return 1 if n_failed else 0


def _load_for_resume(args):
    """Return the model, None where it is not needed to tell what is done already."""
    from cosmiq_astro import load_model

    return load_model(args.model) if args.resume else None


def _plan(args, names, model):
    """Say what would be done with a file, and return whether it can be done."""
    file_in, file_out = names
    try:
        if model is not None:
            settings = _detection_settings(args) | _image_settings(args) | {"model": model}
            done = find_outcome(names, settings)
            if done is not None:
                _say_skipped(args, done)
                return True
        with local_files(file_in) as (near, _):
            plan = plan_file(near, file_out, **_image_settings(args))
    except Exception as error:
        if args.debug:
            traceback.print_exc()
        _say_failed(args, file_in, describe(error))
        return False
    _say(args, _report.plan_facts(plan), _report.plan_text(plan))
    return True


def _detect(args, files):
    """Work on the files, say what came of each, and return how many failed."""
    from cosmiq_astro import load_model

    # Without a model there is no need to look at any file.
    load_model(args.model)
    picture = files[0][1].with_suffix(".png") if args.sample else None
    if picture is not None and picture.exists() and not args.overwrite:
        raise FileExistsError(f"{picture} exists already; set overwrite to replace it")
    show = sys.stderr.isatty() and not args.quiet
    run = run_survey(
        files,
        jobs=args.jobs,
        scheduler=args.scheduler,
        resume=args.resume,
        progress_bar=show and len(files) == 1,
        **_detection_settings(args),
        **_image_settings(args),
    )
    outcomes = []
    try:
        for outcome in tqdm(run, total=len(files), disable=not show or len(files) == 1):
            outcomes.append(outcome)
            _tell(args, outcome)
    finally:
        if args.table is not None:
            with written_whole(args.table, overwrite=True) as temporary:
                outcomes_table(outcomes).write(temporary, format="ascii.ecsv")
    if picture is not None and outcomes[0].status != "failed":
        draw(files[0][1], picture, overwrite=args.overwrite)
        if not (args.quiet or args.json):
            print(f"{picture}: image, mask, probability, entropy")
    return sum(outcome.status == "failed" for outcome in outcomes)


def _tell(args, outcome):
    """Report on one file, above the progress bar."""
    with tqdm.external_write_mode():
        for note in () if args.quiet else outcome.notes:
            print_warning(f"{outcome.file_in}: {note}")
        if outcome.status == "failed":
            if args.debug:
                print(outcome.traceback, file=sys.stderr, end="")
            _say_failed(args, outcome.file_in, with_advice(outcome.error))
        elif outcome.status == "skipped":
            _say_skipped(args, outcome)
        else:
            text = _report.result_text(outcome.result, chips=args.verbose)
            _say(args, _report.result_facts(outcome.result), text)


def _say(args, facts, text):
    if args.json:
        print(json.dumps(facts), flush=True)
    elif not args.quiet:
        print(text, flush=True)


def _say_skipped(args, outcome):
    facts = {"file_in": outcome.file_in, "status": "skipped", "file_out": outcome.file_out}
    _say(args, facts, f"{outcome.file_in}: skipped, {outcome.file_out} is up to date")


def _say_failed(args, file_in, message):
    if args.json:
        print(json.dumps({"file_in": str(file_in), "status": "failed", "error": message}))
    print_error(f"{file_in}: {message}")


def _detection_settings(args):
    return {
        "model": args.model,
        "T": args.T,
        "threshold": args.threshold,
        "sampling": args.sampling,
        "seed": args.seed,
        "mask_growth": args.mask_growth,
        "clean": args.clean,
        "dq_ignore": args.dq_ignore,
        "planes": args.planes,
        "device": args.device,
        "tile_size": args.tile_size,
        "precision": args.precision,
        "protect": args.protect,
        "uncertainty": args.use_err or None,
        "spectrum": args.spectrum,
        "negative": args.negative,
    }


def _image_settings(args):
    return {
        "in_place": args.in_place,
        "extver": args.ext,
        "dq_bit": args.dq_bit,
        "gain": args.gain,
        "readnoise": args.readnoise,
        "satlevel": args.satlevel,
        "exposure_time": args.exposure_time,
        "overwrite": args.overwrite,
    }


def draw(file, picture, *, overwrite=False):
    """
    Draw the detection on the first chip of a file.

    Parameters
    ----------
    file : path-like
        An output of `cosmiq_astro.hst.detect_file`.
    picture : path-like
        The PNG to write.
    overwrite : bool, optional
        Whether it may be replaced.
    """
    from matplotlib.figure import Figure

    from cosmiq_astro._io import written_whole
    from cosmiq_astro.plots import plot_detection

    # Not a pyplot figure: there may be no display.
    figure = Figure(figsize=(11, 10), layout="compressed")
    plot_detection(read_chip(file), axes=figure.subplots(2, 2, sharex=True, sharey=True))
    with written_whole(picture, overwrite=overwrite) as temporary:
        figure.savefig(temporary, dpi=150)
