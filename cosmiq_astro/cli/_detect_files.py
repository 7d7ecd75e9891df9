"""What ``cosmiq-astro detect`` does once its arguments are known to be right."""

import importlib.util
import json
import sys
import traceback

from cosmiq_astro.cli import _report
from cosmiq_astro.hst import detect_file, plan_file, read_chip

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
    model = None
    if not args.dry_run:
        from cosmiq_astro import load_model

        # Once for all files; without a model there is no need to look at any.
        model = load_model(args.model)
    if args.sample and importlib.util.find_spec("matplotlib") is None:
        raise ImportError("--sample draws with matplotlib: pip install 'cosmiq_astro[plot]'")
    n_failed = sum(not _attempt(args, *names, model) for names in files)
    if n_failed and len(files) > 1:
        print(f"cosmiq-astro: {n_failed} of {len(files)} files failed", file=sys.stderr)
    return 1 if n_failed else 0


def _attempt(args, file_in, file_out, model):
    """Work on one file; report what came of it, and whether it went well."""
    action = _plan if args.dry_run else _detect
    try:
        facts, text = action(args, file_in, file_out, model)
    except Exception as error:
        expected = isinstance(error, (OSError, ValueError, TypeError))
        message = str(error) if expected else f"{type(error).__name__}: {error}"
        if args.debug:
            traceback.print_exc()
        if args.json:
            print(json.dumps({"file_in": str(file_in), "status": "failed", "error": message}))
        print(f"cosmiq-astro: error: {file_in}: {message}", file=sys.stderr)
        return False
    if args.json:
        print(json.dumps(facts), flush=True)
    elif not args.quiet:
        print(text, flush=True)
    return True


def _plan(args, file_in, file_out, _):
    plan = plan_file(file_in, file_out, **_image_settings(args))
    return _report.plan_facts(plan), _report.plan_text(plan)


def _detect(args, file_in, file_out, model):
    picture = file_out.with_suffix(".png") if args.sample else None
    if picture is not None and picture.exists() and not args.overwrite:
        raise FileExistsError(f"{picture} exists already; set overwrite to replace it")
    result = detect_file(
        file_in,
        file_out,
        model=model,
        T=args.T,
        threshold=args.threshold,
        sampling=args.sampling,
        seed=args.seed,
        mask_growth=args.mask_growth,
        clean=args.clean,
        dq_ignore=args.dq_ignore,
        planes=args.planes,
        device=args.device,
        tile_size=args.tile_size,
        progress_bar=sys.stderr.isatty() and not args.quiet,
        **_image_settings(args),
    )
    facts = _report.result_facts(result)
    text = _report.result_text(result, chips=args.verbose)
    if picture is not None:
        draw(file_out, picture, overwrite=args.overwrite)
        facts["picture"] = str(picture)
        text += f"\n{picture}: image, mask, probability, entropy"
    return facts, text


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

    from cosmiq_astro._files import written_whole
    from cosmiq_astro.plots import plot_detection

    # Not a pyplot figure: there may be no display.
    figure = Figure(figsize=(11, 10), layout="compressed")
    plot_detection(read_chip(file), axes=figure.subplots(2, 2, sharex=True, sharey=True))
    with written_whole(picture, overwrite=overwrite) as temporary:
        figure.savefig(temporary, dpi=150)
