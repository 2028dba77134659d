"""What a policy says becomes what the kernel enforces: limits, image, environment and rights of a user's container."""
from pathlib import Path

import docker_engine
import pytest
from conftest import Stack
from stack import eventually

pytestmark = pytest.mark.release_only  # what is C in it is in the unit tests; the rest is the engine's and the kernel's


@pytest.fixture(scope="module")
def docker():
    with Stack(backend="docker") as stack:
        yield stack


_numbers = iter(range(1, 1000))


@pytest.fixture
def policy(docker):
    """Makes a policy, and a function that runs a command on it."""

    def make(**data):
        name = f"kind-{next(_numbers)}"
        docker.admin("POST", "/policies", json_body={"id": name, "data": data}).expect(201)
        return name

    return make


def cgroup_file(stack, name, controller, file):
    """A file of the container's control group, of version 1 or 2."""
    pid = stack.engine.inspect(name)["State"]["Pid"]
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return Path(f"/sys/fs/cgroup/{controller}{path}/{file[0]}").read_text().strip()
        if not controllers and Path(f"/sys/fs/cgroup{path}/{file[1]}").exists():
            return Path(f"/sys/fs/cgroup{path}/{file[1]}").read_text().strip()
    raise AssertionError(f"{name} is in no group of {controller}")


def test_limits_land_in_the_kernel(docker, policy, user):
    name = policy(cpu_limit="500m", memory_limit="64Mi", storage="1Gi", env={"GREETING": "good morning"})
    assert docker.run(user, "echo $GREETING", prefix=f"/p/{name}") == "good morning\n"
    container = docker.container(user, policy_id=name)
    assert container.endswith(f"-{name}")
    assert cgroup_file(docker, container, "memory", ("memory.limit_in_bytes", "memory.max")) == str(64 << 20)
    assert cgroup_file(docker, container, "pids", ("pids.max", "pids.max")) == "512"
    quota = cgroup_file(docker, container, "cpu", ("cpu.cfs_quota_us", "cpu.max")).split()[0]
    assert quota == "50000"
    # More memory than there is ends what asks for it, and nothing else.
    answer = docker.execute(user, "head -c 100000000 /dev/zero | tail -c 1; echo over", prefix=f"/p/{name}")
    assert answer.status in (200, 502, 503), answer.text
    eventually(lambda: docker.run(user, "echo here", prefix=f"/p/{name}") == "here\n", what="service")


def test_storage_that_cannot_be_limited_is_said_once_and_is_no_failure(docker, policy, user, other):
    name = policy(storage="1Gi")
    for person in (user, other):
        assert docker.run(person, "echo here", prefix=f"/p/{name}") == "here\n"
    limited = docker.engine.inspect(docker.container(user, policy_id=name))["HostConfig"].get("StorageOpt")
    assert docker.err().count("limits of storage are not enforced") == (0 if limited else 1)


def test_a_policys_image_is_what_runs(docker, policy, user):
    image = docker_engine.import_image(docker.engine.path, "terminals-test-kind",
                                       changes=(*docker_engine.CHANGES, "ENV KIND=of-the-policy"))
    name = policy(image=image)
    assert docker.run(user, "echo $KIND", prefix=f"/p/{name}") == "of-the-policy\n"
    assert docker.run(user, "echo $KIND") == "\n", "the default policy has it too"


def test_allowed_domains_bring_net_admin_within_reach_and_not_in_hand(docker, policy, user):
    name = policy(env={"OPEN_TERMINAL_ALLOWED_DOMAINS": "pypi.org"})
    lines = docker.run(user, "grep Cap /proc/self/status", prefix=f"/p/{name}").splitlines()
    status = dict(line.split(":\t") for line in lines)
    assert int(status["CapBnd"], 16) >> 12 & 1
    assert int(status["CapEff"], 16) == 0


def test_a_security_context_tightens_what_a_container_may_do(docker, policy, user):
    name = policy(container_security_context={
        "capabilities": {"drop": ["ALL"]}, "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
        "runAsUser": 4321, "runAsGroup": 4321})
    text = docker.run(user, "id -u; grep -e CapBnd -e NoNewPrivs /proc/self/status; touch /x 2>/dev/null || echo read-only; "
                            "touch ~/x /tmp/x && echo writable", prefix=f"/p/{name}")
    assert text == "4321\nCapBnd:\t0000000000000000\nNoNewPrivs:\t1\nread-only\nwritable\n"


def test_what_no_instance_gets_fails_and_says_so(docker, user):
    answer = docker.admin("POST", "/policies", json_body={
        "id": "too-much", "data": {"container_security_context": {"privileged": True}}})
    if answer.status == 201:
        answer = docker.execute(user, "true", prefix="/p/too-much")
        answer.expect_error(502)
    assert "privileged" in answer.detail, answer.text


def test_a_changed_policy_takes_effect_with_a_refresh(docker, policy, user):
    name = policy(env={"WHAT": "old"})
    assert docker.run(user, "echo $WHAT > ~/first.txt; echo $WHAT", prefix=f"/p/{name}") == "old\n"
    docker.admin("PUT", f"/policies/{name}", json_body={"data": {"env": {"WHAT": "new"}}}).expect(200)
    assert docker.tenant(user, policy_id=name)["outdated"] is True
    assert docker.run(user, "echo $WHAT", prefix=f"/p/{name}") == "old\n", "it changed under the user"
    answer = docker.admin("POST", "/terminals/refresh", json_body={"policy_id": name, "only_idle": False}).expect(200).json()
    assert answer["refreshed"] == 1, answer
    assert docker.run(user, "echo $WHAT; cat ~/first.txt", prefix=f"/p/{name}") == "new\nold\n"
    assert docker.tenant(user, policy_id=name)["outdated"] is False
