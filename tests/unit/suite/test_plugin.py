"""The plugin as a user meets it: exit statuses, reports and terminal, on assessments that were made up."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from xml.etree import ElementTree

import pytest

from lateral.errors import ConfigurationError

pytest_plugins = ["pytester"]

CONFTEST = """
    import pytest
    from suite.synthetic import IGNORED, IN_FORCE, LOOT, REJECTING, Outcome, Phase, Proof, assess, journey

    pytest_plugins = ["lateral.plugin"]
    BASELINE, ENFORCED, RESTORED = Phase

    @pytest.fixture(scope="session")
    def lateral_assessment(lateral_topology, lateral_progress):
        lateral_progress("measured at once")
        return assess(lateral_topology.flows(), loot=LOOT, {arguments})
"""
ANY_MACHINE = """
        import pytest
        from lateral.providers import lab

        lab.check = lambda fault: None
"""
"""For sessions in a process of their own."""

ELSEWHERE = """
import contextlib
import pytest
from lateral.cluster import Cluster
from lateral.errors import ClusterError, ConfigurationError
from lateral.model import ClusterFacts
from suite.synthetic import LOOT, assess

pytest_plugins = ["lateral.plugin"]

@pytest.fixture(autouse=True, scope="session")
def elsewhere():
    patch = pytest.MonkeyPatch()
    cluster = Cluster(None, ClusterFacts("lab", "v1.32.0", "lab"))
    patch.setattr("lateral.providers.lab.lab", lambda *_: contextlib.nullcontext(cluster))
    patch.setattr("lateral.run.measure", measure)
    yield
    patch.undo()
"""
"""Without a lab, and with the measurement, `measure`, that is written behind it."""

ROGUE = "rogue.default-to-user-db.sock-shop:27017/TCP"
USER = "user.sock-shop-to-user-db.sock-shop:27017/TCP"
LEFT = "clean-up failed: refused. Left over: Namespace x. Remove it by: lateral clean --run 1f2e3d4c"


@pytest.fixture(autouse=True)
def allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every machine allow a lab: none is started here."""
    monkeypatch.setattr("lateral.providers.lab.check", lambda _fault: None)


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder with the suite in it, that finds this package's made-up assessments."""
    shutil.copytree(str(resources.files("lateral.conformance")), pytester.path / "conformance")
    here = str(Path(__file__).parents[1])
    pytester.syspathinsert(here)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH")))))
    # It would be imported anew, and its asserts rewritten, for the summary of every session.
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:hypothesispytest")
    pytester.makepyprojecttoml("[tool.pytest.ini_options]\naddopts = ['--strict-markers']\nfilterwarnings = ['error']")
    return pytester


def run(suite: pytest.Pytester, *options: str, assessment: str = "", selected: str = "user-db") -> pytest.RunResult:
    suite.makeconftest(CONFTEST.replace("{arguments}", assessment))
    return suite.runpytest("-m", "lateral", "--lateral-policies", "none", "-k", selected, *options)


def parse(path: Path) -> ElementTree.Element:
    return ElementTree.parse(path).getroot()  # noqa: S314  # our own file


def cases(suite: pytest.Pytester, folder: str = "reports") -> dict[tuple[str, str], ElementTree.Element]:
    """The JUnit report's cases by classname and name, which must be unique."""
    found = list(parse(suite.path / folder / "junit.xml").iter("testcase"))
    by_name = {(case.get("classname", ""), case.get("name", "")): case for case in found}
    assert len(by_name) == len(found)
    return by_name


def properties(element: ElementTree.Element) -> dict[str, str]:
    return {p.get("name", ""): p.get("value", "") for p in element.iterfind("properties/property")}


ENFORCED_CASE = ("lateral.enforced.user-db_sock-shop:27017/TCP", f"DENY {ROGUE}")
BASELINE_CASE = ("lateral.baseline.user-db_sock-shop:27017/TCP", f"DENY {ROGUE}")


@pytest.mark.parametrize(
    ("assessment", "status", "outcomes"),
    [
        pytest.param("", 0, {"passed": 74}, id="all contained"),
        pytest.param(
            f"odd={{'{ROGUE}': {{ENFORCED: Outcome.OPEN}}}}", 1, {"passed": 73, "failed": 1}, id="one exposed"
        ),
        pytest.param(
            f"odd={{'{USER}': {{ENFORCED: Outcome.DROPPED}}}}", 1, {"passed": 73, "failed": 1}, id="one disrupted"
        ),
        pytest.param(
            f"odd={{'{ROGUE}': {{ENFORCED: Outcome.REFUSED}}}}", 10, {"passed": 73, "errors": 1}, id="one unproven"
        ),
        pytest.param(
            f"odd={{'{ROGUE}': {{BASELINE: Outcome.DROPPED}}}}", 10, {"passed": 72, "errors": 2}, id="one untestable"
        ),
        pytest.param(
            f"odd={{'{ROGUE}': {{ENFORCED: Outcome.OPEN}}, '{USER}': {{ENFORCED: Outcome.INCONCLUSIVE}}}}",
            1,
            {"passed": 72, "failed": 1, "errors": 1},
            id="a violation wins over doubt",
        ),
    ],
)
def test_exit_status(suite: pytest.Pytester, assessment: str, status: int, outcomes: dict[str, int]) -> None:
    """0 only when all is proven well, 1 for any violation, 10 when something is merely unproven."""
    result = run(suite, assessment=assessment)
    assert result.ret == status
    result.assert_outcomes(**outcomes, deselected=677)


@pytest.mark.parametrize(
    ("journeys", "status", "outcomes"),
    [
        pytest.param("", 0, {"passed": 3}, id="worked throughout"),
        pytest.param(
            "journeys={p: journey(p, {'login': 'HTTP 401'} if p is ENFORCED else {}) for p in Phase}",
            1,
            {"passed": 2, "failed": 1},
            id="disrupted",
        ),
        pytest.param(
            "journeys={p: journey(p, {'login': 'HTTP 401'}) for p in Phase}", 10, {"errors": 3}, id="never worked"
        ),
        pytest.param(
            "journeys={p: journey(p, {'login': 'HTTP 401'} if p is RESTORED else {}) for p in Phase}",
            10,
            {"passed": 1, "errors": 2},
            id="not restored",
        ),
        pytest.param("journeys={}", 10, {"errors": 3}, id="not measured"),
    ],
)
def test_exit_status_of_a_journey(suite: pytest.Pytester, journeys: str, status: int, outcomes: dict[str, int]) -> None:
    """A step that the policies break is a violation; one that never worked proves nothing, and neither does silence."""
    result = run(suite, assessment=journeys, selected="test_journey and login")
    assert result.ret == status
    result.assert_outcomes(**outcomes, deselected=748)


