"""The Dockerfile's own steps, one by one, where there is no engine: in root filesystems made from the same Debian.

Told are the size of the image and of what is largest in it, and whether the container runs as it is meant to: as its
user, without rights, on a root that cannot be written, with its cache and /tmp alone writable; whether its health check
passes, its pages open, nothing of the build is left in it, and it ends within 10 s of SIGTERM.

    apt-get install mmdebstrap
    sudo python -m tests.drills.image                 # ten minutes and 6 GB below /var/tmp; sizes in MB of 10^6 bytes
    sudo python -m tests.drills.image --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130
    sudo python -m tests.drills.image --kept FOLDER   # only what runs, of an image built before with --folder FOLDER

Where PyTorch's index cannot be reached, `--pin torch==2.13.0+cpu` puts another version into constraints.txt,
`--mount PATH:PLACE` shows a file or folder of this machine to the steps that build, and `--environment NAME=VALUE`
sets a variable for them. What was replaced is told.
"""

import argparse
import fnmatch
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dashboard.navigation import PAGES
from tests.drills import dockerfile
from tests.drills.dockerfile import Stage
from tests.visits import answer, free_port, visiting

ROOT = Path(__file__).parents[2]
LIMIT_MB = 2000
SETTLE_S = 8  # for the work that a page has begun
CHROOT = shutil.which("chroot") or "/usr/sbin/chroot"
# What debian's slim images leave out.
SLIM = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale", "info", "groff", "lintian")]
APT = """Dir::Cache::pkgcache ""; Dir::Cache::srcpkgcache "";
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb"; };
"""  # as debian's images have it
INSIDE = "mount --rbind /dev {root}/dev && mount -t proc proc {root}/proc && {mounts} exec {command}"


def build(options: argparse.Namespace, folder: Path) -> tuple[Path, Stage]:
    """Runs all stages; the last one's root filesystem and steps."""
    arguments = dict(text.split("=", 1) for text in options.build_arg)
    stages = dockerfile.read(ROOT / "Dockerfile", arguments)
    for number, stage in enumerate(stages):
        root = folder / (stage.name or f"stage{number}")
        make_base(stage.base, root)
        run_steps(stage, root, folder, arguments, options)
    return root, stage


def make_base(base: str, root: Path) -> None:
    """A root filesystem of Debian, as small as its slim image."""
    suite = re.fullmatch(r"debian:(\w+)-slim", base)
    if not suite:
        msg = f"FROM {base}: only debian:SUITE-slim can be made here."
        raise ValueError(msg)
    log(f"FROM {base}")
    archive = root.parent / f"{suite[1]}.tar"
    if not archive.exists():
        command = ["mmdebstrap", "--quiet", "--variant=minbase", "--mode=root", *SLIM, suite[1], str(archive)]
        subprocess.run(command, check=True)
    root.mkdir()
    subprocess.run(["tar", "--extract", f"--file={archive}", f"--directory={root}"], check=True)
    (root / "etc/apt/apt.conf.d/docker-clean").write_text(APT, "utf-8")


