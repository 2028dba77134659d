"""The stack of docker-compose.yml, brought up from a clean copy of the tree on a real engine. (The main job is done against it
in test_main_job.py.)"""
import concurrent.futures
import contextlib
import http.client
import json
import os
import re
import ssl
import subprocess
from pathlib import Path

import docker_engine
import postgres_image
import pytest
from compose_stack import SERVICES, ComposeStack, docker, engine_environment
from ports import free_port
from stack import REPOSITORY, eventually, route_key
from test_readme import NOT_RUN, blocks

# It builds and runs the release, whatever TERMINALS_BIN is.
pytestmark = pytest.mark.release_only

MIB = 1 << 20


@pytest.fixture(scope="module")
def stack(images):
    """One for all who leave it as they find it. The key is generated, as at the first start of a newcomer's."""
    with ComposeStack(images, image=images.environment["INSTANCE_IMAGE"]) as running:
        yield running


def instance_of(stack, user):
    """What the engine says of a user's container."""
    return json.loads(docker("inspect", stack.tenant(user)["instance_name"]))[0]


def test_the_images_are_small(images):
    for name, limit in (("ORCHESTRATOR_IMAGE", 60), ("INSTANCE_IMAGE", 15)):
        size = int(docker("image", "inspect", "-f", "{{.Size}}", images.environment[name]))
        print(f"{name}: {size / MIB:.1f} MiB")
        assert size < limit * MIB


def test_the_request_of_the_readme_reaches_a_container_of_the_users_own(stack, user, other):
    answer = stack.request(user, "POST", "/terminals/execute?wait=5", {"command": "echo hello"}).expect(200).json()
    assert (answer["status"], answer["exit_code"]) == ("done", 0), answer
    assert "".join(part["data"] for part in answer["output"]) == "hello\r\n"
    assert stack.run(user, "id -un; pwd; echo mine > notes.txt") == "user\n/home/user\n"
    assert stack.run(other, "cat ~/notes.txt 2>/dev/null; true") == ""
    assert (stack.state / "homes" / user / "notes.txt").read_text() == "mine\n"
    assert instance_of(stack, user)["Id"] != instance_of(stack, other)["Id"]


def test_a_users_container_reaches_no_other(stack, user, other):
    """Over the network between them. HAProxy reaches both."""
    stack.run(other, "true")
    address, port = stack.routes()[route_key(other)][:2]
    look = "timeout 3 wget -q -O /dev/null http://{}:{}/health; echo $?"
    assert stack.run(user, look.format("127.0.0.1", 8000)) == "0\n", "it can look at all"
    assert stack.run(user, look.format(address, port)) != "0\n"
    assert stack.run(other, "echo fine") == "fine\n"


def test_a_shell_survives_a_restart_of_all_but_haproxy_and_gate(stack, user):
    with stack.shell(user) as shell:
        shell.send(b"x=still-here\n")
        for service in ("provisioner", "api", "cron"):
            stack.compose("restart", "-t", "5", service)
        stack.wait_healthy()
        shell.send(b"echo $x\n")
        shell.read_until(b"still-here")
    assert stack.run(user, "echo more") == "more\n"


def test_each_service_can_be_restarted_at_any_time_in_any_order(stack, user):
    stack.run(user, "true")
    before = instance_of(stack, user)["Id"]
    for service in ("haproxy", "gate", "provisioner", "api", "haproxy"):
        docker("kill", stack.container(service))
        docker("start", stack.container(service))
        eventually(lambda: stack.run(user, "echo back") == "back\n", 60, what=f"service after the death of {service}")
    stack.wait_healthy()
    eventually(lambda: len(stack.haproxy_map("identities")) == 1, 20, what="the key in HAProxy")
    assert instance_of(stack, user)["Id"] == before


