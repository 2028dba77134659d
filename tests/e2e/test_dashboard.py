"""The admin page: how it is served, and what an admin does with it, in a real Chromium. (tests/e2e/browser/ drives that; run.mjs holds what each
of its scenarios expects besides: no breach of the page's policy, no request elsewhere.)"""
import base64
import gzip
import hashlib
import json
import re
import sqlite3
import subprocess
from pathlib import Path

import pytest

from stack import POSTGRES, REPOSITORY, SLOW

DASHBOARD = REPOSITORY / "dashboard"
MODULES = REPOSITORY / "build/browser/node_modules"  # from npm: `make browser-modules`
SCENARIOS = Path(__file__).parent / "browser"
WIRE_MAX_BYTES = 300_000


def drive(stack, scenario):
    """What a scenario printed. It fails with what the page showed."""
    assert MODULES.is_dir(), "playwright-core and axe-core are missing: run `make browser-modules`"
    given = {"base": f"http://127.0.0.1:{stack.port}", "key": stack.key, "patience": SLOW}
    done = subprocess.run(["node", str(SCENARIOS / "run.mjs"), scenario, json.dumps(given)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False, timeout=900)
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-8000:]
    return done.stdout


def page(stack, method="GET", path="/", headers=()):
    return stack.request(None, method, path, key=None, headers=headers)


# --- how it is served ---


def test_a_browser_gets_the_page_small_and_whole(stack):
    answer = page(stack, headers=[("Accept-Encoding", "gzip, br")]).expect(200)
    assert answer.header("content-encoding") == "gzip" and answer.header("content-type").startswith("text/html")
    assert len(answer.body) + sum(len(name) + len(value) + 4 for name, value in answer.headers) < WIRE_MAX_BYTES
    plain = page(stack).expect(200)
    assert gzip.decompress(answer.body) == plain.body
    assert b"</html>" in plain.body
    again = page(stack, headers=[("If-None-Match", answer.header("etag"))]).expect(304)
    assert again.body == b"" and answer.header("cache-control") == "no-cache"
    head = page(stack, "HEAD").expect(200)
    assert head.body == b"" and int(head.header("content-length")) == len(plain.body)


def test_the_pages_policy_lets_nothing_run_but_what_is_in_it(stack):
    answer = page(stack).expect(200)
    policies = [value for name, value in answer.headers if name == "content-security-policy"]
    assert len(policies) == 1
    directives = dict(directive.strip().partition(" ")[::2] for directive in policies[0].split(";"))

    def digest(tag):
        content, = re.findall(rf"<{tag}[^>]*>(.*?)</{tag}>".encode(), answer.body, re.DOTALL)
        return f"'sha256-{base64.b64encode(hashlib.sha256(content).digest()).decode()}'"

    # `'self'` would be every file of every instance: they share the origin.
    assert directives["script-src"] == digest("script")
    assert directives["style-src"] == digest("style")
    for name in ("default-src", "base-uri", "form-action", "frame-ancestors", "trusted-types"):
        assert directives[name] == "'none'", name
    assert directives["connect-src"] == "'self'" and directives["require-trusted-types-for"] == "'script'"
    assert answer.header("x-frame-options") == "DENY" and answer.header("cross-origin-opener-policy") == "same-origin"
    assert answer.header("referrer-policy") == "no-referrer" and answer.header("x-content-type-options") == "nosniff"


def test_only_the_path_itself_is_the_page_and_who_names_a_user_means_their_instance(stack, user):
    assert page(stack, path="/?from=mail").expect(200).header("content-type").startswith("text/html")
    for path in ("/terminals", "/terminals/", "/p/default/", "/index.html"):
        page(stack, path=path).expect_error(401)
    page(stack, "POST").expect_error(401)
    stack.request(None, "GET", "/").expect_error(422)  # a key, and no user
    stack.request(None, "GET", "/", key=None, headers=[("X-User-Id", user)]).expect_error(401)
    cold = stack.request(user, "GET", "/")
    stack.wait_hot(user)
    hot = stack.request(user, "GET", "/")
    assert "text/html" not in (cold.header("content-type") or "") and (cold.status, cold.body) == (hot.status, hot.body)


@pytest.mark.parametrize("settings", [{"enable_ui": False}, {"instance_sandbox": "off"}, {"instance_sandbox": "allow-scripts allow-same-origin"}],
                         ids=["turned off", "no sandbox", "instances keep the origin"])
