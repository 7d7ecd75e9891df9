import json

import cosmiq_astro as ca
from cosmiq_astro.cli.main import main


def test_table(capsys):
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:4] == ["name", "version", "instrument", "method"]
    assert [line.split()[0] for line in lines[2:]] == list(ca.list_models()["name"])


def test_json(capsys):
    assert main(["models", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["sha256"] for row in rows] == list(ca.list_models()["sha256"])