def test_junit_of_a_journey(suite: pytest.Pytester) -> None:
    """Each step is a case in each phase, and says what happened to it."""
    broken = "journeys={p: journey(p, {'login': 'HTTP 401'} if p is ENFORCED else {}) for p in Phase}"
    result = run(suite, assessment=broken, selected="test_journey and login")
    result.stdout.fnmatch_lines(["journey: 8/8 steps before, 7/8 under, 8/8 after", "  login: worked before, failed *"])
    case = cases(suite)["lateral.enforced.journey", "journey[enforced-login]"]
    failure = case.find("failure")
    assert failure is not None
    assert failure.get("message") == (
        "DISRUPTED journey login: worked before, failed under the policies (HTTP 401), works again without them"
    )
    assert "Seen under the policies: HTTP 401 in 12 ms" in (failure.text or "")
    assert properties(case) == {
        "lateral.phase": "enforced",
        "lateral.step": "login",
        "lateral.latency_ms": "12.5",
    }


@pytest.mark.parametrize(
    ("change", "status"),
    [
        pytest.param("", 0, id="none"),
        pytest.param("restarts=1", 1, id="restarted"),
        pytest.param("ready=False", 1, id="unready"),
        pytest.param("uid='other'", 1, id="replaced"),
    ],
)
def test_exit_status_of_pods(suite: pytest.Pytester, change: str, status: int) -> None:
    """A pod that isn't what it was before the policies is a violation."""
    changed = f"journeys={{p: journey(p, {{}}, {change}) if p is ENFORCED else journey(p) for p in Phase}}"
    result = run(suite, assessment=changed if change else "", selected="test_pods_stay")
    assert result.ret == status


def test_cluster_that_does_not_enforce(suite: pytest.Pytester) -> None:
    """Where policies are ignored the run fails, and its summary begins by saying so in one line."""
    odd = f"odd={{'{ROGUE}': {{ENFORCED: Outcome.OPEN}}}}, enforcement=IGNORED"
    result = run(suite, assessment=odd, selected=f"{ROGUE} or test_cluster_enforces_policies")
    assert result.ret == 1
    summary = result.stdout.str().partition("= lateral =")[2].splitlines()
    assert summary[1] == "this cluster does not enforce NetworkPolicy: the canary was still open after 30 s"
    error = cases(suite)["lateral.enforced.enforcement", "cluster enforces policies"].find("error")
    assert error is not None
    assert error.get("message") == summary[1]


def test_junit_of_a_violation(suite: pytest.Pytester) -> None:
    """A violated case says in its name, message and body what a person needs, without properties."""
    run(suite, assessment=f"odd={{'{ROGUE}': {{ENFORCED: Outcome.OPEN}}}}")
    failure = cases(suite)[ENFORCED_CASE].find("failure")
    assert failure is not None
    headline = "EXPOSED rogue.default to user-db.sock-shop:27017/TCP: open before, still open 1.2 s after the policies"
    assert failure.get("message") == headline
    body = (failure.text or "").splitlines()
    assert body[0] == headline
    assert "Claim:     Under the policies a path is open if and only if the application needs it." in body
    assert "OPEN by ClusterIP 10.102.0.7:27017 in 2.5 ms" in (failure.text or "")
    assert "name=user-db of namespace sock-shop" in (failure.text or "")


def test_junit_properties(suite: pytest.Pytester) -> None:
    """Each case carries what was measured in its phase, the enforced one the verdict too; the suite carries the run."""
    run(suite)
    found = cases(suite)
    assert properties(found[BASELINE_CASE]) == {
        "lateral.flow": ROGUE,
        "lateral.phase": "baseline",
        "lateral.outcome.ClusterIP": "OPEN",
        "lateral.outcome.pod-IP": "OPEN",
        "lateral.latency_ms": "2.5",
    }
    assert properties(found[ENFORCED_CASE]) == {
        "lateral.flow": ROGUE,
        "lateral.phase": "enforced",
        "lateral.outcome.ClusterIP": "DROPPED",
        "lateral.outcome.pod-IP": "DROPPED",
        "lateral.latency_ms": "2.5",
        "lateral.dials": "8",
        "lateral.dials.agreeing": "8",
        "lateral.delay_s": "0.000",
        "lateral.leak_bound": "0.375",
        "lateral.verdict": "CONTAINED",
        "lateral.reason": "open before, closed in 8 of 8 dials under the policies (in force after 1.2 s), open again",
    }
    [whole] = parse(suite.path / "reports" / "junit.xml").iter("testsuite")
    assert (whole.get("tests"), whole.get("failures"), whole.get("errors")) == ("74", "0", "0")
    assert whole.get("timestamp") == "2025-01-01T00:00:00Z"
    assert (
        properties(whole).items()
        >= {
            "lateral.run": "4f1c2a",
            "lateral.policies": "kubernetes",
            "lateral.policies.standing": "",
            "lateral.seconds_to_enforce": "1.250",
        }.items()
    )


def test_junit_of_everything(suite: pytest.Pytester) -> None:
    """The whole suite has a case of its own for each flow and phase, named in ASCII, without anything that changes."""
    result = run(suite, selected="test")
    result.assert_outcomes(passed=751)
    assert "the exit status speaks" not in result.stdout.str()
    found = cases(suite)
    assert len(found) == 751
    assert all(f"{group}{name}".isascii() for group, name in found)
    assert all(group.count(".") == 2 for group, _ in found)


def test_given_junit_is_written_too(suite: pytest.Pytester) -> None:
    """A report that the user asks pytest for has the same words, and the suite's own is still written."""
    run(suite, "--junitxml=mine.xml", assessment=f"odd={{'{ROGUE}': {{ENFORCED: Outcome.OPEN}}}}", selected=ROGUE)
    [failure] = parse(suite.path / "mine.xml").iter("failure")
    assert failure.get("message", "").startswith("EXPOSED rogue.default to user-db")
    assert ENFORCED_CASE in cases(suite)


def test_reports_folder(suite: pytest.Pytester) -> None:
    """--lateral-reports names another folder, made where it is missing; it stands in the terminal."""
    result = run(suite, "--lateral-reports", "some/where", selected=ROGUE)
    assert ENFORCED_CASE in cases(suite, "some/where")
    assert not (suite.path / "reports").exists()
    result.stdout.fnmatch_lines(["JUnit: some/where/junit.xml"])


def test_stale_report_is_gone(suite: pytest.Pytester) -> None:
    """A report of an earlier run doesn't outlive the start of one that is killed."""
    (suite.path / "reports").mkdir()
    (suite.path / "reports" / "junit.xml").write_text("stale")
    suite.makepyfile("import os, pytest\n@pytest.mark.lateral\ndef test_killed(): os._exit(9)")
    suite.makeconftest(ANY_MACHINE)
    result = suite.runpytest_subprocess("-m", "lateral", "--lateral-policies", "none", "-k", "test_killed")
    assert result.ret == 9
    assert not list((suite.path / "reports").iterdir())


