"""The memory that lets a long run go on where it stopped, the lab, and its service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from clone import Play, Service
    from lab import Lab


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--remember", type=Path, metavar="FILE", help="leave out the cases that FILE names, and add those that pass")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    memory = config.getoption("remember")
    if not memory or not memory.exists():
        return
    done = set(memory.read_text().splitlines())
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in done])
    items[:] = [item for item in items if item.nodeid not in done]


class _Memory:
    def __init__(self, path: Path) -> None:
        self._path = path

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            with self._path.open("a") as stream:
                print(report.nodeid, file=stream)


def pytest_configure(config: pytest.Config) -> None:
    if memory := config.getoption("remember"):
        config.pluginmanager.register(_Memory(memory))


@pytest.fixture(scope="session")
def lab() -> Lab:
    """The lab's hosts, for cases that do to them what an operator, a cable or a power cut does."""
    from lab import Lab  # here, because ansible-test loads this file without the folder that the module lies in

    return Lab.of_this_machine()


@pytest.fixture(scope="session")
def serving() -> Service:
    """The service of the lab, brought up by the site unless it answers already."""
    from clone import Service, play  # here, as above

    service = Service.of()
    try:
        service.chat("Hello", max_tokens=1)
    except OSError:
        ended = play("site.yml", capture=True)
        assert ended.status == 0, ended.output
    return service


@pytest.fixture(scope="session")
def rendered(lab: Lab) -> Play:
    """The example of four P800 machines on the simulated lab, from bare hosts to rendered documents: the run that did it."""
    import p800  # here, as above

    p800.make_bare(lab)
    return p800.settle("site.yml", *p800.RENDERED)


@pytest.fixture
def bare(lab: Lab) -> None:
    """The simulated hosts as if just installed, with XPUs in them and no driver."""
    import p800  # here, as above

    p800.make_bare(lab)
