"""The schema of topologies and their reader take and refuse the same files, but for how values go together."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from lateral.errors import ConfigurationError
from lateral.model import Speaks
from lateral.topology import load

TOPOLOGIES = resources.files("lateral.manifests") / "topologies"
SCHEMA = json.loads((TOPOLOGIES / "schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
EXAMPLE: dict[str, Any] = yaml.safe_load((TOPOLOGIES / "example.yaml").read_text())

RELATIONS = (
    "no workload is called", "several workloads", "has no port", "given twice", "must not be the application's own",
    "they select", "is orders's too", "is web's too", "no zone is called", "kept from itself", "is intended, and",
    "is not an intended flow", "no folder", "by default some are in namespace", "is in zone", "whose twin is a source",
)  # fmt: skip
"""What only the reader can know: how one value goes with others, or with the file system."""

VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, 65535, 65536, -1, 1.5, "", " ", "web", "Web", "two words", "-a", "a" * 63, "a" * 64,
    "caf\u00e9", "http", "dns", "TCP", "UDP", "out-of-scope", [], ["web"], ["UDP"], ["UDP", "UDP"], [1], {}, {"a": "b"},
    {"a": 1}, {"a b": "c"}, {"a": "b c"}, {"Web": ["web"]}, {"out-of-scope": ["web"]}, {"a": []}, {"a.b/c": ""},
)  # fmt: skip

Path_ = tuple[str | int, ...]


def places(value: Any, path: Path_ = ()) -> Iterator[Path_]:
    """Where there is something: the first member of each list stands for all."""
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, (*path, key))
    elif isinstance(value, list):
        yield from places(value[0], (*path, 0))


def changed(path: Path_, change: str, value: Any = None) -> Any:
    """The example, with something at a place replaced, removed or added."""
    data: Any = {"": copy.deepcopy(EXAMPLE)}
    holder: Any = data
    full = ("", *path)
    for step in full[:-1]:
        holder = holder[step]
    if change == "replace":
        holder[full[-1]] = value
    elif change == "remove":
        del holder[full[-1]]
    else:
        holder[full[-1]]["unheard-of"] = 1
    return data[""]


def complaint(data: Any, file: Path) -> str:
    """What the reader has against it, "" when nothing."""
    file.write_text(json.dumps(data))
    try:
        load(file)
    except ConfigurationError as error:
        return str(error)
    return ""


PLACES = tuple(places(EXAMPLE))


def test_what_is_packaged_fits(tmp_path: Path) -> None:
    for name in ("sock-shop", "example"):
        VALIDATOR.validate(yaml.safe_load((TOPOLOGIES / f"{name}.yaml").read_text()))
        load(name)
    assert not complaint(EXAMPLE, tmp_path / "example.json")


@pytest.mark.parametrize("path", PLACES, ids=lambda path: ".".join(map(str, path)) or "document")
def test_schema_and_reader_agree(path: Path_, tmp_path: Path) -> None:
    """Whatever stands in a place, or is missing or too much there, both take it or neither does."""
    mutants = [changed(path, "replace", value) for value in VALUES]
    mutants += [changed(path, "remove")] if path else []
    there = changed(path, "replace", "")  # proves that the path leads somewhere
    assert there != EXAMPLE
    at: Any = EXAMPLE
    for step in path:
        at = at[step]
    mutants += [changed(path, "add")] if isinstance(at, dict) else []
    for data in mutants:
        fits = VALIDATOR.is_valid(data)
        said = complaint(data, tmp_path / "topology.json")
        if fits:
            assert not said or any(words in said for words in RELATIONS), said
        else:
            assert said, f"the schema alone refuses {data}"


def test_every_protocol_is_in_the_schema() -> None:
    port = SCHEMA["$defs"]["workload"]["properties"]["ports"]["items"]["properties"]
    assert port["speaks"]["enum"] == list(Speaks)


def test_every_relation_is_one_of_the_readers() -> None:
    """An excuse that no error's words fit would hide a disagreement for ever."""
    package = Path(__file__).parents[3] / "fixtures" / "lateral"
    source = re.sub(
        r'"\s*f?"', "", "".join(p.read_text() for p in [*package.glob("topology/*.py"), package / "strict.py"])
    )
    for words in RELATIONS:
        assert re.sub(r"(orders|web)'s", "{other.name}'s", words) in source