def test_a_new_user_waits_for_services_that_are_being_restarted(stack, user):
    """All but HAProxy and gate, which hold the request."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        docker("stop", "-t", "5", stack.container("provisioner"), stack.container("api"))
        asked = pool.submit(stack.run, user, "echo served")
        docker("start", stack.container("api"), stack.container("provisioner"))
        assert asked.result() == "served\n"


def test_everything_comes_back_in_the_wrong_order(stack, user):
    """As after a reboot of the machine: the engine knows no depends_on."""
    stack.run(user, "echo kept > file")
    docker("stop", "-t", "5", *[stack.container(service) for service in SERVICES])
    for service in ("haproxy", "cron", "gate", "api", "provisioner"):
        docker("start", stack.container(service))
    stack.wait_healthy()
    assert stack.run(user, "cat file") == "kept\n"


def test_a_reload_of_haproxy_cuts_no_shell(stack, user):
    """How an administrator has a new haproxy.cfg or certificate taken."""
    with stack.shell(user) as shell:
        haproxy = stack.container("haproxy")
        stack.compose("kill", "-s", "USR2", "haproxy")
        eventually(lambda: docker("logs", haproxy).count("Loading success") > 1, 20, what="new workers")
        shell.send(b"echo $((6*7))\n")
        shell.read_until(b"42")
    assert stack.run(user, "echo new") == "new\n"
    eventually(lambda: route_key(user) in stack.haproxy_map("routes"), 20, what="the route in the new worker")
    assert stack.container("haproxy") == haproxy


def test_down_and_up_keeps_the_users_containers(stack, user):
    stack.run(user, "echo kept > /tmp/file")
    stack.compose("down", "-t", "5")
    assert list(stack.containers()), "they are nobody's of the compose file"
    stack.compose("up", "-d", "--no-build")
    stack.wait_healthy()
    assert stack.run(user, "cat /tmp/file") == "kept\n"


def test_an_upgrade_keeps_the_users_containers(stack, user):
    with stack.shell(user) as shell:
        before = instance_of(stack, user)["State"]["StartedAt"]
        # Another image of ours: the same with one more label.
        newer = f"terminals-compose-test:{stack.project}"
        docker("build", "-q", "-t", newer, "-",
               stdin=f"FROM {stack.images.environment['ORCHESTRATOR_IMAGE']}\nLABEL of={stack.project}\n")
        old = stack.container("provisioner")
        stack.extra_environment = {"ORCHESTRATOR_IMAGE": newer}
        stack.compose("up", "-d", "--no-build", "--no-deps", "provisioner", "api", "cron")
        assert stack.container("provisioner") != old
        stack.wait_healthy()
        shell.send(b"echo $((6*7))\n")
        shell.read_until(b"42")
    haproxy = stack.container("haproxy")
    stack.compose("up", "-d", "--no-build")  # the rest
    assert stack.container("haproxy") == haproxy, "HAProxy's image is the same as before"
    stack.wait_healthy()
    assert stack.run(user, "echo new") == "new\n"
    assert instance_of(stack, user)["State"]["StartedAt"] == before


def test_stop_and_start_by_the_administrator(stack, user):
    stack.run(user, "echo kept > file")
    assert stack.admin("POST", f"/tenants/{user}/stop").expect(200).json()["status"] == "stopped"
    assert stack.admin("POST", f"/tenants/{user}/start").expect(200).json()["status"] == "running"
    assert stack.run(user, "cat file") == "kept\n"
    stack.admin("DELETE", f"/tenants/{user}?purge=true").expect((200, 204))
    eventually(lambda: not (stack.state / "homes" / user).exists(), 20, what="the end of the user's folder")


def test_the_services_have_what_they_need_and_no_more(stack):
    sockets = {service for service in SERVICES
               if any(mount["Source"] == docker_engine.engine() for mount in stack.inspect(service)["Mounts"])}
    assert sockets == {"provisioner"}
    networks = {service: stack.inspect(service)["HostConfig"]["NetworkMode"] for service in SERVICES}
    assert networks == {"provisioner": "host", "gate": "host", "haproxy": "host", "api": "none", "cron": "none"}
    for service in SERVICES:
        config = stack.inspect(service)
        host = config["HostConfig"]
        assert host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"], service
        assert "no-new-privileges:true" in host["SecurityOpt"], service
        assert host["RestartPolicy"]["Name"] == "unless-stopped", service
        assert host["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "3"}, service
        assert (config["Config"]["User"] == "0:0") == (service == "provisioner"), service
        assert bool(host["CapAdd"]) == (service == "provisioner"), service
        # The files as the process itself sees them: nobody but the provisioner and api could read a key.
        pid = config["State"]["Pid"]
        assert (Path(f"/proc/{pid}/root/database").exists()) == (service == "provisioner"), service
        assert (Path(f"/proc/{pid}/root/secrets").exists()) == (service == "api"), service
        assert not [line for line in config["Config"]["Env"] if stack.key in line], service


def test_the_services_are_healthy_and_say_so(stack):
    checked = [service for service in SERVICES if service != "cron"]

    def all_healthy():
        found = {service: stack.inspect(service)["State"]["Health"]["Status"] for service in checked}
        assert set(found.values()) == {"healthy"}, found
        return True

    eventually(all_healthy, 120, what="health")
    # A check is of one process: it fails for none because another is away.
    docker("stop", "-t", "5", stack.container("provisioner"))
    for service, command in (("api", "terminals check api"), ("gate", "terminals check gate"),
                             ("haproxy", "/usr/share/terminals/check")):
        docker("exec", stack.container(service), *command.split())
    docker("start", stack.container("provisioner"))
    stack.wait_healthy()


def test_no_secret_is_in_a_log_or_on_a_command_line(stack):
    assert f"The key is in {stack.state}/api/api.key" in docker("logs", stack.container("init"))
    for service in (*SERVICES, "init"):
        assert stack.key not in docker("logs", stack.container(service)), service
    assert (stack.state / "api/api.key").stat().st_mode & 0o777 == 0o600
    for service in SERVICES:
        assert stack.key.encode() not in Path(f"/proc/{stack.inspect(service)['State']['Pid']}/cmdline").read_bytes()


def test_idle_instances_are_stopped_without_a_cron(images, user):
    with ComposeStack(images, image=images.environment["INSTANCE_IMAGE"], idle_timeout_seconds=1,
                      cleanup_interval_seconds=1, api_key="a-key-of-the-settings") as quick:
        quick.run(user, "echo kept > file")
        name = quick.tenant(user)["instance_name"]
        eventually(lambda: quick.tenant(user)["status"] == "stopped", 60, what="the stop of an idle instance")
        assert docker("ps", "-q", "--filter", f"name={name}") == ""
        assert quick.run(user, "cat file") == "kept\n"


def test_tls_with_a_certificate_of_the_administrators(images, tmp_path):
    with_tls = ComposeStack(images, image=images.environment["INSTANCE_IMAGE"], tls_cert="/tls/cert.pem")
    folder = with_tls.state / "tls"
    folder.mkdir(parents=True)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", "/CN=localhost", "-keyout", tmp_path / "key", "-out", tmp_path / "cert"], check=True,
                   stderr=subprocess.DEVNULL)
    certificate = folder / "cert.pem"
    certificate.write_text((tmp_path / "key").read_text() + (tmp_path / "cert").read_text())
    os.chown(certificate, 10001, 10001)
    certificate.chmod(0o600)
    try:
        with_tls.compose("up", "-d", "--no-build")
        trusted = ssl.create_default_context(cadata=(tmp_path / "cert").read_text())

        def healthy():
            connection = http.client.HTTPSConnection("localhost", with_tls.port, timeout=5, context=trusted)
            with contextlib.closing(connection):
                connection.request("GET", "/health")
                return connection.getresponse().status == 200

        eventually(healthy, 120, what="/health over TLS")
        docker("exec", with_tls.container("haproxy"), "/usr/share/terminals/check")
        docker("stop", "-t", "5", with_tls.container("gate"))
        docker("exec", with_tls.container("haproxy"), "/usr/share/terminals/check")
    finally:
        with_tls.kill_all()
        with_tls.remove()


def test_200_tenants_fit_in_100_mib(images):
    """The whole orchestrator. The tenants share one instance, so that it is our memory that counts and not the engine's."""
    port = free_port()
    instance = docker("run", "-d", "--rm", "-e", "OPEN_TERMINAL_API_KEY=shared", "--network", "host",
                      images.environment["INSTANCE_IMAGE"], "run", "--host", "127.0.0.1", "--port", str(port))
    try:
        with ComposeStack(images, backend="static", static_host="127.0.0.1", static_port=port,
                          static_api_key="shared") as many:
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                for answer in pool.map(lambda n: many.request(f"tenant-{n}", "GET", "/files/list"), range(200)):
                    answer.expect(200)
            assert len(many.tenants("?limit=1000")) == 200
            used = many.memory_bytes()
            print({service: f"{size / MIB:.1f} MiB" for service, size in used.items()})
            assert sum(used.values()) < 100 * MIB, used
    finally:
        docker("rm", "-f", instance, check=False)