def test_terminal(suite: pytest.Pytester) -> None:
    """The terminal shows progress as it comes, and each violation once, in the summary alone."""
    result = run(suite, assessment=f"odd={{'{ROGUE}': {{ENFORCED: Outcome.OPEN}}}}, note='a made-up cluster'")
    output = result.stdout.str()
    assert "  measured at once\n" in output
    assert output.count("EXPOSED") == 0
    assert output.count("rogue.default to user-db.sock-shop:27017/TCP") == 1
    assert "FAILURES" not in output
    assert "short test summary" not in output
    result.stdout.fnmatch_lines(
        [
            "a made-up cluster",
            "still open under the policies (1):",
            "  rogue.default to user-db.sock-shop:27017/TCP: open before, still open 1.2 s after the policies",
            "*warning: this path is intended*",
            "357 flows: 315 contained, 1 exposed, 41 preserved, 0 disrupted, 0 unproven; policies in force*",
            "JUnit: reports/junit.xml",
            "*1 failed, 73 passed*",
        ]
    )


def test_terminal_verbose(suite: pytest.Pytester) -> None:
    """-v shows the verdict of each item, and -vv pytest's own sections too."""
    odd = f"odd={{'{ROGUE}': {{ENFORCED: Outcome.OPEN}}}}"
    result = run(suite, "-v", assessment=odd)
    result.stdout.fnmatch_lines([f"*::test_enforced[[]DENY-{ROGUE}[]] EXPOSED*"])
    result.stdout.fnmatch_lines([f"*::test_enforced[[]ALLOW-{USER}[]] PRESERVED*"])
    assert "FAILURES" not in result.stdout.str()
    assert "= FAILURES =" in run(suite, "-vv", assessment=odd).stdout.str()


def test_terminal_quiet(suite: pytest.Pytester) -> None:
    """-q leaves the progress out and keeps the summary."""
    result = run(suite, "-q")
    assert "measured at once" not in result.stdout.str()
    result.stdout.fnmatch_lines(["357 flows: *"])


def test_measurement_that_fails(suite: pytest.Pytester) -> None:
    """An error of ours in the measurement is told once; every case is an error, and nothing is called violated."""
    suite.makeconftest("""
        import pytest
        from lateral.errors import ClusterError

        @pytest.fixture(scope="session")
        def lateral_assessment():
            raise ClusterError("the API refused the namespace sock-shop: it exists")
    """)
    result = suite.runpytest("-m", "lateral", "--lateral-policies", "none", "-k", "user-db")
    assert result.ret == 10
    result.assert_outcomes(errors=74, deselected=677)
    assert result.stdout.str().count("the API refused the namespace sock-shop") == 1
    assert all(case.find("error") is not None for case in cases(suite).values())


def test_bug_in_the_measurement(suite: pytest.Pytester) -> None:
    """Another exception keeps its traceback, once."""
    suite.makeconftest("""
        import pytest

        @pytest.fixture(scope="session")
        def lateral_assessment():
            return {}["no such key"]
    """)
    result = suite.runpytest("-m", "lateral", "--lateral-policies", "none", "-k", "user-db")
    assert result.ret == 10
    assert result.stdout.str().count('return {}["no such key"]') == 1


def test_interrupted(suite: pytest.Pytester) -> None:
    """Ctrl-C keeps pytest's status, lets context managers clean up, and the report says that it isn't whole."""
    suite.makeconftest(f"""{ANY_MACHINE}
        @pytest.fixture(scope="session")
        def lateral_cluster():
            yield
            print("cluster ended")

        @pytest.fixture(scope="session")
        def lateral_assessment(lateral_cluster):
            raise KeyboardInterrupt

        def pytest_runtest_setup(item):
            if item.name.startswith("test_enforced"):
                raise KeyboardInterrupt
    """)
    suite.makepyfile("import pytest\n@pytest.mark.lateral\ndef test_one(): pass")
    arguments = ("-m", "lateral", "--lateral-policies", "none", "-k", f"test_one or {ROGUE}", "-s")
    result = suite.runpytest_subprocess("test_interrupted.py", "conformance", *arguments)
    assert result.ret == 2
    result.stdout.fnmatch_lines(["*cluster ended*"])
    error = cases(suite)["lateral.run.complete", "the run is complete"].find("error")
    assert error is not None
    assert error.get("message") == "the run ended early: 1 of 3 tests ran"


def test_other_failures_count(suite: pytest.Pytester) -> None:
    """Beside something unproven, a failure of another test is still a failure; so is one of the user's own claims."""
    suite.makepyfile("def test_other(): assert False, 'another matter'")
    result = run(suite, assessment=f"odd={{'{ROGUE}': {{ENFORCED: Outcome.REFUSED}}}}", selected=ROGUE)
    assert result.ret == 10
    result = suite.runpytest("--lateral-policies", "none", "-k", f"test_other or {ROGUE}")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*another matter*"])


SKIPPING = """
    def pytest_collection_modifyitems(items):
        for item in items:
            if "test_enforced[DENY" in item.name:
                item.add_marker(pytest.mark.{mark}(reason="not now"))
"""


def test_a_pass_that_must_be_a_failure_fails(suite: pytest.Pytester) -> None:
    """Who marks what is known to be open as failing, strictly, is told when it no longer is."""
    strict = SKIPPING.replace("{mark}", "xfail").replace("reason=", "strict=True, reason=")
    suite.makeconftest(CONFTEST.replace("{arguments}", "") + strict)
    result = suite.runpytest("-m", "lateral", "--lateral-policies", "none", "-k", ROGUE)
    assert result.ret == 1
    failure = cases(suite)[ENFORCED_CASE].find("failure")
    assert failure is not None
    assert "XPASS(strict)" in failure.get("message", "")


@pytest.mark.parametrize("mark", ["skip", "xfail"])
@pytest.mark.parametrize(("outcome", "status"), [("DROPPED", 10), ("OPEN", 1)])
def test_a_skip_is_no_pass(suite: pytest.Pytester, mark: str, outcome: str, status: int) -> None:
    """A verdict that a marker hides is an error in the report, and a violation is one all the same."""
    if (mark, outcome) == ("xfail", "DROPPED"):
        outcome = "REFUSED"
    odd = f"odd={{'{ROGUE}': {{ENFORCED: Outcome.{outcome}}}}}"
    suite.makeconftest(CONFTEST.replace("{arguments}", odd) + SKIPPING.replace("{mark}", mark))
    result = suite.runpytest("-m", "lateral", "--lateral-policies", "none", "-k", ROGUE)
    assert result.ret == status
    error = cases(suite)[ENFORCED_CASE].find("error")
    assert error is not None
    assert error.get("message", "").startswith(f"UNPROVEN DENY {ROGUE}: skipped: ")
    assert error.get("message", "").endswith("not now")
    result.stdout.fnmatch_lines(
        ["*speaks of the 0 flows*", "1 tests were skipped or kept from running: nothing is proven by that"]
    )


