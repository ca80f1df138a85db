"""What puts the app up for others agrees with itself and with the app; drills build and start it."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.drills import dockerfile
from tests.drills.image import context_hides, variables_of

ROOT = Path(__file__).parents[1]
STAGES = dockerfile.read(ROOT / "Dockerfile", {})
CONFIGURATION = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text("utf-8"))
README = (ROOT / "README.md").read_text("utf-8")


def copied() -> list[str]:
    """What the image takes from the repository."""
    texts = [step.text for stage in STAGES for step in stage.steps if step.name == "COPY"]
    return [source for text in texts if not text.startswith("--from") for source in text.split()[:-1]]


@pytest.mark.parametrize("source", copied())
def test_what_the_image_copies_is_there_and_in_its_context(source):
    assert (ROOT / source).exists()
    assert not context_hides(Path(source))


@pytest.mark.parametrize(
    "path",
    [".streamlit/secrets.toml", "secrets.toml", "tests/conftest.py", ".git/HEAD", "corrcore/__pycache__/cli.pyc"],
)
def test_secrets_and_what_is_not_needed_are_not_in_the_images_context(path):
    assert context_hides(Path(path))


def test_the_image_runs_as_a_user_on_its_volume():
    last = STAGES[-1]
    assert last.last("USER") not in ("", "root", "0")
    assert last.last("VOLUME") == variables_of(last)["CORRCORE_CACHE"] == variables_of(last)["HOME"]
    assert dockerfile.words(last.last("ENTRYPOINT"))[:2] == ["corrcore", "app"]
    assert variables_of(last)["STREAMLIT_SERVER_PORT"] == last.last("EXPOSE")


def test_every_place_that_names_the_images_port_names_the_same():
    port = STAGES[-1].last("EXPOSE")
    named = [re.findall(r"app2?:(\d+)", (ROOT / name).read_text("utf-8")) for name in ("compose.yaml", "Caddyfile")] + [
        re.findall(r"^app_port: (\d+)$", README, flags=re.MULTILINE)
    ]
    assert all(each and set(each) == {port} for each in named), named


def test_proxies_let_the_largest_upload_pass_and_little_more():
    largest = CONFIGURATION["server"]["maxUploadSize"] * 2**20
    [caddy] = re.findall(r"max_size (\d+)MB", (ROOT / "Caddyfile").read_text("utf-8"))
    [nginx] = re.findall(r"client_max_body_size (\d+)m;", README)
    for limit in (int(caddy) * 10**6, int(nginx) * 2**20):
        assert largest + 2**20 <= limit <= 1.2 * largest


def test_an_instruction_that_the_drill_does_not_know_is_refused(tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM debian:bookworm-slim\nONBUILD RUN true\n")
    with pytest.raises(ValueError, match="ONBUILD, which is not known"):
        dockerfile.read(tmp_path / "Dockerfile", {})


def test_a_dockerfile_is_read_as_its_engine_does(tmp_path):
    text = 'ARG A=x\nFROM debian:${A} AS build\nRUN one \\\n    # why\n    && two\nFROM debian:y\nCMD ["a", "b"]\n'
    (tmp_path / "Dockerfile").write_text(text)
    first, second = dockerfile.read(tmp_path / "Dockerfile", {"A": "z"})
    assert (first.base, first.name, first.last("RUN")) == ("debian:z", "build", "one && two")
    assert (second.base, second.name, dockerfile.words(second.last("CMD"))) == ("debian:y", "", ["a", "b"])


def test_a_hosts_requirements_take_the_app_as_it_stands_and_torch_for_processors():
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    assert "-e ." in lines  # so that a pull is enough
    assert "-c constraints.txt" in lines
    places = [line.split()[1] for line in lines if line.startswith("--find-links ")]
    assert [place.split("/")[-3:-1] for place in places] == [["cpu", "torch"], ["cpu", "torchvision"]]


def test_a_clusters_machines_ask_for_a_token_have_no_dashboard_and_open_no_port():
    cluster = yaml.safe_load((ROOT / "compose.cluster.yaml").read_text("utf-8"))
    head, worker = (cluster["services"][name] for name in ("head", "worker"))
    assert {"--head", "--port=6379", "--include-dashboard=false"} <= set(head["command"])
    assert worker["command"] == [f"--address={head['environment']['CORRCORE_RAY_ADDRESS']}"] == ["--address=head:6379"]
    for each in cluster["services"].values():
        assert each["environment"]["RAY_AUTH_MODE"] == "token"
        assert each["environment"]["RAY_AUTH_TOKEN"].startswith("${RAY_AUTH_TOKEN:?")  # there is no usual one
        assert each["networks"] == ["cluster"]
        assert "ports" not in each
    assert cluster["networks"] == {"cluster": {"internal": True}}
    assert worker["volumes"] == head["volumes"]


def test_the_clusters_image_has_ray():
    cluster = yaml.safe_load((ROOT / "compose.cluster.yaml").read_text("utf-8"))
    extras = cluster["services"]["head"]["build"]["args"]["EXTRAS"]
    assert extras in tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    assert [step.text for step in STAGES[0].steps if step.name == "ARG" and "EXTRAS" in step.text] == ["EXTRAS=auth"]
    assert any('".[$EXTRAS]"' in step.text for step in STAGES[0].steps if step.name == "RUN")


def test_the_clusters_commands_are_rays_own():
    help_text = subprocess.run(
        [Path(sys.executable).with_name("ray"), "start", "--help"], capture_output=True, text=True
    )
    known = set(re.findall(r"--[a-z-]+", help_text.stdout))
    cluster = yaml.safe_load((ROOT / "compose.cluster.yaml").read_text("utf-8"))
    for each in cluster["services"].values():
        words = [*each["entrypoint"][2:], *each["command"]]
        assert {word.split("=")[0] for word in words} <= known
