"""`corrcore app`: what it starts. That it opens from a wheel is in `tests/test_packaging`."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from corrcore.cli import main
from tests.visits import free_port, serving

HOME = Path(__file__).parents[2] / "dashboard" / "Home.py"


@pytest.fixture
def started(monkeypatch):
    """The command that takes this process's place, once `corrcore app` is called with options."""
    commands = []
    monkeypatch.setattr(os, "execv", lambda path, command: commands.append(command))

    def start(*options):
        assert main(["app", *map(str, options)]) == 0
        assert commands[0][:5] == [sys.executable, "-P", "-m", "streamlit", "run"]
        assert Path(commands[0][5]).samefile(HOME)
        return commands[0][6:]

    return start


def test_streamlit_is_told_only_what_was_asked_for(started):
    assert started() == []


def test_options_are_passed_on(started, tmp_path):
    secrets = tmp_path / "secrets.toml"
    secrets.touch()
    given = ("--port", 8080, "--address", "::1", "--headless", "--base-path", "a/b", "--secrets", secrets)
    assert started(*given, "--", "--server.maxUploadSize=5", "--client.toolbarMode", "viewer") == [
        "--server.port=8080",
        "--server.address=::1",
        "--server.headless=true",
        "--server.baseUrlPath=a/b",
        f"--secrets.files={secrets}",
        *("--server.maxUploadSize=5", "--client.toolbarMode", "viewer"),
    ]


@pytest.mark.parametrize(("address", "known_as"), [("0.0.0.0", socket.gethostname()), ("192.0.2.7", "192.0.2.7")])
def test_an_app_for_others_says_where_they_reach_it(started, address, known_as):
    assert started("--address", address) == [f"--server.address={address}", f"--browser.serverAddress={known_as}"]


@pytest.mark.parametrize("port", ["0", "65536", "-1", "x"])
def test_a_port_that_is_none_is_refused(started, capsys, port):
    with pytest.raises(SystemExit) as stopped:
        started(f"--port={port}")
    assert stopped.value.code == 2
    assert f"must be a whole number from 1 to 65535; got {port}" in capsys.readouterr().err


def test_secrets_that_are_no_file_are_refused(capsys, tmp_path):
    assert main(["app", "--secrets", str(tmp_path)]) == 2
    assert f"corrcore: --secrets must name a file; {tmp_path} is none." in capsys.readouterr().err


def test_another_folder_of_indexes_is_refused(capsys, tmp_path):
    assert main(["--root", str(tmp_path), "app"]) == 2
    assert "the app takes indexes from the cache folder; set CORRCORE_CACHE" in capsys.readouterr().err


def test_an_app_that_is_not_installed_is_said():
    code = "import sys; sys.modules['dashboard'] = None; from corrcore.cli import main; sys.exit(main(['app']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "corrcore: the app is not installed" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_is_the_server_and_ends_by_signals(number, tmp_path):
    port = free_port()
    command = [sys.executable, "-m", "corrcore", "app", "--headless", f"--port={port}", "--address=127.0.0.1"]
    with serving(command, f"http://127.0.0.1:{port}", tmp_path / "log") as server:
        assert psutil.Process(server.pid).cmdline()[3:5] == ["streamlit", "run"]
        server.send_signal(number)
        server.wait(timeout=12)
    assert "Traceback" not in (tmp_path / "log").read_text()