def test_every_block_of_the_readme_works_when_pasted(images):
    """In order, in a clone, with nothing set but what keeps this test off other people's ports and folders."""
    new = ComposeStack(images)
    try:
        for block in blocks(of_docker=True):
            script = "\n".join(line for line in block.splitlines() if not NOT_RUN.match(line))
            script = script.replace("/var/lib/terminals", str(new.state)).replace("127.0.0.1:3000", f"127.0.0.1:{new.port}")
            environment = {**engine_environment(), **images.environment, **new.variables(),
                           "TERMINALS_IMAGE": images.environment["INSTANCE_IMAGE"]}
            done = subprocess.run(["sh", "-eu", "-c", script], cwd=images.tree, env=environment, capture_output=True, text=True,
                                  timeout=600, check=False)
            shown = f"{script}\n--- printed\n{done.stdout}\n{done.stderr}"
            assert done.returncode == 0, shown
            assert '{"detail"' not in done.stdout, shown
        assert len(new.containers()) == 1
    finally:
        new.kill_all()
        new.remove()


def test_the_profile_postgres_keeps_the_state_in_postgresql(images, user):
    image = postgres_image.make("terminals-compose-test-postgres:latest", engine_environment())
    with_postgres = ComposeStack(
        images, image=images.environment["INSTANCE_IMAGE"],
        database_url="postgresql://terminals@/terminals?host=/run/postgresql", database_password_file="/postgres-secret/password",
        encryption_key_file="/postgres-secret/encryption.key")
    with_postgres.extra_environment = {"POSTGRES_IMAGE": image, "COMPOSE_PROFILES": "postgres"}
    with with_postgres as stack:
        assert stack.run(user, "echo kept > file; echo hello") == "hello\n"
        secret = (stack.state / "postgres/secret/password").read_text().strip()
        ask = ["exec", "-e", f"PGPASSWORD={secret}", stack.container("postgres"), "psql", "-qAtX", "-h", "/var/run/postgresql",
               "-U", "terminals", "-c", "SELECT user_id, status FROM tenants"]
        assert docker(*ask) == f"{user}|running"
        ask[2] = "PGPASSWORD=another"
        assert "password authentication failed" in docker(*ask, check=False), "the socket alone is enough"
        assert not list((stack.state / "database").glob("*.db"))
        # It has no network, hence no port; its password is in a file of root's, and in no log and no configuration.
        host = stack.inspect("postgres")["HostConfig"]
        assert (host["NetworkMode"], host["PortBindings"], host["ReadonlyRootfs"]) == ("none", {}, True), host
        assert (stack.state / "postgres/secret/password").stat().st_mode & 0o777 == 0o600
        for service in ("postgres", "postgres-init", "provisioner"):
            assert secret not in docker("logs", stack.container(service)) + json.dumps(stack.inspect(service)), service
        eventually(lambda: stack.inspect("postgres")["State"]["Health"]["Status"] == "healthy", 120, what="a healthy PostgreSQL")
        # Restarted, it is found again, and who is hot meanwhile does not notice.
        stack.wait_hot(user)
        docker("restart", "-t", "20", stack.container("postgres"))
        assert stack.run(user, "cat file") == "kept\n"
        eventually(lambda: stack.admin("POST", f"/tenants/{user}/stop").expect(200), 60, what="the database again")
        # So is all, after `down` and `up`, in which it may be gone before the provisioner could give the lead away: that knows
        # itself again (test_nodes.py).
        assert (stack.state / "node/node.id").stat().st_mode & 0o777 == 0o600
        stack.compose("down", "-t", "20")
        stack.compose("up", "-d", "--no-build")
        stack.wait_healthy()
        eventually(lambda: stack.tenant(user)["status"] == "stopped", 60, what="the tenant as it was left")
        assert stack.run(user, "cat file") == "kept\n"


