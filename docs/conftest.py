"""Doctests of the pages: the Sphinx extension needs Sphinx, and files go to a fresh folder."""

import pytest

collect_ignore = ["conf.py", "_ext", "_plots"]


@pytest.fixture(autouse=True)
def _work_in_a_fresh_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