def run_steps(stage: Stage, root: Path, folder: Path, arguments: dict[str, str], options: argparse.Namespace) -> None:
    """The steps that make files; the others are for what runs."""
    variables, place = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, "/"
    for name, text in ((step.name, step.text) for step in stage.steps):
        begun = time.monotonic()
        if name == "ARG":
            key, _, value = text.partition("=")
            variables[key] = arguments.get(key, value)
        elif name == "ENV":
            variables |= dockerfile.pairs(dockerfile.fill(text, variables))
        elif name == "WORKDIR":
            place = text
            (root / place.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif name == "COPY":
            copy(text, root, place, folder, options.pin)
        elif name == "RUN":
            during = variables | dict(pair.split("=", 1) for pair in options.environment)
            inside(root, ["/bin/sh", "-c", f"cd {place} && {text}"], during, build_mounts(options.mount, root))
        log(f"{name} {text[:100]}", time.monotonic() - begun if name in ("RUN", "COPY") else None)


def copy(text: str, root: Path, place: str, folder: Path, pins: Sequence[str]) -> None:
    """COPY, from the context without what .dockerignore leaves out, or from another stage."""
    *sources, to = text.split()
    source_root, hidden = ROOT, context_hides
    if sources[0].startswith("--from="):
        source_root, hidden = folder / sources.pop(0).removeprefix("--from="), lambda _: False
    target = root / os.path.join(place, to).lstrip("/")
    for source in sources:
        found = source_root / source.lstrip("/")
        if hidden(Path(source)):
            msg = f"COPY {source}: .dockerignore leaves it out."
            raise ValueError(msg)
        if found.is_dir():
            ignored = lambda at, names: [each for each in names if hidden((Path(at) / each).relative_to(source_root))]  # noqa: E731
            shutil.copytree(found, target, symlinks=True, ignore=ignored, dirs_exist_ok=True)
            continue
        into = target / found.name if to.endswith("/") else target
        into.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(found, into)
        if found.name == "constraints.txt":
            replace_pins(into, pins)


def context_hides(path: Path) -> bool:
    """Whether .dockerignore leaves a path of the repository out: the last line that fits says so."""
    hides = False
    for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines():
        pattern = line.strip().removeprefix("!")
        if not pattern or pattern.startswith("#"):
            continue
        parts = [Path(*path.parts[: count + 1]).as_posix() for count in range(len(path.parts))]
        if any(fnmatch.fnmatchcase(f"/{part}", f"/{pattern}".replace("/**/", "*/")) for part in parts):
            hides = not line.startswith("!")
    return hides


def replace_pins(file: Path, pins: Sequence[str]) -> None:
    """Other versions in a file of constraints."""
    text = file.read_text("utf-8")
    for pin in pins:
        text = re.sub(rf"^{pin.partition('==')[0]}==.*$", pin, text, flags=re.MULTILINE)
    file.write_text(text, "utf-8")


def build_mounts(shown: Sequence[str], root: Path) -> list[str]:
    """This machine's way to name servers, and what else is shown to a step that builds."""
    commands = []
    for text in ("/etc/resolv.conf", *shown):
        path, _, place = text.partition(":")
        inner, is_folder = root / (place or path).lstrip("/"), Path(path).is_dir()
        if not inner.exists():
            (inner if is_folder else inner.parent).mkdir(parents=True, exist_ok=True)
            if not is_folder:
                inner.touch()
        commands.append(f"mount --bind {path} {inner}")
    return commands


def inside(root: Path, command: Sequence[str], variables: dict[str, str], mounts: Sequence[str]) -> None:
    """Runs a command as root in a filesystem, with mounts of its own."""
    script = INSIDE.format(root=root, mounts="".join(f"{mount} && " for mount in mounts), command=f'{CHROOT} "$@"')
    subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "/bin/sh", "-c", script, "sh", str(root), *command],
        check=True,
        env={"DEBIAN_FRONTEND": "noninteractive", **variables},
        stdout=subprocess.DEVNULL,
    )


def tell_size(root: Path) -> None:
    """The image's size, and the largest folders of Python's packages."""
    total = size_of(root)
    print(f"image: {total / 1e6:,.0f} MB, at most {LIMIT_MB:,} wanted")
    packages = sorted((root / "opt").glob("*/lib/python3*/site-packages/*"), key=size_of, reverse=True)
    print("  " + ", ".join(f"{path.name} {size_of(path) / 1e6:,.0f}" for path in packages[:16]))


def size_of(path: Path) -> int:
    """Bytes of all files in a folder, links not followed, what is linked twice counted once."""
    if not path.is_dir():
        return path.lstat().st_size
    seen = {}
    for folder, _, names in os.walk(path):
        for name in names:
            state = os.lstat(os.path.join(folder, name))
            seen[state.st_ino] = state.st_size
    return sum(seen.values())


def variables_of(stage: Stage) -> dict[str, str]:
    """The environment of what runs."""
    found: dict[str, str] = {}
    for step in stage.steps:
        if step.name == "ENV":
            found |= dockerfile.pairs(dockerfile.fill(step.text, found))
    return found