def test_without_the_profile_there_is_no_postgresql(stack):
    assert stack.container("provisioner") and not stack.container("postgres") and not stack.container("postgres-init")


def settings_by_reader():
    """The names of the settings that each process needs, from the table that says so."""
    table = (REPOSITORY / "common/settings_table.c").read_text()
    readers = {"api": "READER_API", "gate": "READER_GATE", "provisioner": "READER_PROVISIONER", "haproxy": "READER_HAPROXY"}
    everybody = "READER_API | READER_GATE | READER_PROVISIONER"
    for macro, reader in re.findall(r"^#define (\w+)\(name, field\).*?(READER_\w+)", table, re.MULTILINE | re.DOTALL):
        table = re.sub(rf"^    {macro}\((.*)\),$", rf"    {macro}(\1, {reader}),", table, flags=re.MULTILINE)
    wanted = {service: set() for service in readers}
    for kind, name, rest in re.findall(r"^    ([A-Z_]+)\(\"([A-Z_0-9]+)\",(.*?)\),$", table, re.MULTILINE | re.DOTALL):
        for service, reader in readers.items():
            if reader in rest.replace("EVERYBODY", everybody):
                wanted[service].add(name)
                if kind.startswith("SECRET"):
                    wanted[service].add(f"{name}_FILE")
    return wanted


