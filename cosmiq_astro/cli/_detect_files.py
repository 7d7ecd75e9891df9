"""What ``cosmiq-astro detect`` does once its arguments are known to be right."""

import importlib.util
import json
import os
import sys
import traceback
from dataclasses import fields, replace
from pathlib import Path

from astropy.io import fits
from tqdm import tqdm

from cosmiq_astro import batch
from cosmiq_astro._io import atomic_write, check_run, describe, printable, readable, refuse_existing
from cosmiq_astro.cli import _report
from cosmiq_astro.cli._errors import about, attempt, with_advice
from cosmiq_astro.cli._terminal import print_error, print_output, print_warning
from cosmiq_astro.data import sample_path
from cosmiq_astro.hst import find_chips, plan_file, read_chip
from cosmiq_astro.hst.names import output_name, stem_of
from cosmiq_astro.hst.plan import PLAN_SETTINGS
from cosmiq_astro.hst.settings import DetectSettings

# Chips in a picture, and its width in inches.
_MOST_DRAWN, _WIDTH = 4, 11


def detect_or_plan(args):
    """
    Detect the cosmic rays in files, or say what would be done; one bad file does not stop the rest.

    Parameters
    ----------
    args : `argparse.Namespace`
        Parsed arguments.

    Returns
    -------
    code : int
        1 if any file failed, else 0.
    """
    if args.plot and importlib.util.find_spec("matplotlib") is None:
        option = "--sample" if args.sample else "--plot"
        raise ImportError(f"{option} draws with matplotlib: pip install 'cosmiq_astro[plot]'")
    files = [sample_path()] if args.sample else args.files
    outputs = [_output(args, file) for file in files]
    pairs = list(zip(files, outputs, strict=True))
    try:
        batch.check_pairs(pairs, overwrite=args.overwrite, in_place=args.in_place)
        pictures = _plan_pictures(args, pairs) if args.plot else {}
    except ValueError as error:
        args.usage_error(with_advice(str(error), args))
    if args.dry_run:
        n_failed = _plan(args, pairs, pictures)
    else:
        n_failed = _detect(args, files, outputs, pictures)
    if n_failed and len(files) > 1:
        print(f"cosmiq-astro: {n_failed} of {len(files)} files failed", file=sys.stderr)
    return 1 if n_failed else 0


def _output(args, file):
    """Name the output of a file; ``-o`` is a directory if it is one or if there are many files."""
    if args.in_place:
        return file
    if args.output is None:
        return output_name(file, Path() if args.sample else None)
    if len(args.files) > 1 or args.output.endswith((os.sep, "/")) or Path(args.output).is_dir():
        return output_name(file, args.output)
    return Path(args.output)


def _plan_pictures(args, pairs):
    """Return the picture of each input, by its name; refuse those that may not be written."""
    rows, pictures = [], {}
    for file_in, file_out in pairs:
        output = output_name(file_in) if args.in_place else file_out
        picture = output.with_name(f"{stem_of(output)}.png")
        rows.append(([file_in], [file_out, picture]))
        pictures[str(file_in)] = picture
    others = [] if args.table is None else [([], [args.table])]
    check_run([*rows, *others], in_place=args.in_place)
    for picture in pictures.values():
        refuse_existing(picture, args.overwrite or args.resume)
    return pictures


def _settings(args):
    """Return what `cosmiq_astro.hst.detect_file` is called with."""
    names = [field.name for field in fields(DetectSettings)]
    return {name: getattr(args, name) for name in names if hasattr(args, name)}


def _plan(args, pairs, pictures):
    """Say what would be done with the files, and return with how many of them nothing can be."""
    settings = DetectSettings(**_settings(args))
    if args.resume:
        settings = settings.loaded()
    n_failed = 0
    for file_in, file_out in pairs:
        try:
            picture = pictures.get(str(file_in))
            done = batch.find_outcome(file_in, file_out, settings) if args.resume else None
            if done is not None:
                _say_done(args, done, None if _is_drawn(args, done, picture) else picture)
                continue
            target = None if args.in_place else file_out
            plan = plan_file(file_in, target, **settings.only(PLAN_SETTINGS))
            _say(args, _report.plan_facts(plan), _report.plan_text(_shown(args, plan)), picture)
        except Exception as error:
            if args.debug:
                traceback.print_exc()
            _say_failed(args, file_in, with_advice(describe(error), args))
            n_failed += 1
    return n_failed