ALLOW = "--lateral-allow-unenforced"
UNENFORCED = f"odd={{'{ROGUE}': {{ENFORCED: Outcome.OPEN}}}}, enforcement=IGNORED"
PASSED_OVER = "not enforced: allowed by --lateral-allow-unenforced"


def test_a_cluster_that_may_enforce_nothing(suite: pytest.Pytester) -> None:
    """What fails of that alone is skipped, with the reason and what was seen; the verdict stays what it is."""
    selected = f"{ROGUE} or {USER} or test_cluster_enforces_policies"
    result = run(suite, ALLOW, "--lateral-policies", "kubernetes", "-rs", assessment=UNENFORCED, selected=selected)
    assert result.ret == 0
    result.assert_outcomes(passed=2, skipped=3, deselected=746)
    result.stdout.fnmatch_lines(
        [
            f"SKIPPED [[]2[]] *: {PASSED_OVER}",
            "this cluster does not enforce NetworkPolicy: the canary was still open after 30 s",
            f"allowed by {ALLOW}: what fails of that alone is skipped, and nothing is contained or preserved by it",
            "357 flows: *, 1 exposed, 0 preserved, *",
            "the exit status speaks of the 0 flows that were selected, not of all 357",
            f"3 tests were skipped, {PASSED_OVER}: nothing is proven by that",
        ]
    )
    case = cases(suite)[ENFORCED_CASE]
    [skipped] = case.iter("skipped")
    assert skipped.get("message") == PASSED_OVER
    assert (case.findtext("system-out") or "").startswith("EXPOSED rogue.default to user-db")
    assert properties(case)["lateral.verdict"] == "EXPOSED"
    [whole] = parse(suite.path / "reports" / "junit.xml").iter("testsuite")
    assert (whole.get("failures"), whole.get("errors"), whole.get("skipped")) == ("0", "0", "3")
    assert properties(whole)["lateral.allowance"].startswith(f"allowed by {ALLOW}")


@pytest.mark.parametrize("mark", ["skip", "xfail"])
def test_an_allowance_excuses_no_skip_of_ones_own(suite: pytest.Pytester, mark: str) -> None:
    """What a marker keeps from running, or expects to fail, is an error as ever."""
    odd = "enforcement=IGNORED"
    suite.makeconftest(CONFTEST.replace("{arguments}", odd) + SKIPPING.replace("{mark}", mark))
    result = suite.runpytest("-m", "lateral", ALLOW, "-k", ROGUE)
    assert result.ret == 10
    assert cases(suite)[ENFORCED_CASE].find("error") is not None


@pytest.mark.parametrize(
    ("options", "assessment", "status"),
    [
        pytest.param([ALLOW], f"odd={{'{ROGUE}': {{ENFORCED: Outcome.OPEN}}}}", 1, id="enforced, and exposed"),
        pytest.param([ALLOW, "--lateral-policies", "none"], f"{UNENFORCED}, policies='none'", 1, id="no policies"),
        pytest.param(
            [ALLOW], UNENFORCED.replace("IGNORED", "replace(IGNORED, ignored=False)"), 1, id="not shown to ignore any"
        ),
        pytest.param([ALLOW, "-x"], UNENFORCED, 0, id="skips end nothing"),
        pytest.param([], UNENFORCED, 1, id="not allowed"),
    ],
)
def test_what_is_allowed_and_no_more(
    suite: pytest.Pytester, options: Sequence[str], assessment: str, status: int
) -> None:
    suite.makeconftest(
        CONFTEST.replace("{arguments}", assessment).replace(
            "import pytest\n", "import pytest\n    from dataclasses import replace\n", 1
        )
    )
    assert suite.runpytest("-m", "lateral", "-k", f"{ROGUE} and test_enforced", *options).ret == status


def test_what_did_not_run_is_no_pass(suite: pytest.Pytester) -> None:
    """Where pytest sets tests up and doesn't call them, the report says so."""
    assert run(suite, "--setup-only", selected=ROGUE).ret == 10
    assert {case.find("error").get("message", "").rpartition(": ")[2] for case in cases(suite).values()} == {  # type: ignore[union-attr]
        "the test did not run"
    }


def test_a_run_that_stops_early_knows_of_violations(suite: pytest.Pytester) -> None:
    """-x at something unproven doesn't hide the violation of a selected test that never came."""
    odd = f"odd={{'{ROGUE}': {{BASELINE: Outcome.DROPPED, ENFORCED: Outcome.OPEN}}}}"
    assert run(suite, "-x", assessment=odd, selected=ROGUE).ret == 1
    assert run(suite, "-x", assessment=odd, selected=f"{ROGUE} and test_baseline").ret == 10


RERUN = """
    import pytest
    from _pytest.runner import runtestprotocol

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(item, nextitem):
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        if any(report.failed for report in reports):
            item._initrequest()
            reports = runtestprotocol(item, nextitem=nextitem, log=False)
        for report in reports:
            item.ihook.pytest_runtest_logreport(report=report)
        return True
"""


def test_reruns(suite: pytest.Pytester) -> None:
    """Where another plugin runs failed tests again, each counts once."""
    suite.makeconftest(CONFTEST.replace("{arguments}", f"odd={{'{ROGUE}': {{ENFORCED: Outcome.REFUSED}}}}") + RERUN)
    arguments = ("-m", "lateral", "--lateral-policies", "none", "-k", ROGUE)
    result = suite.runpytest(*arguments)
    result.assert_outcomes(passed=1, errors=1, deselected=result.parseoutcomes()["deselected"])
    assert result.ret == 10
    [error] = parse(suite.path / "reports" / "junit.xml").iter("error")
    assert (error.text or "").count("UNPROVEN") == 1


def test_tutorial(suite: pytest.Pytester) -> None:
    """-m tutorial takes the tutorial's story alone: rogue and user at user-db, the loot, the journey and the canary."""
    suite.makeconftest(CONFTEST.replace("{arguments}", ""))
    result = suite.runpytest("-m", "tutorial", "-v", "--lateral-policies", "none")
    result.assert_outcomes(passed=32, deselected=719)
    result.stdout.fnmatch_lines(
        [
            f"*::test_enforced[[]DENY-{ROGUE}[]] CONTAINED*",
            "the exit status speaks of the 2 flows that were selected, not of all 357",
        ]
    )


