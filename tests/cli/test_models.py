import json

import cosmiq_astro as ca
from cosmiq_astro.cli.main import main


def test_table(capsys):
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:4] == ["name", "version", "instrument", "method"]
    for line, row in zip(lines[2:], ca.list_models(), strict=True):
        cells = line.split()
        assert (cells[0], cells[-1]) == (row["name"], row["sha256"][:16])
        # Three digits: more mean nothing.
        assert cells[-3:-1] == [f"{row[name]:.3g}" for name in ("threshold", "temperature")]


def test_json(capsys):
    assert main(["models", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["sha256"] for row in rows] == list(ca.list_models()["sha256"])
