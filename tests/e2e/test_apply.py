"""terminals apply: policies and lifecycles are what the files say."""
import json

import pytest
from stack import Stack


@pytest.fixture
def stack():
    with Stack(max_cpu="4") as running:
        (running.folder / "policies").mkdir()
        yield running


def write(stack, **files):
    for name, text in files.items():
        name = name.replace("_", ".")
        (stack.folder / "policies" / name).write_text(text if isinstance(text, str) else json.dumps(text))


def apply(stack, *flags, status=0):
    done = stack.terminals("apply", "-f", "policies", *flags)
    assert done.returncode == status, done
    return done


def policies(stack):
    return {policy["id"]: policy["data"] for policy in stack.admin("GET", "/policies").expect(200).json()}


def test_policies_become_what_the_files_say_and_a_second_time_nothing_changes(stack):
    write(stack, big_yaml="""# for those who compile
data:
  cpu_limit: "64"      # more than TERMINALS_MAX_CPU
  env: {EDITOR: vim, TOKEN: "s3cret"}
  idle_timeout_minutes: 5
  max_lifetime_minutes: 720
""", other_json={"id": "small", "data": {"team": {"lead": "x", "size": 3}}})
    stack.admin("POST", "/policies", json_body={"id": "small", "data": {"team": {"lead": "y"}}}).expect(201)
    stack.admin("POST", "/policies", json_body={"id": "byhand", "data": {}}).expect(201)
    dry = apply(stack, "--dry-run", status=3)
    assert "create big" in dry.stdout and "byhand" not in dry.stdout and "big" not in policies(stack)
    done = apply(stack)
    assert done.stdout.splitlines() == [
        "create big", '  + cpu_limit: "4"', "  + env.EDITOR: …", "  + env.TOKEN: …", "  + idle_timeout_minutes: 5",
        "  + max_lifetime_minutes: 720", "update small", '  - team.lead: "y"', '  + team.lead: "x"', "  + team.size: 3",
        "created=1 updated=1 deleted=0 unchanged=0 failed=0"]
    assert policies(stack) == {
        "default": {}, "byhand": {}, "small": {"team": {"lead": "x", "size": 3}},
        "big": {"cpu_limit": "4", "env": {"EDITOR": "vim", "TOKEN": "s3cret"}, "idle_timeout_minutes": 5,
                "max_lifetime_minutes": 720}}
    assert "s3cret" not in done.stdout + done.stderr + dry.stdout
    assert apply(stack).stdout == "created=0 updated=0 deleted=0 unchanged=2 failed=0\n"
    assert "created=0" in apply(stack, "--dry-run").stdout
    apply(stack, "--dry-run", "--prune", status=3)
    assert "byhand" in policies(stack)
    assert "delete byhand" in apply(stack, "--prune").stdout
    assert set(policies(stack)) == {"default", "big", "small"}


@pytest.mark.parametrize(("text", "said"), [
    ("data: [1, 2", "line 2:"), ("data:\n\tx: 1\n", "line 2:"), ("data: 7\n", "`data` must be an object"),
    ("data: {cpu_limit: a lot}\n", "`cpu_limit`"), ("dta: {}\n", "`dta`"), ("id: Big\ndata: {}\n", "policy"),
    ("data: {a: 1, a: 2}\n", "`a` comes twice"), ("data: {}\n---\ndata: {}\n", "second document"),
    ("data: !!python/object x\n", "tags"), ("data: &a {b: *a}\n", "nested"), ("- 1\n", "object"),
    ("id: good\ndata: {}\n", "is in"), ("x" * 300000, "bytes"), ("data: {lifecycle: {}}\n", "`lifecycle`"),
    ("data: {pre_stop: {command: x, timeout_seconds: 1.5}}\n", "`pre_stop.timeout_seconds`")],
    ids=lambda value: value[:30].replace("\n", " ").replace("\t", " "))
def test_a_bad_file_changes_nothing(stack, text, said):
    write(stack, bad_yaml=text, good_yaml="data: {idle_timeout_minutes: 1}\n")
    done = apply(stack, "--prune", status=2)
    assert said in done.stderr and "nothing was changed" in done.stderr, done
    assert policies(stack) == {"default": {}}


def test_what_cannot_be_done_is_said_and_the_rest_is_done(stack):
    stack.admin("POST", "/policies", json_body={"id": "used", "data": {}}).expect(201)
    stack.run("ann", "true", prefix="/p/used")
    write(stack, new_yaml="data: {idle_timeout_minutes: 1}\n")
    done = apply(stack, "--prune", status=1)
    assert "delete used: 1 instance of the policy `used` runs" in done.stderr
    assert done.stdout.endswith("created=1 updated=0 deleted=0 unchanged=0 failed=1\n")
    assert set(policies(stack)) == {"default", "used", "new"}
    stack.settings["api_key"] = "wrong"
    done = apply(stack, status=1)
    assert "Invalid API key" in done.stderr and "nothing was changed" in done.stderr
    assert stack.terminals("apply").returncode == 2
    done = stack.terminals("apply", "-f", "no-such-folder")
    assert done.returncode == 2 and "no-such-folder: No such file" in done.stderr


def test_it_can_talk_to_another_terminals(stack):
    write(stack, one_yml="data: {idle_timeout_minutes: 1}\n")
    stack.settings["run_dir"] = stack.folder / "elsewhere"
    assert apply(stack, status=1).stderr
    assert "create one" in apply(stack, "--url", f"http://127.0.0.1:{stack.port}/").stdout


def test_scheduled_resets_come_and_go_with_the_files(stack):
    def lifecycle():
        return stack.admin("GET", "/policies/big/lifecycle").expect(200).json()["reset"]

    write(stack, big_yaml='lifecycle: {reset: {schedule: "0 3 * * sun", timezone: Europe/Berlin}}\n')
    assert '  + lifecycle.reset.schedule: "0 3 * * sun"' in apply(stack).stdout
    assert lifecycle() == {"schedule": "0 3 * * sun", "timezone": "Europe/Berlin"}
    assert "unchanged=1" in apply(stack).stdout
    write(stack, big_yaml='lifecycle: {reset: {schedule: "@weekly"}}\n')
    assert "update big" in apply(stack).stdout and "unchanged=1" in apply(stack).stdout
    assert lifecycle() == {"schedule": "@weekly", "timezone": "UTC"}
    write(stack, big_yaml="data: {}\n")
    assert '  - lifecycle.reset.schedule: "@weekly"' in apply(stack).stdout and lifecycle() is None
    write(stack, big_yaml='lifecycle: {reset: {schedule: "at noon"}}\n')
    failed = apply(stack, status=1)
    assert "update big: lifecycle: " in failed.stderr and "failed=1" in failed.stdout
