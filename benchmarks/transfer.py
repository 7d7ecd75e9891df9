"""
Score models on frames that other code made: other optics, skies and hits than the training's.

``--models`` names models or folders; a label may stand before ``=``, and ``@bfloat16``, or of a
variational model ``@T`` (passes, or ``mean``), after the name. Frames and the peers' planes are
kept in ``--work``.
"""

import argparse
import time
from pathlib import Path

from _files import write
from _peers import model_tool
from _transfer_frames import FIELDS, GROUPS, Frames
from _transfer_peers import peer
from _transfer_scores import count, rows
from astropy.table import Table


def main():
    """Score and write the table."""
    options = arguments()
    frames = Frames(options.data, options.work, seed=options.seed, size=options.size)
    specs = [
        (group, field, i)
        for i in range(options.frames)
        for group in options.groups
        for field in FIELDS
    ]
    tools = {name: peer(name, frames) for name in ("deepCR", *options.peers)}
    thresholds = dict.fromkeys(tools, 0.5)
    for name in options.models:
        tool = model_tool(name, options.T)
        tools[tool.name] = lambda frame, tool=tool: tool.run(frame).probability
        thresholds[tool.name] = tool.threshold
    counts = {name: {} for name in tools}
    spent = dict.fromkeys(tools, 0.0)
    for spec in specs:
        frame = frames(*spec)
        for name, planes in tools.items():
            start = time.perf_counter()
            probability = planes(frame)
            spent[name] += time.perf_counter() - start
            counts[name][spec] = count(probability, thresholds[name], frame)
    table = Table(list(rows(counts, options.resamples, seed=options.seed)))
    write(
        table,
        options.out,
        "Scores on frames of independent making",
        "Per optics (share of a star's light in its peak pixel: realistic .21, sharp .30, a narrow "
        "core on wide wings, coarse .30 on large pixels, soft .14, faint .27 with faint and "
        "one-pixel hits; "
        "ground: FWHM of 2-6 pixels) and field: detection at two false-positive rates (tpr), "
        "misses over deepCR's (ratio; ratio_own: each frame at a threshold of its own), with 95 % "
        "intervals from frames drawn with replacement; recall, precision, "
        "spikes of one pixel above 8 sigma, and star cores flagged (per 10,000) at the default "
        "threshold; ignored pixels count nowhere. Truth: charge above 3 sigma of the noise.",
    )
    show(table)
    for name, seconds in spent.items():
        print(f"{name}: {seconds:.0f} s")


def arguments():
    """Return the command line's options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the real data")
    parser.add_argument("--work", type=Path, required=True, help="folder of what is kept")
    parser.add_argument("--models", type=lambda s: s.split(",") if s else [], default=[])
    parser.add_argument(
        "--peers",
        type=lambda s: s.split(",") if s else [],
        default=[],
        help="besides deepCR: CRNet, astroscrappy (with the best of three objlim in each frame)",
    )
    parser.add_argument("--groups", type=lambda s: s.split(","), default=GROUPS)
    parser.add_argument("--frames", type=int, default=3, help="to each group and field")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--T", type=int, default=16)
    parser.add_argument("--resamples", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path("transfer.ecsv"))
    return parser.parse_args()


COLUMNS = (
    *(
        "tool",
        "group",
        "field",
        "tpr@0.05%",
        "tpr@0.5%",
        "ratio@0.05%",
        "ratio@0.5%",
        "ratio_own@0.05%",
        "ratio_own@0.5%",
    ),
    *("recall", "precision", "spikes", "cores_per_1e4", "nll", "brier_nontrivial", "aurc"),
)


def show(table):
    """Print the rows of all fields together."""
    short = table[[n for n in COLUMNS if n in table.colnames]]
    for name in short.colnames[3:]:
        short[name].info.format = ".4g"
    short.pprint_all()


if __name__ == "__main__":
    main()
