"""Two users never see each other: files, processes, keys, and the system they stand on."""
import hashlib
import os
import re
import stat
from pathlib import Path

import pytest
from conftest import needs_sandbox
from stack import Stack, eventually

pytestmark = needs_sandbox


@pytest.fixture(scope="module", params=["as-we-are", "unprivileged"] if os.geteuid() == 0 else ["as-we-are"])
def sandboxed(request):
    """With bubblewrap, run by root and by a user without any privilege (whoever runs the tests, if that is not root)."""
    with Stack(user=65534 if request.param == "unprivileged" else None, local_sandbox="bwrap") as stack:
        yield stack



def test_two_users_never_share_an_instance(sandboxed, user, other):
    sandboxed.run(user, "echo secret > ~/mine.txt; echo secret > /tmp/mine.txt; echo secret > /var/tmp/mine.txt")
    assert sandboxed.run(other, "cat ~/mine.txt /tmp/mine.txt /var/tmp/mine.txt 2>/dev/null; ls -A /tmp") == ""
    one, two = sandboxed.tenant(user), sandboxed.tenant(other)
    assert one["instance_id"] != two["instance_id"]
    assert one["port"] != two["port"]
    routes = {route[3]: route for route in sandboxed.routes().values()}
    assert routes[one["instance_id"]][2] != routes[two["instance_id"]][2], "two users have one instance key"
    assert sandboxed.home(user) != sandboxed.home(other)
    assert (sandboxed.home(user) / "mine.txt").read_text() == "secret\n"


def test_a_user_sees_only_their_own_processes(sandboxed, user, other):
    sandboxed.request(other, "POST", "/execute", {"command": "sleep 4711"}).expect(200)
    eventually(lambda: sandboxed.commands("sleep 4711"), what="the other user's sleep")
    lines = sandboxed.run(user, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '; echo; ls -d /proc/[0-9]* | wc -l")
    assert "4711" not in lines.replace("cat /proc", ""), lines
    for name in ("terminals-", "haproxy"):
        assert name not in lines, lines
    assert int(lines.split()[-1]) < 10, lines


def test_a_user_cannot_signal_anothers_processes(sandboxed, user, other):
    sandboxed.run(other, "true")
    # They may well kill everything of their own, the instance included: their answer does not matter.
    sandboxed.execute(user, "for p in $(seq 2 3000); do kill -9 $p 2>/dev/null; done; kill -9 -1", wait=30)
    assert sandboxed.run(other, "echo alive") == "alive\n"


def test_home_is_where_users_expect_it(sandboxed, user):
    assert sandboxed.run(user, "echo $HOME; pwd; ls /home") == "/home/user\n/home/user\nuser\n"


def test_the_system_is_read_only(sandboxed, user):
    for folder in ("/usr", "/etc", "/bin", "/", "/lib", "/home"):
        answer = sandboxed.execute(user, f"touch {folder}/intruder-$$").expect(200).json()
        assert answer["exit_code"] != 0, f"{folder} is writable"
    assert not list(Path("/usr").glob("intruder-*")) + list(Path("/").glob("intruder-*"))


def test_etc_is_the_machines_without_its_secrets(sandboxed, user):
    seen = set(sandboxed.run(user, "ls -A /etc").split())
    assert not seen & {"shadow", "gshadow", "machine-id", "ssh", "sudoers", "environment", "profile.d", "gitconfig", "pip.conf"}, seen
    needed = {"hosts", "resolv.conf", "nsswitch.conf", "ld.so.cache"} & set(os.listdir("/etc"))
    assert needed | {"passwd", "group"} <= seen, seen
    for name in ("hosts", "resolv.conf", "nsswitch.conf", "localtime", "os-release", "services", "ssl/openssl.cnf"):
        outside = Path("/etc", name)
        if outside.exists():
            inside = sandboxed.run(user, f"sha256sum < /etc/{name}").split()[0]
            assert inside == hashlib.sha256(outside.read_bytes()).hexdigest(), name
    for name in ("alternatives", "ssl/certs"):
        if Path("/etc", name).exists():
            assert int(sandboxed.run(user, f"ls -A /etc/{name} | wc -l")) == len(os.listdir(Path("/etc", name))), name


def test_what_belongs_to_terminals_is_out_of_sight(sandboxed, user):
    folder = sandboxed.folder
    seen = sandboxed.run(user, f"ls -A {folder} {folder}/run {folder}/homes 2>/dev/null; "
                               f"cat {folder}/terminals.db {folder}/run/routes.map 2>/dev/null; true")
    assert seen == "", f"a user sees {seen!r}"
    environment = sandboxed.run(user, "cat /proc/1/environ /proc/self/environ 2>/dev/null | tr '\\0' '\\n'")
    assert sandboxed.key not in environment
    ours = [line for line in environment.splitlines() if line.startswith("TERMINALS_")]
    assert {line.split("=")[0] for line in ours} <= {"TERMINALS_INSTANCE"}, ours  # the mark by which it is recognized


def test_a_user_cannot_use_anothers_instance_from_inside(sandboxed, user, other):
    sandboxed.run(other, "echo theirs > ~/file.txt")
    port = sandboxed.tenant(other)["port"]
    fetch = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:{port}/files/read?path=file.txt').read())"
    answer = sandboxed.run(user, f'python3 -c "{fetch}" 2>&1 | tail -1')
    assert "theirs" not in answer
    assert "401" in answer or "refused" in answer, answer


def test_each_instance_has_namespaces_of_its_own(sandboxed, user, other):
    sandboxed.run(user, "true")
    sandboxed.run(other, "true")
    one, two = sandboxed.instance_pid(user), sandboxed.instance_pid(other)
    for kind in ("mnt", "pid", "ipc", "user"):
        spaces = {os.readlink(f"/proc/{pid}/ns/{kind}") for pid in (one, two, sandboxed.serve_pid)}
        assert len(spaces) == 3, f"{kind}: {spaces}"


def test_an_instance_has_no_privilege(sandboxed, user):
    status = sandboxed.run(user, "cat /proc/self/status")
    effective = int(re.search(r"CapEff:\s*(\w+)", status).group(1), 16)
    assert effective == 0, status
    assert "NoNewPrivs:\t1" in status
    pid = sandboxed.instance_pid(user)
    outside = Path(f"/proc/{pid}/status").read_text()
    assert re.search(r"CapEff:\s*0+\n", outside), outside


def test_home_and_run_folder_are_private(sandboxed, user):
    sandboxed.run(user, "true")
    for folder in (sandboxed.folder / "run", sandboxed.home(user)):
        assert stat.S_IMODE(folder.stat().st_mode) & 0o077 == 0, folder


def test_without_a_sandbox_it_says_so_loudly(fresh):
    stack = fresh(local_sandbox="none")
    assert re.search(r"(?i)warn.*isolat", stack.log()), stack.log()


def test_without_bubblewrap_it_says_so_loudly_and_serves(fresh, user, tmp_path):
    """`auto` on a machine without bwrap: a PATH that has everything but it."""
    for folder in ("/usr/sbin", "/usr/bin", "/sbin", "/bin"):
        for program in Path(folder).iterdir():
            link = tmp_path / program.name
            if program.name != "bwrap" and not link.is_symlink():
                link.symlink_to(program)
    stack = fresh(local_sandbox="auto", environment={"PATH": str(tmp_path)})
    assert re.search(r"(?i)warn.*isolat", stack.log()), stack.log()
    assert stack.run(user, "echo served") == "served\n"