@pytest.mark.parametrize(
    ("loot", "status", "message"),
    [
        pytest.param(
            "LOOT[:1] + (replace(LOOT[0], phase=ENFORCED),)", 1, "EXPOSED loot: under the policies", id="kept"
        ),
        pytest.param(
            "(replace(LOOT[0], outcome=Outcome.DROPPED), LOOT[1])",
            10,
            "UNPROVEN loot: not taken before",
            id="never had",
        ),
        pytest.param("()", 10, "UNPROVEN loot: not taken before the policies (never tried)", id="never tried"),
        pytest.param("LOOT[:1]", 10, "UNPROVEN loot: not tried on the same paths", id="not tried again"),
        pytest.param("(replace(LOOT[0], cards=0), LOOT[1])", 10, "UNPROVEN loot: not taken before", id="none there"),
        pytest.param(
            "(LOOT[0], replace(LOOT[1], outcome=Outcome.INCONCLUSIVE, detail='the relay said nothing'))",
            10,
            "UNPROVEN loot: under the policies rogue.default by mongo user-db.sock-shop:27017: nothing (the relay said",
            id="the relay failed",
        ),
        pytest.param(
            "(LOOT[0], replace(LOOT[1], outcome=Outcome.REFUSED, detail='ECONNREFUSED'))",
            10,
            "UNPROVEN loot: under the policies rogue.default by mongo user-db.sock-shop:27017: nothing (ECONNREFUSED): "
            "the path is closed in another way",
            id="refused where the path drops",
        ),
        pytest.param(
            f"LOOT, odd={{'{ROGUE}': {{RESTORED: Outcome.DROPPED}}}}",
            10,
            "UNPROVEN loot: UNPROVEN rogue.default to user-db.sock-shop:27017/TCP: DROPPED",
            id="its path isn't contained",
        ),
        pytest.param(
            "(replace(LOOT[0], outcome=Outcome.INCONCLUSIVE, cards=0), replace(LOOT[0], phase=ENFORCED))",
            1,
            "EXPOSED loot: under the policies",
            id="taken only under the policies",
        ),
        pytest.param(
            "(LOOT[0], replace(LOOT[0], phase=ENFORCED)), "
            "enforcement=replace(IN_FORCE, proven=False, disturbed=True, detail='a policy was removed')",
            10,
            "UNPROVEN loot: under the policies rogue.default by mongo user-db.sock-shop:27017: 1 card",
            id="taken while somebody changed the policies",
        ),
    ],
)
def test_loot(suite: pytest.Pytester, loot: str, status: int, message: str) -> None:
    """Cards that are still read under the policies are a violation; cards that never were prove nothing."""
    suite.makeconftest(
        CONFTEST.replace("loot=LOOT, {arguments}", f"loot={loot}").replace(
            "import pytest\n", "import pytest\n    from dataclasses import replace\n", 1
        )
    )
    result = suite.runpytest("-m", "lateral", "--lateral-policies", "none", "-k", "rogue_reads_nothing")
    assert result.ret == status
    outcome = next(
        iter(cases(suite)["lateral.enforced.loot", "rogue reads nothing"].iter("failure" if status == 1 else "error"))
    )
    assert outcome.get("message", "").startswith(message)


def test_loot_that_is_refused_as_its_path_is(suite: pytest.Pytester) -> None:
    """An engine that rejects keeps the cards as safe as one that drops."""
    refused = (
        "loot=(LOOT[0], replace(LOOT[1], outcome=Outcome.REFUSED, detail='ECONNREFUSED')),"
        f"odd={{'{ROGUE}': {{ENFORCED: Outcome.REFUSED}}}}, enforcement=REJECTING"
    )
    suite.makeconftest(
        CONFTEST.replace("loot=LOOT, {arguments}", refused).replace(
            "import pytest\n", "import pytest\n    from dataclasses import replace\n", 1
        )
    )
    assert suite.runpytest("-m", "lateral", "-k", "rogue_reads_nothing").ret == 0


@pytest.mark.parametrize("loot", ["()", "(replace(LOOT[3], outcome=Outcome.INCONCLUSIVE),)"])
def test_an_entry_point_of_which_nothing_is_known_is_an_error(suite: pytest.Pytester, loot: str) -> None:
    """To be on record takes something that was tried."""
    suite.makeconftest(
        CONFTEST.replace("loot=LOOT, {arguments}", f"loot={loot}").replace(
            "import pytest\n", "import pytest\n    from dataclasses import replace\n", 1
        )
    )
    assert suite.runpytest("-m", "lateral", "-k", "entry_point").ret == 10


def test_entry_point_is_on_record(suite: pytest.Pytester) -> None:
    """Cards read through the public entry point pass, with a warning in the report."""
    assert run(suite, selected="entry_point").ret == 0
    output = cases(suite)["lateral.enforced.loot", "cards by the entry point"].findtext("system-out") or ""
    assert output.startswith("warning: rogue.default by GET front-end.sock-shop:80/cards: 4 cards")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--lateral-policies", "no-such-set"], "*no-such-set*"),
        (["--lateral-policies", "no/such/file.yaml"], "*no/such/file.yaml*"),
        (
            ["--lateral-policies", ""],
            "ERROR: '' is neither a known policy set (kubernetes, tutorial, none) nor a file*",
        ),
        (["--lateral-app", "no-such-shop"], "ERROR: topology no-such-shop can't be read*a packaged name such as*"),
        (["--lateral-app", "no/such/shop.yaml"], "ERROR: topology no/such/shop.yaml can't be read*"),
        (["--lateral-cluster", "cloud"], "*invalid choice: 'cloud'*"),
        (["--lateral-settle", "0"], "*expected a number of seconds above 0, found '0'*"),
        (["--lateral-settle", "soon"], "*expected a number of seconds, found 'soon'*"),
        (["--lateral-reports", "/proc/nowhere"], "*reports can't be written to /proc/nowhere*"),
        (["--lateral-window", "-1"], "*expected a number of seconds, found '-1'*"),
        (["--lateral-toleration", "a:Never"], "*--lateral-toleration: 'a:Never': the effect 'Never' is none of *"),
        (
            ["--lateral-node-selector", "a=1", "--lateral-node-selector", "b"],
            "*--lateral-node-selector: 'b': *KEY=VALUE*",
        ),
        (
            ["--lateral-image-pull-secret", "No Name"],
            "*--lateral-image-pull-secret: 'No Name': expected a Secret*",
        ),
        (["--lateral-registry", "https://r.example"], "*--lateral-registry: 'https://r.example': expected HOST*"),
        (["--lateral-concurrency", "0"], "*expected a number above 0, found '0'*"),
        (["--lateral-footholds", "every"], "*expected a number above 0 or all, found 'every'*"),
        (["--lateral-lease-wait", "long"], "*expected a number of seconds, found 'long'*"),
    ],
)
def test_bad_configuration(suite: pytest.Pytester, options: Sequence[str], message: str) -> None:
    """What can't be done as asked ends with status 4 and one message, before anything is measured."""
    (suite.path / "reports").mkdir()
    (suite.path / "reports" / "junit.xml").write_text("stale")
    result = run(suite, *options, selected=ROGUE)
    typed = {
        "--lateral-cluster",
        "--lateral-settle",
        "--lateral-window",
        "--lateral-lease-wait",
        "--lateral-concurrency",
        "--lateral-footholds",
    }
    refused_by_pytest = bool(typed & set(options))
    assert (suite.path / "reports" / "junit.xml").exists() == (refused_by_pytest or "--lateral-reports" in options)
    assert result.ret == 4
    result.stderr.fnmatch_lines([message])
    assert "measured at once" not in result.stdout.str()
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