def _detect(args, files, outputs, pictures):
    """Work on the files, say what came of each, and return how many failed."""
    show = sys.stderr.isatty() and not args.quiet
    not_drawn = []
    with tqdm(total=len(files), disable=not show or len(files) == 1) as bar:

        def report(outcome):
            _tell(args, outcome)
            if pictures and outcome.status != "failed":
                picture = pictures[outcome.file_in]
                if not attempt(args, picture, _draw, args, outcome, picture):
                    not_drawn.append(picture)
            bar.update()

        outcomes = batch.detect_files(
            files,
            None if args.in_place else outputs,
            settings=_settings(args) | {"progress_bar": show and len(files) == 1},
            jobs=args.jobs,
            resume=args.resume,
            table=args.table,
            report=report,
            scheduler=args.scheduler,
            insecure_scheduler=args.insecure_scheduler,
        )
    return int((outcomes["status"] == "failed").sum()) + len(not_drawn)


def _draw(args, outcome, picture):
    """Draw what came of a file, unless an earlier run has."""
    if _is_drawn(args, outcome, picture):
        return
    draw(outcome.file_out, picture, overwrite=args.overwrite or args.resume)
    if not (args.quiet or args.json):
        with tqdm.external_write_mode():
            print_output(f"{printable(picture)}: image, mask, probability, entropy")


def _is_drawn(args, outcome, picture):
    return picture and outcome.status == "skipped" and picture.exists() and not args.overwrite


def _shown(args, named):
    """Return a plan or a result whose names can be printed; where the sample lies is no matter."""
    file_in = named.file_in.name if args.sample else named.file_in
    return replace(named, file_in=printable(file_in), file_out=printable(named.file_out))


def _tell(args, outcome):
    """Report on one file, above the progress bar."""
    with tqdm.external_write_mode():
        for note in () if args.quiet else outcome.notes:
            print_warning(about(outcome.file_in, with_advice(note, args)))
        if outcome.status == "failed":
            if args.debug:
                print(outcome.traceback, file=sys.stderr, end="")
            _say_failed(args, outcome.file_in, with_advice(outcome.error, args))
        elif outcome.result is None:
            _say_done(args, outcome)
        else:
            text = _report.result_text(_shown(args, outcome.result), chips=args.verbose)
            _say(args, _report.result_facts(outcome.result), text)


def _say(args, facts, text, picture=None):
    """Report on a file, and name the picture that would be drawn."""
    if args.json:
        print_output(json.dumps(facts | ({"picture": str(picture)} if picture else {})))
    elif not args.quiet:
        print_output(f"{text}\n  picture: {printable(picture)}" if picture else text)


def _say_done(args, outcome, picture=None):
    """Report on a file that was finished before: by an earlier run, or by a worker that died."""
    facts = {name: getattr(outcome, name) for name in ("file_in", "status", "file_out")}
    file_in, file_out = printable(outcome.file_in), printable(outcome.file_out)
    said = f"{outcome.n_pixels_flagged} pixels flagged, {outcome.n_hits} hits -> {file_out}"
    if outcome.status == "skipped":
        said = f"skipped, {file_out} is up to date"
    _say(args, facts, f"{file_in}: {said}", picture)


def _say_failed(args, file_in, message):
    if args.json:
        facts = {"file_in": str(file_in), "status": "failed", "error": message}
        print_output(json.dumps(facts))
    print_error(about(file_in, message))


def draw(file, picture, *, overwrite=False):
    """
    Draw the detection on each chip of a file, of the first four.

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

    from cosmiq_astro.plots import plot_detection

    with readable(file), fits.open(file) as hdus:
        found = [chip.extver for chip in find_chips(file, hdus)]
        chips = [extver for extver in found if ("CRVIMASK", extver) in hdus][:_MOST_DRAWN]
    drawn = [read_chip(file, extver) for extver in chips]
    # Of four panels with their titles.
    heights = [1 + 0.85 * _WIDTH * min(max(c.shape[0] / c.shape[1], 0.2), 2) for c in drawn]
    # Not a pyplot figure: there may be no display.
    figure = Figure(figsize=(_WIDTH, sum(heights)), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.15)
    parts = figure.subfigures(len(chips), 1, squeeze=False, height_ratios=heights)[:, 0]
    for part, ccd, extver in zip(parts, drawn, chips, strict=True):
        plot_detection(ccd, axes=part.subplots(2, 2, sharex=True, sharey=True))
        if len(chips) > 1:
            part.suptitle(f"SCI,{extver}")
    with atomic_write(picture, overwrite=overwrite) as temporary:
        figure.savefig(temporary, dpi=150)
