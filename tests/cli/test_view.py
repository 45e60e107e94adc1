from pathlib import Path

import pytest

from metagen import InputError
from metagen.cli.commands import show_command, view_command
from metagen.cli.view import serve_runs, view_runs
from metagen.view.live import LiveServer
from tests.support.viewed import make_run


async def test_the_page_is_written_beside_the_rows_of_the_first_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = await make_run(tmp_path)
    view_runs([run], None)
    assert (run / "page.html").read_text().startswith("<!doctype html>")
    assert "page.html in a browser" in " ".join(capsys.readouterr().out.split())
    view_runs([run], tmp_path / "other.html")
    assert (tmp_path / "other.html").exists()


async def test_a_place_that_is_none_is_refused(tmp_path: Path) -> None:
    run = await make_run(tmp_path)
    with pytest.raises(InputError, match=r"x\.html: cannot be written: there is no folder .*missing"):
        view_runs([run], tmp_path / "missing" / "x.html")


async def test_a_page_is_served_until_ctrl_c_which_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(server: LiveServer) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(LiveServer, "serve_forever", stopped)
    with pytest.raises(SystemExit, match=r"^0$"):
        serve_runs([await make_run(tmp_path)], 0)


def test_options_that_set_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--serve writes no page: leave out --out"):
        view_command([tmp_path], tmp_path / "page.html", serve=True)
    for port in (0, 8000):
        with pytest.raises(InputError, match="--port is for --serve: give --serve too"):
            view_command([tmp_path], port=port)
    with pytest.raises(InputError, match="--missed and --found list problems"):
        show_command(tmp_path, "a", missed=True, found=False)
