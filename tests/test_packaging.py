"""What is built from the repository: the app opens from it, configured as in a clone, wherever one stands."""

import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import psutil
import pytest
from streamlit.proto.NewSession_pb2 import NewSession

from tests.visits import answer, free_port, serving, visiting

ROOT = Path(__file__).parents[1]
CONFIGURATION = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text("utf-8"))
SOURCES = ("pyproject.toml", "README.md", "LICENSE", ".streamlit", "corrcore", "dashboard")

pytestmark = pytest.mark.slow


def build(what: str, tree: Path, into: Path) -> Path:
    """A wheel or an sdist of a tree, by the back end that pyproject names, without a registry."""
    into.mkdir()
    code = f"import sys; from setuptools import build_meta; build_meta.build_{what}(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(into)], cwd=tree, check=True, capture_output=True, text=True)
    [built] = into.iterdir()
    return built


@pytest.fixture(scope="module")
def wheels(tmp_path_factory) -> dict[str, Path]:
    """The wheel of the repository, and that of its sdist."""
    folder = tmp_path_factory.mktemp("built")
    tree = folder / "tree"
    tree.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, tree)
    sdist = build("sdist", tree, folder / "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    [unpacked] = (folder / "unpacked").iterdir()
    return {
        "repository": build("wheel", tree, folder / "wheel"),
        "sdist": build("wheel", unpacked, folder / "wheel of sdist"),
    }


def files(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}


def test_a_wheel_holds_all_files_of_the_packages_and_the_configuration(wheels):
    packed = files(wheels["repository"])
    tracked = subprocess.run(
        ["git", "ls-files", "corrcore", "dashboard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert set(tracked) - set(packed) == {"dashboard/screenshot.jpg"}  # README's
    assert packed["dashboard/.streamlit/config.toml"] == (ROOT / ".streamlit" / "config.toml").read_bytes()
    assert not [name for name in packed if "secrets" in name]


def test_an_sdist_makes_the_same_wheel(wheels):
    assert files(wheels["sdist"]) == files(wheels["repository"])


@pytest.mark.parametrize("source", ["repository", "sdist"])
def test_the_app_opens_from_a_wheel_with_the_same_configuration(source, wheels, tmp_path):
    installed, elsewhere = tmp_path / "installed", tmp_path / "elsewhere"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", str(installed), str(wheels[source])], check=True, capture_output=True, text=True)
    elsewhere.mkdir()
    (elsewhere / "dashboard").mkdir()  # a package of that name where one stands takes nobody's place
    (elsewhere / "dashboard" / "__init__.py").write_text("raise SystemExit('another dashboard')")
    port = free_port()
    url = f"http://127.0.0.1:{port}/below"
    command = [sys.executable, str(installed / "bin" / "corrcore"), "app", "--headless"]
    options = [f"--port={port}", "--address=127.0.0.1", "--base-path=below", "--", "--theme.primaryColor=#123456"]
    environment = {**os.environ, "PYTHONPATH": str(installed), "CORRCORE_CACHE": str(tmp_path / "cache")}
    with serving([*command, *options], url, tmp_path / "log", cwd=elsewhere, env=environment) as server:
        assert str(installed / "dashboard" / "Home.py") in psutil.Process(server.pid).cmdline()
        assert answer(f"{url}/")[0] == 200
        with visiting(url) as visit:
            visit.check()
            check_configuration(visit.session)
            megabytes = 2**20 * CONFIGURATION["server"]["maxUploadSize"]
            assert [visit.upload(size) for size in (megabytes // 2, megabytes + 1)] == [204, 413]
    assert server.returncode in (0, -signal.SIGTERM)  # as some servers say by which signal they ended


def check_configuration(session: NewSession) -> None:
    """Theme, toolbar and privacy are the repository's, except for what the command line asked for."""
    light, dark = (CONFIGURATION["theme"][name] for name in ("light", "dark"))
    theme = session.custom_theme
    assert theme.primary_color == "#123456"
    assert (theme.light.link_color, theme.dark.link_color) == (light["linkColor"], dark["linkColor"])
    assert list(theme.chart_sequential_colors) == CONFIGURATION["theme"]["chartSequentialColors"]
    config = session.config
    assert config.ToolbarMode.Name(config.toolbar_mode) == CONFIGURATION["client"]["toolbarMode"].upper()
    assert not config.gather_usage_stats
