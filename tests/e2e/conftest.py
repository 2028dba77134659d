"""Fixtures of the end-to-end tests: a stack shared by tests that only look, and fresh ones for tests that break things."""
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))

from fake_instance import FakeInstance  # noqa: E402
from stack import Stack  # noqa: E402


def sandbox_works():
    """Whether bubblewrap can make its namespaces here."""
    if not shutil.which("bwrap"):
        return False
    return subprocess.run(["bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"], check=False,
                          capture_output=True).returncode == 0


SANDBOXES = [
    pytest.param("bwrap", marks=pytest.mark.skipif(not sandbox_works(), reason="bubblewrap does not work here")),
    "none",
]
needs_sandbox = pytest.mark.skipif(not sandbox_works(), reason="bubblewrap does not work here")


def pytest_configure(config):
    config.addinivalue_line("markers", "engine: uses the Docker engine (marked by its name, below)")
    config.addinivalue_line("markers", "release_only: measures something that a sanitizer changes, or tests nothing that it could see")


# Whose tests use the engine: its one network, images and containers are shared by what runs at the same time.
ENGINE_FILES = ("test_compose", "test_docker")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups, and -m the marker
def pytest_collection_modifyitems(items):
    """Several workers (`pytest -n`) share the tests by file, and the engine's are one worker's, who begins with them."""
    def uses_engine(item):
        return item.path.name.startswith(ENGINE_FILES) or item.name.partition("[")[2].startswith(("docker", "compose"))

    for item in items:
        if uses_engine(item):
            item.add_marker(pytest.mark.engine)
        item.add_marker(pytest.mark.xdist_group("engine" if uses_engine(item) else item.path.name))
    items.sort(key=lambda item: not uses_engine(item))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failing test shows the logs of its stacks."""
    report = (yield).get_result()
    if report.failed:
        for stack in Stack.current:
            report.sections.append((f"log of the stack in {stack.folder}", stack.log()))


def pytest_runtest_logfinish():
    Stack.current[:] = [stack for stack in Stack.current if not stack.removed]


@pytest.fixture(scope="session")
def stack():
    """One stack for everybody who only looks; users are the tests' own (fixture `user`)."""
    with Stack() as running:
        yield running


@pytest.fixture(scope="session")
def images():
    """The images of docker-compose.yml, built once."""
    from compose_stack import Images  # which needs an engine only when it is used

    built = Images()
    yield built
    built.remove()


@pytest.fixture
def fresh():
    """Makes stacks of this test's own: fresh(idle_timeout_seconds=2). start=False leaves starting to the test."""
    made = []

    def make(start=True, **settings):
        new = Stack(**settings)
        made.append(new)
        return new.start() if start else new

    yield make
    problems = []
    for one in reversed(made):
        try:
            one.stop()
        except AssertionError as problem:
            problems.append(f"{problem}\n{one.log()}")
        finally:
            one.kill_all()
            one.remove()
    assert not problems, "\n".join(problems)


_users = iter(range(1, 1 << 30))


@pytest.fixture
def user(request):
    """A user nobody else has."""
    return f"{request.node.originalname[5:45]}-{next(_users)}"


@pytest.fixture
def other(request):
    """Another one."""
    return f"other-{request.node.originalname[5:40]}-{next(_users)}"


@pytest.fixture
def fake():
    with FakeInstance() as instance:
        yield instance


@pytest.fixture
def static(fresh, fake):
    """A stack in front of the fake instance."""
    return fresh(backend="static", static_host="127.0.0.1", static_port=fake.port, static_api_key="key-of-the-instance")


def pytest_make_parametrize_id(val, argname):
    """A document is no name for a test."""
    return f"{argname} of {len(val)} bytes" if isinstance(val, bytes) and len(val) > 40 else None
