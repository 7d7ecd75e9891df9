import json

import cosmiq_astro as ca
from cosmiq_astro.cli.main import main


def test_table(capsys):
    assert main(["models"]) == 0
    advice, table = capsys.readouterr().out.split("\n\n")
    assert advice.startswith("HST and other CCDs: acs-wfc-vi, the default.")
    assert len(advice.splitlines()) == 3
    heading, _, *lines = table.splitlines()
    assert heading.split() == ["name", "instrument", "method", "threshold"]
    for line, row in zip(lines, ca.list_models(), strict=True):
        cells = line.split()
        # Three digits: more mean nothing.
        assert (cells[0], cells[-1]) == (row["name"], f"{row['threshold']:.3g}")
    assert max(map(len, [*advice.splitlines(), *lines])) < 80


def test_verbose_tells_the_weights(capsys):
    assert main(["models", "-v"]) == 0
    text = capsys.readouterr().out
    assert all(digest in text for digest in ca.list_models()["sha256"])


def test_json(capsys):
    assert main(["models", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["sha256"] for row in rows] == list(ca.list_models()["sha256"])
