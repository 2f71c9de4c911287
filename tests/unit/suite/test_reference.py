"""The reference lists what there is, and nothing else."""

from __future__ import annotations

import argparse
import re
from dataclasses import fields
from pathlib import Path

import pytest

from lateral import cli
from lateral.plugin import fixtures, options
from lateral.providers.faults import FAULTS
from lateral.topology import Topology

PAGE = (Path(__file__).parents[3] / "docs/reference.md").read_text()


def listed(heading: str) -> set[str]:
    """The first word of every row's first cell in the table under a heading."""
    section = PAGE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return {found[1] for line in section.splitlines() if (found := re.match(r"\| `?([^ `|]+)", line))} - header(section)


def header(section: str) -> set[str]:
    table = next(line for line in section.splitlines() if line.startswith("|"))
    return {table.split("|")[1].split()[0], *re.findall(r"^\|(-+)\|", section, re.MULTILINE)}


def test_the_options_are_those_of_the_plugin() -> None:
    parser = pytest.Parser(_ispytest=True)
    options.pytest_addoption(parser)
    group = parser.getgroup("lateral")
    assert listed("Options of pytest") == {name for option in group.options for name in option.names()}


def test_the_markers_are_those_of_the_plugin() -> None:
    assert listed("Markers") == {re.split(r"[(:]", marker)[0] for marker in options.MARKERS}


def test_the_fixtures_are_those_of_the_plugin() -> None:
    assert listed("Fixtures") == {name for name in vars(fixtures) if name.startswith("lateral_")}


@pytest.mark.parametrize("name", ["lab", "preflight", "clean"])
def test_the_options_of_a_command_are_its_own(name: str) -> None:
    commands = next(one for one in cli.parser()._actions if isinstance(one, argparse._SubParsersAction))
    options = {option for one in commands.choices[name]._actions for option in one.option_strings}
    assert listed(f"`lateral {name}`") == options - {"-h", "--help"}


def test_the_labs_faults_are_told_in_the_words_that_the_run_has_for_them() -> None:
    section = PAGE.split("## The lab's faults\n", 1)[1].split("\n## ", 1)[0]
    assert re.findall(r"^\| `(.*)` \| (.*) \|$", section, re.MULTILINE) == list(FAULTS.items())


def test_the_topologys_keys_are_those_that_are_read() -> None:
    keys = {key for key in listed("The topology file") if "[" not in key}
    assert keys == {field.name for field in fields(Topology) if not field.name.startswith("_")}
