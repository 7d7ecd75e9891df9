"""The tables of `accuracy.py` as the documentation shows them: fewer rows, and with words."""

import numpy as np
from astropy.table import Table

__all__ = ["summaries"]

LABELS = (
    "Detection rates at false-positive rates of 0.05 % and 0.5 % over all frames of a group; ECE "
    "on non-trivial pixels; precision, recall and false positives more than 2 pixels from any hit "
    "at each default threshold (deepCR: 0.5). Intervals (95 %) from frames drawn with replacement."
)
MADE_OF = (
    "Three fields, filters F435W, F606W and F814W (TinyTim), 100, 500 and 1,500 s, two frames of "
    "512 x 512 pixels per cell"
)
TITLES = {
    "a": (
        "Real STIS hits on simulated ACS/WFC scenes, beside deepCR",
        f"{MADE_OF}; hits cut from two HST/STIS exposures that were never trained on. {LABELS} "
        "Stars of S/N > 30 without a hit within 3 pixels, and how many had a core pixel flagged. "
        "'known scene' is a pixelwise detector that knows the scene; 'deepCR Platt' has a logit "
        "scale and offset fitted on separate frames.",
    ),
    "b": ("Simulated hits on the same kinds of scenes", f"{MADE_OF}. {LABELS}"),
    "c": (
        "Real frames",
        "HST/ACS HRC frames of 47 Tuc: pixels and cores of bright unsaturated stars flagged, and "
        "the share found of the hits listed in one; SAAO: frames of a crowded field on the ground.",
    ),
    "d": ("Unfamiliar exposures", f"500 s, three fields, two frames each. {LABELS}"),
    "e": (
        "Exposure times and sky levels",
        "Three fields and three skies (electron per second and pixel), for each 20 frames of 10 s, "
        f"six of 100 s, and four of 1,000 and 2,000 s. {LABELS}",
    ),
}
LEFT_OUT = {
    **dict.fromkeys("ab", "rows of single cells, of filters and of times"),
    "e": "rows of 'deepCR Platt in-sample'",
}
FIELDS = ("all", "extragalactic", "globular", "galaxy")
OVERALL = ("tool", "group", "n_frames", "tpr@0.05%", "tpr@0.5%", "nll", "brier", "ece", "aurc")
COLUMNS = {
    **dict.fromkeys(
        "ab",
        (
            *("tool", "group", "n_frames", "tpr@0.05%", "tpr@0.05%_low", "tpr@0.05%_high"),
            *("tpr@0.5%", "tpr@0.5%_low", "tpr@0.5%_high", "tpr@0.5% 3-5", "tpr@0.5% >5"),
            *("nll", "nll_low", "nll_high", "brier", "ece", "aurc", "precision", "recall"),
            *("false_far", "stars", "stars_flagged"),
        ),
    ),
    "d": (*OVERALL, "precision", "recall", "false_far"),
    "e": (*OVERALL, "precision", "precision_low", "precision_high", "recall", "false_far"),
}


def summaries(tables, differences, command):
    """
    Return the tables to commit, by file name without its ending.

    Parameters
    ----------
    tables : dict of Table
        Scores by set.
    differences : dict of Table
        Differences of the models by set.
    command : str
        What made them.
    """
    found = {}
    for part, table in tables.items():
        short = table.copy()
        if part in "ab":
            short = short[np.isin(short["group"], FIELDS)]
        if part == "e":  # twenty rows for each tool
            short = short[short["tool"] != "deepCR Platt in-sample"]
        if part in COLUMNS:
            short = short[[name for name in COLUMNS[part] if name in short.colnames]]
        found[f"accuracy_{part}"] = _described(short, *TITLES[part], command, LEFT_OUT.get(part))
    every = [
        Table({"set": [part] * len(rows), **{n: rows[n] for n in rows.colnames}})
        for part, table in differences.items()
        for rows in [table[(table["group"] == "all") & np.isin(table["score"], SCORES)]]
    ]
    if every:
        rows = [row for table in every for row in table.iterrows()]
        found["accuracy_differences"] = _described(
            Table(rows=rows, names=every[0].colnames),
            "The models against each other on the same frames",
            "Second minus first, over all frames of a set, with 95 % intervals from frames drawn "
            "with replacement. The variational model of a family went on from its baseline, in its "
            "last block alone; '@raw' is without temperature, 'both ways' also sees the frames "
            "transposed.",
            command,
        )
    return found


SCORES = ("tpr@0.05%", "tpr@0.5%", "nll", "brier", "ece", "aurc")


def _described(table, title, description, command, left_out=None):
    for column in table.columns.values():
        if column.dtype.kind == "f":
            column.info.format = ".4g"
    table.meta = {"title": title, "description": description, "command": command}
    if left_out:
        table.meta["left out"] = left_out
    return table
