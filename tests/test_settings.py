import os
import re
import tempfile
from pathlib import Path

import pytest

from corrcore.cluster import Cluster, asked_for
from corrcore.settings import Limits, Settings, prepared_path
from tests.store.results import in_child, wait_for


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def test_paths_are_expanded_and_made_absolute(home):
    assert prepared_path("~/photos") == home / "photos"
    assert prepared_path("photos") == home.parent / "photos"
    assert prepared_path(Path("/photos")) == Path("/photos")


def test_empty_path_and_unknown_home_are_refused(home):
    with pytest.raises(ValueError, match="a path is empty"):
        prepared_path("")
    with pytest.raises(ValueError, match="home folder in ~nobody-by-this-name/x is not known; write the path in full"):
        prepared_path("~nobody-by-this-name/x")


def test_variables_are_read_anew_and_prepared(home):
    settings = Settings.from_environment({"CORRCORE_CACHE": "~/results", "CORRCORE_DATA": "~/data"})
    assert settings == Settings(cache=home / "results", data=home / "data", read_only=False)
    assert Settings.from_environment({"CORRCORE_DATA": "data", "CORRCORE_READ_ONLY": "1"}) == Settings(
        cache=Settings.from_environment({}).cache, data=home.parent / "data", read_only=True
    )


def test_what_the_server_is_told_is_read():
    environment = {
        "CORRCORE_FRAME_ANCESTORS": "https://*.hf.space  lab.example.org:8443",
        "CORRCORE_MAX_SESSIONS": "30",
        "CORRCORE_LOG": "json",
        "CORRCORE_APPROXIMATE": "1",
    }
    settings = Settings.from_environment(environment)
    assert settings.frame_ancestors == ("https://*.hf.space", "lab.example.org:8443")
    assert (settings.limits.max_sessions, settings.log_json, settings.problems()) == (30, True, [])
    assert (settings.approximate, Settings.from_environment({}).approximate) == (True, False)
    unset = Settings.from_environment({"CORRCORE_FRAME_ANCESTORS": "", "CORRCORE_MAX_SESSIONS": ""})
    assert (unset.frame_ancestors, unset.limits.max_sessions, unset.log_json) == ((), 200, False)


@pytest.mark.parametrize(
    "site", ["*", "https://x;", "https://x'", "javascript:x", "https://x/path", "'none'", "ftp://x"]
)
def test_what_is_no_site_cannot_get_into_a_header(site):
    settings = Settings.from_environment({"CORRCORE_FRAME_ANCESTORS": f"https://good.org {site}"})
    assert settings.frame_ancestors == ("https://good.org",)
    assert settings.problems() == [
        f"CORRCORE_FRAME_ANCESTORS must be sites, such as https://*.hf.space; {site!r} is none."
    ]


@pytest.mark.parametrize("number", ["0", "-1", "1.5", "many", "٣"])
def test_a_number_of_sessions_must_be_one(number):
    settings = Settings.from_environment({"CORRCORE_MAX_SESSIONS": number})
    assert settings.limits.max_sessions == 200
    assert settings.problems() == [
        f"CORRCORE_MAX_SESSIONS must be a whole number above 0, not {number!r}; 200 is in force."
    ]


def test_unset_and_empty_variables_are_the_users_folder_and_no_data(home, monkeypatch):
    for environment in ({}, {"CORRCORE_CACHE": "", "CORRCORE_DATA": "", "CORRCORE_READ_ONLY": ""}):
        settings = Settings.from_environment(environment)
        assert home in settings.cache.parents
        assert settings.cache.name == "corrcore"
        assert (settings.data, settings.read_only, settings.problems()) == (None, False, [])


def test_limits_are_whole_numbers_or_the_usual_ones(home):
    asked = {"CORRCORE_JOBS_PER_HOUR": "7", "CORRCORE_UPLOADS_MB_HELD": "-1", "CORRCORE_REQUESTS_PER_MINUTE": "\u0663"}
    settings = Settings.from_environment(asked)
    assert settings.limits == Limits(jobs_per_hour=7)
    assert settings.problems() == [
        "CORRCORE_UPLOADS_MB_HELD must be a whole number above 0, not '-1'; 100 is in force.",
        "CORRCORE_REQUESTS_PER_MINUTE must be a whole number above 0, not '\u0663'; 2000 is in force.",
    ]