THERE = (
    *("--lateral-cluster", "attach", "--lateral-kubeconfig", "config", "--lateral-context", "prod"),
    "--lateral-existing-app",
)


def kubeconfig(suite: pytest.Pytester) -> None:
    """A file of two contexts, of which nobody knows where they lead."""
    contexts = [{"name": one, "context": {"cluster": one}} for one in ("prod", "stage")]
    config = {"kind": "Config", "contexts": contexts, "current-context": "prod"}
    (suite.path / "config").write_text(json.dumps(config))


OWN = """
application: depot
namespace: depot
manifests: .
workloads:
  - {name: web, labels: {app: web}, ports: [{port: 80, speaks: http}]}
  - {name: db, namespace: vaults, labels: {app: db}, ports: [{port: 5432, speaks: postgres}]}
intended: [{from: web, to: db, port: 5432, reason: reads}]
zones: {cde: [db]}
zoneRules: [{deny: {from: out-of-scope, to: cde}, except: [{from: web, to: db, port: 5432}]}]
"""


@pytest.mark.parametrize(
    ("policies", "message"),
    [
        ("kubernetes", "*the policies kubernetes are sock-shop's: give the file or folder of shop's own*"),
        ("none", "*no manifests of shop are known*name their folder in its topology*"),
    ],
)
def test_what_an_application_of_ones_own_needs(suite: pytest.Pytester, policies: str, message: str) -> None:
    """Policies of its own, and its manifests."""
    options = ("--lateral-app", "example", "--lateral-policies", policies)
    result = run(suite, *options, selected="rogue.default-to-web.shop:80/TCP")
    assert result.ret == 4
    result.stderr.fnmatch_lines([message])
    assert "measured at once" not in result.stdout.str()


def test_an_application_of_ones_own(suite: pytest.Pytester) -> None:
    """Its flows are the tests, and its zones are counted; the file's folder isn't taken for one to collect."""
    folder = suite.mkdir("elsewhere")
    (folder / "depot.yaml").write_text(OWN)
    result = run(suite, "--lateral-app", "elsewhere/depot.yaml", selected="")
    text = result.stdout.str()
    assert "rootdir: " + str(suite.path) + "\n" in text
    assert result.ret == 0
    assert "journey" not in text.partition("= lateral =")[0]
    assert "test_loot" not in text
    assert "zone cde: " in text
    names = {name for _, name in cases(suite)}
    assert "ALLOW web.depot-to-db.vaults:5432/TCP" in names
    assert "DENY rogue.vaults-to-db.vaults:5432/TCP" in names
    assert not [name for name in names if "sock-shop" in name]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--lateral-context", "prod"],
            "*--lateral-context is for --lateral-cluster attach, and this is lab: leave it out",
        ),
        (["--lateral-in-cluster"], "*--lateral-in-cluster is for --lateral-cluster attach*"),
        (
            ["--lateral-cluster", "attach", "--lateral-context", "prod", "--lateral-lab-fault", "leaky"],
            "*--lateral-lab-fault is for --lateral-cluster lab, and this is attach: leave it out",
        ),
        (
            ["--lateral-cluster", "attach", "--lateral-kubeconfig", "config"],
            "*attaching needs a context by name, never the current one: there are: prod, stage",
        ),
        (
            ["--lateral-cluster", "attach", "--lateral-kubeconfig", "config", "--lateral-context", "pord"],
            "*the kubeconfig has no context 'pord'; there are: prod, stage",
        ),
        (["--lateral-existing-app"], "*--lateral-existing-app is for --lateral-cluster attach: a new lab has no *"),
        (["--lateral-policies", "live"], "*--lateral-policies live are those that are there*--lateral-existing-app"),
        (["--lateral-apply-policies"], "*--lateral-apply-policies is for --lateral-existing-app: leave it out"),
        (
            [*THERE, "--lateral-policies", "kubernetes"],
            "*--lateral-policies kubernetes would be created in namespaces that aren't the run's: add --lateral-app*",
        ),
        (
            [*THERE, "--lateral-apply-policies", "--lateral-policies", "live"],
            "*--lateral-apply-policies needs a set to apply: add*",
        ),
        (
            ["--lateral-cluster", "attach", "--lateral-in-cluster", "--lateral-context", "prod"],
            "*the cluster of the pod needs no context and no kubeconfig*",
        ),
    ],
)
def test_a_cluster_that_isnt_clear(suite: pytest.Pytester, options: Sequence[str], message: str) -> None:
    """It is never guessed which cluster is meant: status 4, one line, nothing measured and nothing connected to."""
    kubeconfig(suite)
    result = run(suite, *options, selected=ROGUE)
    assert result.ret == 4
    result.stderr.fnmatch_lines([message])
    assert "measured at once" not in result.stdout.str()
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


def test_an_application_that_is_there(suite: pytest.Pytester) -> None:
    """Its tests are of what is: nothing is claimed of a before, of a journey through it or of what is in it."""
    kubeconfig(suite)
    suite.makeconftest(
        CONFTEST.replace("{arguments}", "proof=Proof.CONTROLS, policies='live', journeys={}, established=()").replace(
            "loot=LOOT, ", ""
        )
    )
    result = suite.runpytest("-m", "lateral", *THERE)
    assert result.ret == 0, result.stdout.str()[-2000:]
    text = result.stdout.str()
    for left_out in ("test_baseline", "test_journey", "test_loot", "test_established"):
        assert left_out not in text
    assert "before the policies" not in text
    result.stdout.fnmatch_lines(["357 flows: 316 contained, *(controls-only: what closed a path isn't shown)*"])
    found = cases(suite)
    assert not [name for name in found if "baseline" in name[0]]
    report = ElementTree.parse(suite.path / "reports" / "junit.xml")  # noqa: S314 - our own file
    properties = {one.get("name"): one.get("value") for one in report.iter("property")}
    assert properties["lateral.proof"] == "controls-only"


