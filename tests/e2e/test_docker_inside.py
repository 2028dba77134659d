"""The provisioner in a container of its own, as the compose file runs it: the homes it names to the engine are those of the
machine, not its own."""
import contextlib
import json
import os
import shutil
import socket
import tempfile
from pathlib import Path

import docker_engine
import pytest
from docker_world import name_of
from stack import BIN, SLOW, eventually


pytestmark = pytest.mark.release_only


def ask(path, **request):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(30 * SLOW)
        sock.connect(str(path))
        sock.sendall(json.dumps({"id": 1, **request}).encode() + b"\n")
        text = b""
        while not text.endswith(b"\n"):
            chunk = sock.recv(65536)
            assert chunk, text
            text += chunk
    return json.loads(text)


@contextlib.contextmanager
def provisioner(*binds):
    """Runs one, with its run folder and database in a folder of the machine, and yields (that folder, its socket, its engine)."""
    engine = docker_engine.client()
    image = docker_engine.import_image(engine.path, "terminals-test-provisioner",
                                       docker_engine.root_file_system(BIN / "terminals-provisioner"),
                                       ("ENV ASAN_OPTIONS=detect_leaks=0", 'CMD ["/usr/bin/open-terminal"]'))
    folder = Path(tempfile.mkdtemp(prefix="ti-", dir="/tmp"))
    (folder / "homes").mkdir()
    name = f"terminals-test-{os.getpid()}-provisioner"
    settings = {"BACKEND": "docker", "RUN_DIR": "/t/run", "DATA_DIR": "/data/terminals", "DATABASE_URL": "sqlite:////t/t.db",
                "IMAGE": docker_engine.image()}
    binds = [f"{engine.path}:/var/run/docker.sock", f"{folder}:/t", *[bind.format(folder=folder) for bind in binds]]
    try:
        engine.do("POST", f"/containers/create?name={name}", {
            "Image": image, "Env": [f"TERMINALS_{key}={value}" for key, value in settings.items()],
            "HostConfig": {"NetworkMode": "host", "Binds": binds}})
        engine.do("POST", f"/containers/{name}/start")
        ipc = folder / "run/provisioner.sock"
        eventually(lambda: ask(ipc, op="ping")["ok"], 10, what="the provisioner in its container")
        yield folder, ipc, engine
    finally:
        engine.remove(name)
        shutil.rmtree(folder)


@pytest.mark.parametrize("kind", ["bind", "volume"])
def test_a_provisioner_in_a_container_binds_the_machines_folders(kind, user):
    volume = f"terminals-test-{os.getpid()}-homes"
    source = "{folder}/homes" if kind == "bind" else volume
    with provisioner(f"{source}:/data/terminals") as (folder, ipc, engine):
        try:
            answer = ask(ipc, op="tenant_create", user_id=user)
            assert answer["ok"], answer
            [mount] = [one for one in engine.inspect(name_of(user))["Mounts"] if one["Destination"] == "/home/user"]
            expected = str(folder / "homes") if kind == "bind" else engine.do("GET", f"/volumes/{volume}")["Mountpoint"]
            assert mount["Source"] == f"{expected}/{user}"
            assert Path(mount["Source"]).stat().st_uid == 1000
            assert ask(ipc, op="tenant_delete", user_id=user, purge=True)["ok"]
            assert not Path(mount["Source"]).exists()
        finally:
            engine.remove(name_of(user))
    docker_engine.client().ask("DELETE", f"/volumes/{volume}")


def test_homes_that_would_be_lost_with_the_provisioners_container_are_refused(user):
    with provisioner() as (_, ipc, _engine):
        answer = ask(ipc, op="tenant_create", user_id=user)
        assert not answer["ok"] and "`/data/terminals/" in answer["detail"] and "no mount" in answer["detail"], answer
