import gzip
import os
import threading
import time

import numpy as np
import pytest
from astropy.io import fits

from cosmiq_astro._io import (
    atomic_write,
    check_run,
    printable,
    read_bounded,
    remove_leftovers,
    temporary_folder,
)


def test_nothing_is_there_before_the_end(tmp_path):
    path = tmp_path / "a.fits.gz"
    with atomic_write(path) as temporary:
        # On the same file system, out of sight, and gzip notes the name that the file will have.
        assert temporary.parent.parent == tmp_path
        assert temporary.parent.name.startswith(".cosmiq_astro-")
        assert temporary.name == path.name
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


def test_the_gzip_header_has_the_files_name(tmp_path):
    with atomic_write(tmp_path / "a.fits.gz") as temporary:
        fits.PrimaryHDU(np.zeros((3, 3))).writeto(temporary)
    with gzip.open(tmp_path / "a.fits.gz") as file:
        assert file.read(6) == b"SIMPLE"
    assert b"a.fits\0" in (tmp_path / "a.fits.gz").read_bytes()[:40]


def test_of_many_writers_one_succeeds(tmp_path):
    gate, won, refused = threading.Barrier(8), [], []

    def write(i):
        try:
            with atomic_write(tmp_path / "a.txt") as temporary:
                temporary.write_text(f"{i}")
                gate.wait()
            won.append(i)
        except FileExistsError:
            refused.append(i)

    threads = [threading.Thread(target=write, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(refused)) == (1, 7)
    assert (tmp_path / "a.txt").read_text() == f"{won[0]}"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_system_without_hard_links(tmp_path, monkeypatch):
    def fail(*args):
        raise OSError("no links here")

    monkeypatch.setattr("os.link", fail)
    with atomic_write(tmp_path / "a.txt") as temporary:
        temporary.write_text("whole")
    assert (tmp_path / "a.txt").read_text() == "whole"

    def be_overtaken():
        with atomic_write(tmp_path / "b.txt") as temporary:
            temporary.write_text("mine")
            (tmp_path / "b.txt").write_text("theirs")

    with pytest.raises(FileExistsError, match="exists already"):
        be_overtaken()
    assert (tmp_path / "b.txt").read_text() == "theirs"


def test_devices_pipes_and_directories_are_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in ("/dev/null", tmp_path / "pipe", tmp_path):
        with (
            pytest.raises(ValueError, match="not a regular file"),
            atomic_write(path, overwrite=True),
        ):
            pytest.fail("the block must not be entered")
        with pytest.raises(ValueError, match="not a regular file"):
            check_run([((), [path])])
    for path in ("/dev/zero", tmp_path / "pipe", tmp_path):
        with pytest.raises(ValueError, match="not a regular file"):
            read_bounded(path, 10)
    (tmp_path / "a").write_bytes(bytes(11))
    with pytest.raises(ValueError, match="has 11 bytes; more than 10 are not read"):
        read_bounded(tmp_path / "a", 10)
    assert read_bounded(tmp_path / "a", 11) == bytes(11)


def test_leftovers_go_after_a_day(tmp_path):
    with temporary_folder(tmp_path) as young:
        pass
    old = tmp_path / f"{young.name}x"
    others = [young, tmp_path / ".other-abc", tmp_path / "cosmiq_astro-abc"]
    for folder in (old, *others):
        folder.mkdir()
        (folder / "a.fits").write_text("half")
    outside = tmp_path / "outside"
    outside.mkdir()
    (old / "link").symlink_to(outside)
    (tmp_path / f"{young.name}y").symlink_to(outside)
    day_before = time.time() - 90_000
    for folder in (old, *others[1:], outside):
        os.utime(folder, (day_before, day_before))
    remove_leftovers([tmp_path, tmp_path / "absent"])
    assert not old.exists()
    assert all((folder / "a.fits").exists() for folder in others)
    assert outside.exists()


def test_what_a_terminal_would_obey_is_written_out():
    assert printable("a\x1b[31m\nb\u202e\udce9.fits") == r"a\x1b[31m\nb\u202e\udce9.fits"
    assert printable("caf\u00e9 \u6f22.fits") == "caf\u00e9 \u6f22.fits"