WITHOUT_PRIVILEGE = """
import os, sys
from lateral.lab import kernel

if not os.geteuid():
    kernel.drop_capabilities(())  # root reads what it may not
# In a process of its own: pytest wants to be the first to import what it is to rewrite.
os.execv(sys.executable, [sys.executable, "-m", "pytest", *sys.argv[1:]])
"""


@pytest.mark.parametrize("option", ["--lateral-policies", "--lateral-reports"])
@pytest.mark.parametrize("path", ["locked", "locked/inner"])
def test_folder_that_may_not_be_read(suite: pytest.Pytester, option: str, path: str) -> None:
    """It is told in one line, as anything else that can't be done as asked."""
    suite.makeconftest(ANY_MACHINE)
    locked = suite.mkdir("locked")
    locked.chmod(0)
    try:
        result = suite.run(sys.executable, "-c", WITHOUT_PRIVILEGE, "-m", "lateral", f"{option}={path}", "-k", ROGUE)
    finally:
        locked.chmod(0o700)
    assert result.ret == 4
    result.stderr.fnmatch_lines([f"ERROR: *{path}*Permission denied*"])
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


MEASURED = """
    import contextlib

    from lateral import run
    from lateral.cluster import Cluster
    from lateral.errors import ClusterError, ConfigurationError
    from lateral.model import ClusterFacts
    from lateral.providers import lab
    from suite.synthetic import IGNORED, IN_FORCE, LOOT, REJECTING, Outcome, Phase, assess, journey

    BASELINE, ENFORCED, RESTORED = Phase

    def exposed(topology):
        return {flow.id: {ENFORCED: Outcome.OPEN} for flow in topology.flows()}

    def measure(
        cluster, topology, policies, *, progress, left, settle, window, placement, guest, existing, concurrency,
        footholds,
    ):
        assert guest is None
        progress("measured at once")
        {trouble}
        return assess(topology.flows(), loot=LOOT, {arguments})

    lab.check = lambda fault: None
    cluster = Cluster(None, ClusterFacts("lab", "v1.32.0", "lab"))
    lab.lab = lambda fault, progress: contextlib.nullcontext(cluster)
    run.measure = measure
"""
"""A measurement that is made up, for whichever process measures."""


def told(suite: pytest.Pytester, result: pytest.RunResult) -> tuple[object, ...]:
    """What a run comes to: status, outcomes, the summary's last line, and the report without what changes by itself."""
    report = (suite.path / "reports" / "junit.xml").read_text()
    still = re.sub(r'(time|timestamp)="[^"]*"', "", report)
    [counts] = [line for line in result.outlines if "flows: " in line] or [""]
    outcomes = {outcome: count for outcome, count in result.parseoutcomes().items() if outcome != "deselected"}
    return result.ret, outcomes, counts, still


@pytest.mark.parametrize(
    ("arguments", "trouble", "status"),
    [
        pytest.param("", "", 0, id="all well"),
        pytest.param(f"odd={{'{ROGUE}': {{ENFORCED: Outcome.OPEN}}}}", "", 1, id="one exposed"),
        pytest.param(f"odd={{'{ROGUE}': {{ENFORCED: Outcome.REFUSED}}}}", "", 10, id="one unproven"),
        pytest.param("", "raise ClusterError('the API is gone')", 10, id="nothing measured"),
        pytest.param("enforcement=IGNORED, odd=exposed(topology)", "", 0, id="all unenforced, as is allowed"),
    ],
)
def test_distributed_as_in_one_process(suite: pytest.Pytester, arguments: str, trouble: str, status: int) -> None:
    """With workers the run measures once, and its verdicts, ids, exit status and report are those of one process."""
    suite.makeconftest(MEASURED.replace("{arguments}", arguments).replace("{trouble}", trouble))
    options = ("-m", "lateral", "--lateral-allow-unenforced", "-k", "user-db")
    alone = told(suite, suite.runpytest_subprocess(*options))
    shared = suite.runpytest_subprocess(*options, "-n", "2")
    assert told(suite, shared) == alone
    assert shared.ret == status
    assert shared.stdout.str().count("measured at once") == 1
    assert all(case.find("error") is not None for case in cases(suite).values()) == bool(trouble)


@pytest.mark.parametrize(("outcome", "status"), [("OPEN", 1), ("REFUSED", 10)])
@pytest.mark.parametrize("how", ["-x --dist load", "-x --dist worksteal", "--dist each", "--dist loadfile"])
def test_ways_to_distribute(suite: pytest.Pytester, how: str, outcome: str, status: int) -> None:
    """However tests are distributed, and wherever the run stops, its exit status is that of one process."""
    odd = f"odd={{'{ROGUE}': {{ENFORCED: Outcome.{outcome}}}}}"
    suite.makeconftest(MEASURED.replace("{arguments}", odd).replace("{trouble}", ""))
    options = ("-m", "lateral", "--lateral-policies", "none", "-k", ROGUE, "-n", "2", *how.split())
    result = suite.runpytest_subprocess(*options)
    assert result.ret == status
    assert cases(suite)[ENFORCED_CASE].find("failure" if status == 1 else "error") is not None


def test_distributed_configuration_error(suite: pytest.Pytester) -> None:
    """What can't be done as asked ends with status 4 where tests are distributed, too."""
    suite.makeconftest(MEASURED.replace("{arguments}", "").replace("{trouble}", "raise ConfigurationError('no, no')"))
    result = suite.runpytest_subprocess("-m", "lateral", "--lateral-policies", "none", "-k", ROGUE, "-n", "2")
    assert result.ret == 4
    assert "no, no" in result.stdout.str() + result.stderr.str()
    assert not (suite.path / "reports" / "junit.xml").exists()


def test_workers_without_the_suite_measure_nothing(suite: pytest.Pytester) -> None:
    """Where no test of the suite was selected, distributing costs no measurement."""
    suite.makeconftest(MEASURED.replace("{arguments}", "").replace("{trouble}", ""))
    suite.makepyfile(test_other="def test_other():\n    pass")
    result = suite.runpytest_subprocess("-n", "1", "test_other.py")
    result.assert_outcomes(passed=1)
    assert "measured at once" not in result.stdout.str()