def test_what_is_wrong_with_the_data_folder_is_said(home):
    (home / "sets" / "voc" / "JPEGImages").mkdir(parents=True)
    (home / "file").touch()
    told = {name: Settings(cache=home, data=home / name).problems() for name in ("sets", "sets/voc", "missing", "file")}
    assert told["sets"] == []
    assert told["sets/voc"] == []  # a data set itself
    assert told["missing"] == [f"CORRCORE_DATA must be a folder of data sets; {home}/missing does not exist."]
    assert told["file"] == [f"CORRCORE_DATA must be a folder of data sets; {home}/file is a file."]
    assert Settings(cache=home / "file").problems() == [
        f"CORRCORE_CACHE must be a folder; {home}/file is a file. Results are not kept."
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_folders_that_may_not_be_read_are_a_sentence_and_no_traceback(home):
    (home / "closed" / "weights").mkdir(parents=True)
    (home / "closed").chmod(0o700)
    settings = Settings(cache=home / "mine", data=home / "closed" / "data", weights=home / "closed" / "weights")

    def work():
        os.setuid(54321)
        first, second = settings.problems()
        assert first.endswith("closed/data does not exist.")
        assert second.endswith("closed/weights is none.")

    assert wait_for(in_child(work)) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user without a name")
@pytest.mark.parametrize("usable", [True, False])
def test_user_without_home_and_name_has_a_temporary_folder_or_a_sentence(monkeypatch, usable):
    """As in a container that is run by a number: no HOME, and no entry in the list of users."""
    with tempfile.TemporaryDirectory() as folder:  # whose parents are everybody's
        os.chmod(folder, 0o777)
        kept = Path(folder, "corrcore-54321")
        if not usable:  # another user was there first
            kept.mkdir()
        for name in ("HOME", "XDG_CACHE_HOME", "CORRCORE_CACHE", "CORRCORE_DATA", "CORRCORE_WEIGHTS"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        Settings.from_environment()  # imports, which that user may not read

        def work():
            os.setgroups([])
            os.setgid(54321)
            os.setuid(54321)
            if usable:
                settings = Settings.from_environment()
                assert settings.cache == kept
                assert kept.stat().st_mode & 0o777 == 0o700
                assert settings.problems() == [
                    (
                        f"no home folder is known, so results are kept in {kept}, which may be emptied at any time; "
                        "set CORRCORE_CACHE to a folder that stays."
                    )
                ]
                with pytest.raises(ValueError, match="write the path in full"):
                    prepared_path("~/photos")
            else:
                sentence = f"no home folder is known, and {kept} cannot be used; set CORRCORE_CACHE to a folder"
                with pytest.raises(ValueError, match=sentence):
                    Settings.from_environment()

        assert wait_for(in_child(work)) == 0


def test_long_work_has_limits_and_processes_of_its_own(home):
    environment = {"QUEUE_LENGTH": "3", "JOBS_PER_VISITOR": "1", "JOB_MEMORY_MB": "1500", "JOB_MINUTES": "30"}
    environment["RESULTS_MB"] = "7"
    settings = Settings.from_environment({f"CORRCORE_{name}": text for name, text in environment.items()})
    assert (settings.limits.queue_length, settings.limits.jobs_per_visitor) == (3, 1)
    assert (settings.limits.job_memory_mb, settings.limits.job_minutes) == (1500, 30)
    assert settings.limits.results_bytes == 7_000_000
    assert (settings.problems(), settings.job_processes) == ([], True)
    assert not Settings.from_environment({"CORRCORE_JOB_PROCESSES": "0"}).job_processes


def test_where_long_work_runs_is_asked_for():
    asked = {"EXECUTOR": "ray", "RAY_ADDRESS": "head:6379", "RAY_WORKERS": "8", "RAY_GPUS": "0.25"}
    found = Settings.from_environment({f"CORRCORE_{name}": value for name, value in asked.items()})
    assert asked_for(found) == Cluster("head:6379", workers=8, gpus=0.25)
    assert asked_for(Settings.from_environment({"CORRCORE_RAY_ADDRESS": "head:6379"})) is None


def test_what_says_nothing_of_where_work_runs_is_told():
    asked = {"CORRCORE_EXECUTOR": "dask", "CORRCORE_RAY_WORKERS": "0", "CORRCORE_RAY_GPUS": "half"}
    found = Settings.from_environment(asked)
    assert (found.executor, found.ray_workers, found.ray_gpus) == ("threads", None, 0)
    assert found.faults == (
        "CORRCORE_EXECUTOR must be threads or ray, not 'dask'; threads it is.",
        "CORRCORE_RAY_WORKERS must be a whole number above 0, not '0'; it is passed over.",
        "CORRCORE_RAY_GPUS must be a number such as 0.25, not 'half'; 0 is in force.",
    )


def test_what_no_cluster_would_take_is_told_at_the_start(tmp_path):
    (tmp_path / "indexes" / "voc").mkdir(parents=True)
    asked = {"RAY_ADDRESS": "ray://head:10001", "RAY_GPUS": "1.5", "RAY_INDEXES": "voc,vok", "CACHE": str(tmp_path)}
    found = Settings.from_environment({f"CORRCORE_{name}": value for name, value in asked.items()})
    assert (found.ray_address, found.ray_gpus) == ("ray://head:10001", 0)
    said = [
        r"CORRCORE_RAY_ADDRESS: the address of a Ray cluster is HOST:PORT, .*; got ray://head:10001\.",
        r"CORRCORE_RAY_GPUS: gpus of a worker must be a share from 0 to 1, or a whole number; got 1\.5; 0 is in .*",
        r"CORRCORE_RAY_INDEXES names vok, and .*/indexes has no such index; `corrcore index list` shows those .*",
    ]
    assert [bool(re.fullmatch(*each)) for each in zip(said, found.problems(), strict=True)] == [True] * 3
    assert "RAY_INDEXES names voc, vok" in found.problems(tmp_path)[2]
