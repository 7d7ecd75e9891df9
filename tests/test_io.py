import os

import pytest

from cosmiq_astro._io import atomic_write


def test_nothing_is_there_before_the_end(tmp_path):
    path = tmp_path / "a.fits.gz"
    with atomic_write(path) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.endswith(".fits.gz")
        temporary.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]


def test_failure_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail_halfway():
        with atomic_write(path, overwrite=True) as temporary:
            temporary.write_text("half")
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        fail_halfway()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_existing_file_is_kept_unless_asked(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    message = r"a\.txt exists already; set overwrite"
    with pytest.raises(FileExistsError, match=message), atomic_write(path):
        pytest.fail("the block must not be entered")
    with atomic_write(path, overwrite=True) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"


def test_file_that_appears_meanwhile_is_kept(tmp_path):
    path = tmp_path / "a.txt"

    def be_overtaken():
        with atomic_write(path) as temporary:
            temporary.write_text("new")
            path.write_text("of another process")

    with pytest.raises(FileExistsError, match="exists already"):
        be_overtaken()
    assert path.read_text() == "of another process"


def test_links_and_permissions_survive(tmp_path):
    real = tmp_path / "real.txt"
    real.write_text("old")
    real.chmod(0o640)
    link = tmp_path / "link.txt"
    link.symlink_to(real)
    with atomic_write(link, overwrite=True) as temporary:
        temporary.write_text("new")
    assert link.is_symlink()
    assert real.read_text() == "new"
    assert os.stat(real).st_mode & 0o777 == 0o640