@contextmanager
def container(root: Path, stage: Stage, variables: dict[str, str], cache: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The image as compose.yaml runs it: as its user, without rights, on a root that is read only, with a volume."""
    volume = stage.last("VOLUME").strip("/")
    user = next(line for line in (root / "etc/passwd").read_text().splitlines() if line.startswith(stage.last("USER")))
    uid, gid = user.split(":")[2:4]
    cache.mkdir(mode=0o700, exist_ok=True)
    os.chown(cache, int(uid), int(gid))
    mounts = [
        f"mount --bind {root} {root}",
        f"mount -o remount,bind,ro {root}",
        f"mount --rbind /dev {root}/dev",
        f"mount -t proc proc {root}/proc",
        f"mount -t tmpfs -o size=512m tmpfs {root}/tmp",
        f"mount --bind {cache} {root}/{volume}",
    ]
    rights = f"--reuid={uid} --regid={gid} --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all"
    script = f"{' && '.join(mounts)} && exec {CHROOT} {root} /bin/sh -c "
    script += f'\'cd {stage.last("WORKDIR")} && exec setpriv {rights} "$@"\' sh "$@"'
    command = [*dockerfile.words(stage.last("ENTRYPOINT")), *dockerfile.words(stage.last("CMD") or "[]")]
    process = subprocess.Popen(["unshare", "--mount", "/bin/sh", "-c", script, "sh", *command], env=variables)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def check_running(root: Path, stage: Stage, folder: Path) -> int:
    """Whether the container does what it should; the number of failures."""
    port, failed = free_port(), 0
    variables = variables_of(stage) | {"STREAMLIT_SERVER_PORT": str(port), "CORRCORE_READ_ONLY": "1"}
    url = f"http://127.0.0.1:{port}"

    def tell(what: str, passed: bool, figure: object = "") -> None:
        nonlocal failed
        failed += not passed
        print(f"{'ok    ' if passed else 'FAILED'} {what}{f': {figure}' if figure != '' else ''}", flush=True)

    def healthy() -> bool:
        command = [CHROOT, str(root), *dockerfile.health_check(stage)]
        return subprocess.run(command, env=variables, check=False, stderr=subprocess.DEVNULL).returncode == 0

    tell("nothing is well before it runs", not healthy())
    with container(root, stage, variables, folder / "volume") as process:
        begun = time.monotonic()
        while answer(f"{url}/")[0] != 200 and time.monotonic() - begun < 60 and process.poll() is None:
            time.sleep(0.2)
        tell("it answers", answer(f"{url}/")[0] == 200, f"after {time.monotonic() - begun:.1f} s")
        tell("its health check passes", healthy())
        state = Path(f"/proc/{process.pid}/status").read_text()
        rights = {name: re.search(rf"^{name}:\s+(\w+)", state, re.MULTILINE)[1] for name in ("Uid", "CapEff", "CapBnd")}
        tell("it is no superuser and has no rights", rights["Uid"] != "0" and int(rights["CapBnd"], 16) == 0, rights)
        begun = time.monotonic()
        for spec in PAGES:
            with visiting(url, "" if spec is PAGES[0] else spec.path, timeout_s=180) as visit:
                visit.check()
            time.sleep(SETTLE_S)
        tell(f"{len(PAGES)} pages are there", True, f"in {time.monotonic() - begun - len(PAGES) * SETTLE_S:.0f} s")
        tell("memory in MB, and without mapped files", True, memory_mb(process.pid))
        process.terminate()
        begun = time.monotonic()
        try:
            tell(
                "SIGTERM ends it",
                process.wait(timeout=10) in (0, -signal.SIGTERM),
                f"after {time.monotonic() - begun:.1f} s",
            )
        except subprocess.TimeoutExpired:
            tell("SIGTERM ends it", False, "not within 10 s")
    return failed


def memory_mb(pid: int) -> tuple[int, ...]:
    """What is resident of a process, and what of that belongs to no file."""
    state = Path(f"/proc/{pid}/status").read_text()
    return tuple(int(re.search(rf"{name}:\s+(\d+)", state)[1]) * 1024 // 10**6 for name in ("VmRSS", "RssAnon"))


def check_contents(root: Path) -> int:
    """What has no business in an image; the number of findings."""
    patterns = (
        "src",
        "opt/*/bin/pip*",
        "**/secrets.toml",
        "root/.cache",
        "usr/bin/gcc*",
        "var/lib/apt/lists/*Packages*",
    )
    left = [str(path.relative_to(root)) for pattern in patterns for path in root.glob(pattern)]
    print(f"{'FAILED' if left else 'ok    '} nothing of the build is left{f': {left[:5]}' if left else ''}")
    return bool(left)


def log(text: str, seconds: float | None = None) -> None:
    """A step that is done."""
    print(f"{text}{f'  [{seconds:.0f} s]' if seconds is not None else ''}", flush=True)


def main() -> int:
    """Builds, measures and runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--pin", action="append", default=[], metavar="NAME==VERSION")
    parser.add_argument("--mount", action="append", default=[], metavar="PATH:PLACE")
    parser.add_argument("--environment", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--folder", type=Path, help="where to build, and to keep what was built")
    parser.add_argument("--kept", type=Path, help="a folder of an image that was built before")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="corrcore-image-") as temporary:
        folder = (options.kept or options.folder or Path(temporary)).absolute()
        if options.kept:
            stage = dockerfile.read(ROOT / "Dockerfile", {})[-1]
            root = folder / f"stage{len(dockerfile.read(ROOT / 'Dockerfile', {})) - 1}"
        else:
            folder.mkdir(exist_ok=True)
            root, stage = build(options, folder)
        print(f"replaced: {', '.join(options.pin) or 'nothing'}")
        tell_size(root)
        return check_contents(root) + check_running(root, stage, folder)


if __name__ == "__main__":
    sys.exit(main())