def test_a_test_beside_the_suite_isnt_kept_waiting(suite: pytest.Pytester) -> None:
    """A worker's test that asks for what nobody measured is told so."""
    suite.makeconftest(MEASURED.replace("{arguments}", "").replace("{trouble}", ""))
    suite.makepyfile(test_other="def test_other(lateral_assessment):\n    pass")
    result = suite.runpytest_subprocess("-n", "1", "test_other.py")
    result.assert_outcomes(errors=1)
    assert "no test that is marked lateral was selected" in result.stdout.str()


def test_a_distributing_process_that_is_killed_leaves_no_file(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was measured is in no file, not even while the workers judge it."""
    suite.makeconftest(
        MEASURED.replace("{arguments}", "").replace("{trouble}", "")
        + """
    import os, signal

    import pytest

    @pytest.fixture(autouse=True)
    def deadly(lateral_findings):
        os.kill(os.getppid(), signal.SIGKILL)
    """
    )
    temporary = suite.mkdir("temporary")
    monkeypatch.setenv("TMPDIR", str(temporary))
    result = suite.runpytest_subprocess("-m", "lateral", "--lateral-policies", "none", "-k", ROGUE, "-n", "2")
    assert result.ret == -signal.SIGKILL
    assert "measured at once" in result.stdout.str()
    assert [path for path in temporary.iterdir() if not path.name.startswith("pytest-of-")] == []


@pytest.mark.parametrize("how", ["-n 1 --max-worker-restart 0", "-n 2", "-n 2 --dist each"])
def test_a_worker_that_dies_proves_nothing(suite: pytest.Pytester, how: str) -> None:
    """A test whose worker is gone is an error, and no violation; another worker's success doesn't mend it."""
    suite.makeconftest(
        MEASURED.replace("{arguments}", "").replace("{trouble}", "")
        + """
    import os, pathlib, signal

    import pytest

    @pytest.fixture(autouse=True)
    def deadly(request):
        died = pathlib.Path("died")
        if "test_enforced" in request.node.name and not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    """
    )
    options = ("-m", "lateral", "--lateral-policies", "none", "-k", ROGUE)
    result = suite.runpytest_subprocess(*options, *how.split())
    assert result.ret == 10
    assert cases(suite)[ENFORCED_CASE].find("error") is not None
    assert not list(parse(suite.path / "reports" / "junit.xml").iter("failure"))


def test_machine_that_allows_no_lab(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the provider misses is the message, and the fault that was asked for is the provider's to judge."""

    def check(fault: str | None) -> None:
        raise ConfigurationError(f"user namespaces are refused ({fault})")

    monkeypatch.setattr("lateral.providers.lab.check", check)
    result = run(suite, "--lateral-lab-fault", "ignore-policies", selected=ROGUE)
    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: user namespaces are refused (ignore-policies)"])


def test_what_only_the_cluster_refuses_ends_the_session(suite: pytest.Pytester) -> None:
    """It is told once and not as the error of every test, and it leaves no report that could pass for a measurement."""
    suite.makeconftest(
        ELSEWHERE
        + """
def measure(*_, **__):
    raise ConfigurationError("mine.yaml:1: no such protocol")
"""
    )
    result = suite.runpytest("-m", "lateral", "-k", ROGUE)
    assert result.ret == 4
    result.assert_outcomes()
    result.stdout.fnmatch_lines(["*Exit: mine.yaml:1: no such protocol*"])
    assert not (suite.path / "reports" / "junit.xml").exists()


@pytest.mark.parametrize(
    ("then", "status"),
    [
        ("return assess(topology.flows(), loot=LOOT)", 10),
        ("raise ClusterError('the API is gone')", 10),
        ("raise KeyboardInterrupt", 2),
    ],
)
def test_what_could_not_be_cleaned_up_is_told_in_the_end(suite: pytest.Pytester, then: str, status: int) -> None:
    """However the run ended, and to who wants no progress: something of it is in the cluster."""
    suite.makeconftest(
        ELSEWHERE
        + f"""
def measure(cluster, topology, *_, left, **__):
    left({LEFT!r})
    {then}
"""
    )
    result = suite.runpytest_subprocess(
        "-q", "-m", "lateral", "--lateral-policies", "none", "-k", f"{ROGUE} and enforced"
    )
    assert result.ret == status
    assert result.stdout.str().count(LEFT) == 1
    if status != 2:
        [told] = cases(suite)["lateral.run.clean_up", "nothing of the run is left in the cluster"]
        assert (told.tag, told.get("message")) == ("error", LEFT)


def test_nothing_selected_leaves_no_report(suite: pytest.Pytester) -> None:
    """An earlier run's report doesn't pass for that of one in which no test was selected."""
    (suite.path / "reports").mkdir()
    (suite.path / "reports" / "junit.xml").write_text("stale")
    assert run(suite, selected="no-such-test").ret == 5
    assert not list((suite.path / "reports").iterdir())


def test_trouble_is_told_without_its_traceback(suite: pytest.Pytester) -> None:
    """Formatting the same one for hundreds of tests takes minutes; debuggers and other plugins get the error itself."""
    suite.makeconftest("""
        import pytest
        from lateral.errors import ClusterError

        pytest_plugins = ["lateral.plugin"]
        formatted, handed = set(), set()

        @pytest.fixture(scope="session")
        def lateral_assessment():
            raise ClusterError("no answer")

        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_makereport(call):
            formatted.update([call.excinfo.typename] if call.excinfo else [])

        def pytest_exception_interact(call):
            handed.add(repr(call.excinfo.value))

        def pytest_unconfigure():
            print(f"{formatted=} {handed=}")
    """)
    result = suite.runpytest("-m", "lateral", "-k", ROGUE)
    assert result.ret == 10
    result.stdout.fnmatch_lines(["""formatted={'Failed'} handed={"ClusterError('no answer')"}"""])


def test_nothing_is_checked_for_other_tests(suite: pytest.Pytester) -> None:
    """A session without lateral items is left alone, whatever the options say; so is --collect-only."""
    suite.makepyfile("def test_other(): pass")
    result = run(suite, "--collect-only", "--lateral-policies", "no-such-set")
    assert result.ret == 0
    result = suite.runpytest("test_nothing_is_checked_for_other_tests.py", "--lateral-policies", "no-such-set")
    result.assert_outcomes(passed=1)
    assert "lateral =" not in result.stdout.str()
    assert not (suite.path / "reports").exists()


def test_installed_suite(suite: pytest.Pytester) -> None:
    """--pyargs lateral.conformance runs the same from any folder, with the markers known."""
    shutil.rmtree(suite.path / "conformance")
    suite.makeconftest(CONFTEST.replace("{arguments}", ""))
    arguments = ("-m", "lateral", "--lateral-policies", "none", "-k", ROGUE)
    result = suite.runpytest("--pyargs", "lateral.conformance", *arguments)
    result.assert_outcomes(passed=2, deselected=749)
    assert ENFORCED_CASE in cases(suite)
