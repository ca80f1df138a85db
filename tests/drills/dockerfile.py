"""A Dockerfile read as its engine reads it, as far as the project's own goes."""

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

KNOWN = {
    *("FROM", "ARG", "ENV", "RUN", "COPY", "WORKDIR", "USER", "VOLUME", "EXPOSE"),
    *("HEALTHCHECK", "ENTRYPOINT", "CMD"),
}


@dataclass(frozen=True)
class Step:
    """An instruction, and what follows it on its line."""

    name: str
    text: str


@dataclass
class Stage:
    """The steps from one FROM to the next."""

    base: str
    name: str
    steps: list[Step] = field(default_factory=list)

    def last(self, name: str) -> str:
        """What the last instruction of a name says; empty where there is none."""
        return next((step.text for step in reversed(self.steps) if step.name == name), "")


def read(file: Path, arguments: Mapping[str, str]) -> list[Stage]:
    """The stages, with the build's arguments before the first one filled in.

    Raises ValueError for an instruction that is not among `KNOWN`, so that nothing is passed over.
    """
    stages: list[Stage] = []
    before: dict[str, str] = {}
    for line in lines(file.read_text("utf-8")):
        name, _, text = line.partition(" ")
        if name not in KNOWN:
            msg = f"{file} has the instruction {name}, which is not known here."
            raise ValueError(msg)
        if name == "FROM":
            base, _, stage = fill(text, before).partition(" AS ")
            stages.append(Stage(base, stage))
        elif not stages:
            key, _, value = text.partition("=")
            before[key] = arguments.get(key, value)
        else:
            stages[-1].steps.append(Step(name, text.strip()))
    return stages


def lines(text: str) -> list[str]:
    """Instructions, a line each: no comments, and what is continued put together."""
    kept = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    return [line.strip() for line in re.sub(r"\\\n\s*", "", kept).splitlines() if line.strip()]


def fill(text: str, values: Mapping[str, str]) -> str:
    """A text with ${NAME} and $NAME filled in."""
    return re.sub(r"\$\{(\w+)\}|\$(\w+)", lambda found: values.get(found[1] or found[2], ""), text)


def pairs(text: str) -> dict[str, str]:
    """The variables of an ENV."""
    return dict(word.split("=", 1) for word in shlex.split(text))


def words(text: str) -> list[str]:
    """The command of an ENTRYPOINT, CMD or HEALTHCHECK: a list as it is, a line by the shell."""
    return json.loads(text) if text.startswith("[") else ["/bin/sh", "-c", text]


def health_check(stage: Stage) -> list[str]:
    """The command that asks whether a container is well."""
    return words(stage.last("HEALTHCHECK").partition("CMD ")[2])