def test_each_service_is_given_the_settings_it_needs(images):
    """All of them, or a line in `.env` would be without effect; and none of the others'. (The backends `local` and
    `kubernetes` have no use for Docker.)"""
    text = images.compose("config", environment={"STATE_DIR": "/srv/t"})
    given = {service: set(re.findall(r"^      TERMINALS_([A-Z_0-9]+):", part, re.MULTILINE))
             for service, part in re.findall(r"^  ([a-z-]+):\n(.*?)(?=^  [a-z]|^[a-z]|\Z)", text, re.MULTILINE | re.DOTALL)}
    aliases = set(re.findall(r'^    \{"([A-Z_]+)", "[A-Z_]+", \d+\}', (REPOSITORY / "common/settings_table.c").read_text(),
                             re.MULTILINE))
    for service, wanted in settings_by_reader().items():
        # The compose file says where the database is, unless the URL itself is given; its password may come from a file.
        wanted = {name for name in wanted if not name.startswith(("LOCAL_", "KUBERNETES_"))} - {"DATABASE_URL_FILE"}
        assert wanted <= given[service], (service, wanted - given[service])
        assert given[service] - aliases <= wanted, (service, given[service] - wanted)


def test_what_is_in_the_env_file_reaches_the_services(images):
    file = images.tree / ".env"
    file.write_text("TERMINALS_IDLE_TIMEOUT_SECONDS=77\nTERMINALS_PORT=3999\nSTATE_DIR=/srv/of-env\n")
    try:
        text = images.compose("config")
    finally:
        file.unlink()
    assert len(re.findall(r"TERMINALS_IDLE_TIMEOUT_SECONDS: ['\"]77['\"]", text)) == 1
    assert len(re.findall(r"TERMINALS_PORT: ['\"]3999['\"]", text)) == 2
    assert "/srv/of-env/homes" in text and "/var/lib/terminals" not in text
