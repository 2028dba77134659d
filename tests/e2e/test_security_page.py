"""docs/security.md claims nothing without a test, and names none that is not there."""
import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def test_each_test_that_the_page_names_exists():
    page = (REPOSITORY / "docs/security.md").read_text()
    files = {path.name for path in REPOSITORY.glob("tests/**/*") if path.suffix in (".py", ".c")}
    functions = set()
    for path in [*REPOSITORY.glob("tests/e2e/test_*.py"), *REPOSITORY.glob("tests/unit/*/test_*.c")]:
        functions |= set(re.findall(r"^(?:static void|def) (test_\w+)\(", path.read_text(), re.M))
    named = set(re.findall(r"`(?:tests/\w+/)?((?:test|fuzz)_[\w.]+)`", page))
    assert len(named) > 60
    assert not named - files - functions, sorted(named - files - functions)