def test_there_is_no_page_where_it_is_off_or_an_instance_could_act_as_it(fresh, settings):
    answer = page(fresh(**settings)).expect_error(404)
    assert answer.detail.startswith("The admin page is")


# --- what it is made of ---


def bundled():
    """The scripts in the order in which dashboard/bundle puts them together."""
    return re.search(r'^scripts="(.*?)"', (DASHBOARD / "bundle").read_text(), re.DOTALL | re.MULTILINE)[1].replace("\\\n", " ").split()


# `node --check` of many files in one process.
CHECK = 'for (const file of process.argv.slice(1)) new (require("vm").SourceTextModule)(require("fs").readFileSync(file, "utf8"), { identifier: file })'


@pytest.mark.release_only
def test_every_script_is_sound_and_part_of_the_page():
    scripts = list((DASHBOARD / "src").rglob("*.js"))
    done = subprocess.run(["node", "--no-warnings", "--experimental-vm-modules", "-e", CHECK, *map(str, [*scripts, *SCENARIOS.glob("*.mjs")])],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0 and not done.stdout, done.stdout
    assert sorted(bundled()) == sorted(str(path.relative_to(DASHBOARD / "src").with_suffix("")) for path in scripts)


@pytest.mark.release_only
def test_imports_name_what_is_exported_by_a_file_that_comes_before():
    """The bundle drops `import` lines and trusts them."""
    exported = {"xterm": {"Terminal"}, "addon-fit": {"FitAddon"}}
    for name in bundled():
        text = (DASHBOARD / "src" / f"{name}.js").read_text()
        for names, source in re.findall(r'^import \{ (.*?) \} from "\./?.*?([\w-]+)\.m?js";$', text, re.MULTILINE):
            missing = set(names.split(", ")) - exported.get(source, set())
            assert not missing, f"{name}.js imports {missing} from {source}"
        assert len(re.findall(r"^import ", text, re.MULTILINE)) == len(re.findall(r'^import \{ .*? \} from ".*?";$', text, re.MULTILINE)), name
        exported[name.split("/")[-1]] = set(re.findall(r"^export (?:async function|function|const|class) (\w+)", text, re.MULTILINE))
    everything = [one for names in exported.values() for one in names]
    assert len(everything) == len(set(everything))


# --- what an admin does with it ---


def test_an_admin_signs_in_watches_a_tenant_appear_works_in_its_terminal_and_reads_what_was_done(fresh):
    drive(fresh(), "journey")


@pytest.mark.release_only  # what the page asks for, other tests ask for too; the rest is Chromium's
def test_each_action_says_what_it_will_do_and_does_it(fresh):
    drive(fresh(), "actions")


@pytest.mark.release_only
def test_every_view_is_accessible_still_and_fits_a_phone(fresh):
    drive(fresh(), "accessible")


@pytest.mark.release_only
def test_trouble_is_said_and_passes_and_nobody_is_asked_unseen(fresh):
    drive(fresh(), "trouble")


def fill(database, count):
    """So many tenants, each tenth of a tenth of them failed."""
    with sqlite3.connect(database) as connection:
        connection.executemany(
            "INSERT INTO tenants (id, user_id, policy_id, context_id, route_key, instance_name, backend_type, status, error, created_at, updated_at,"
            " last_accessed_at) VALUES (?, ?, 'default', 'default', ?, ?, 'local', ?, ?, ?, ?, ?)",
            ((f"00000000-0000-4000-8000-{n:012d}", f"user-{n:06d}", hashlib.sha256(str(n).encode()).hexdigest().upper(), f"terminals-{n:012d}",
              "stopped" if n % 100 else "error", None if n % 100 else "the disk is full", 1_790_000_000_000 + n, 1_790_000_000_000 + n, 1_790_000_000_000 + n)
             for n in range(count)))


@pytest.mark.release_only
@pytest.mark.skipif(POSTGRES is not None, reason="it fills SQLite's file; test_tenants.py has the lists on both")
def test_a_hundred_thousand_tenants_are_found_sorted_and_paged(fresh):
    stack = fresh(start=False)
    stack.start().stop()  # which makes the tables
    fill(stack.folder / "terminals.db", 100_000)
    stack.start()
    drive(stack, "many")
