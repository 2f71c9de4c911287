"""The reference lists what there is, and nothing else."""

from __future__ import annotations

import argparse
import json
import re
from importlib import resources
from pathlib import Path

import pytest

from lateral import cli
from lateral.plugin import fixtures, options
from lateral.providers.faults import FAULTS
from lateral.topology import load

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "reference.md").read_text()
TOPOLOGY = (DOCS / "topology.md").read_text()


def listed(heading: str, page: str = PAGE) -> set[str]:
    """The first word of every row's first cell in the table under a heading."""
    section = page.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
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


@pytest.mark.parametrize(
    ("command", "page"),
    [("lab", PAGE), ("preflight", PAGE), ("clean", PAGE), ("discover", TOPOLOGY)],
    ids=["lab", "preflight", "clean", "discover"],
)
def test_the_options_of_a_command_are_its_own(command: str, page: str) -> None:
    commands = next(one for one in cli.parser()._actions if isinstance(one, argparse._SubParsersAction))
    actions = commands.choices[command]._actions
    own = {name for one in actions for name in one.option_strings} - {"-h", "--help"}
    assert listed(f"`lateral {command}`", page) == own


def test_the_labs_faults_are_told_in_the_words_that_the_run_has_for_them() -> None:
    section = PAGE.split("## The lab's faults\n", 1)[1].split("\n## ", 1)[0]
    assert re.findall(r"^\| `(.*)` \| (.*) \|$", section, re.MULTILINE) == list(FAULTS.items())


def test_the_topologys_keys_are_those_of_the_schema() -> None:
    """And so of the reader, which the schema is held to."""
    schema = json.loads((resources.files("lateral.manifests") / "topologies" / "schema.json").read_text())
    workload = schema["$defs"]["workload"]["properties"]
    ports = {f"ports[].{key}" for key in workload["ports"]["items"]["properties"]}
    assert listed("Keys", TOPOLOGY) == set(schema["properties"])
    assert listed("Workloads", TOPOLOGY) == set(workload) | ports
    assert listed("Defaults", TOPOLOGY) == set(schema["properties"]) - set(schema["required"]) - {
        "manifests", "intended", "zones", "zoneRules"
    }  # fmt: skip


def test_the_topologys_shortest_file_is_one(tmp_path: Path) -> None:
    text = TOPOLOGY.split("```yaml\n", 1)[1].split("```", 1)[0]
    (tmp_path / "shop.yaml").write_text(text.replace("../shop ", "."))
    assert len(load(tmp_path / "shop.yaml").workloads) == 2
