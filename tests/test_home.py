import stat
from pathlib import Path

import pytest

from shammah.errors import HomeError
from shammah.home import Home


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("environment", "root"),
    [
        ({}, Path.home() / ".shammah"),
        ({"SHAMMAH_HOME": ""}, Path.home() / ".shammah"),
        ({"SHAMMAH_HOME": "  "}, Path.home() / ".shammah"),
        ({"SHAMMAH_HOME": "/srv/shammah"}, Path("/srv/shammah")),
        ({"SHAMMAH_HOME": "~/elsewhere"}, Path.home() / "elsewhere"),
        ({"SHAMMAH_HOME": "/with space/é "}, Path("/with space/é")),
    ],
)
def test_where_home_is(environment, root):
    assert Home.find(environment).root == root


def test_the_environment_is_read_at_the_call(home, monkeypatch):
    assert Home.find().root == home
    monkeypatch.setenv("SHAMMAH_HOME", "/other")
    assert Home.find().root == Path("/other")


def test_an_account_without_a_home_is_told_what_to_do():
    with pytest.raises(HomeError) as caught:
        Home.find({"SHAMMAH_HOME": "~nobody-of-this-name/x"})
    assert "SHAMMAH_HOME" in caught.value.hint


def test_where_everything_lies(tmp_path):
    home = Home(tmp_path)
    assert {
        "config.toml": home.config_file,
        "shammah.db": home.database,
        "history": home.history,
        "adapters": home.adapters,
        "logs": home.logs,
        "logs/shammah.log": home.log_file,
    } == {str(path.relative_to(tmp_path)): path for path in _paths(home)}


def _paths(home):
    return [home.config_file, home.database, home.history, home.adapters, home.logs, home.log_file]


def test_finding_it_makes_nothing(home):
    _paths(Home.find())
    assert not home.exists()


def test_preparing_it_makes_folders_0700_and_files_0600(home):
    Home(home).prepare()
    made = {str(path.relative_to(home)): oct(mode(path)) for path in home.rglob("*")}
    assert made == {"adapters": "0o700", "logs": "0o700", "shammah.db": "0o600", "history": "0o600"}
    assert mode(home) == 0o700


def test_preparing_it_again_changes_nothing(home):
    Home(home).prepare()
    (home / "history").write_text("what I typed")
    Home(home).prepare()
    assert (home / "history").read_text() == "what I typed"


def test_a_file_in_its_place_is_an_error(home):
    home.write_text("in the way")
    with pytest.raises(HomeError, match=str(home)) as caught:
        Home(home).prepare()
    assert "SHAMMAH_HOME" in caught.value.hint
