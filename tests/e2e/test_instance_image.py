"""The small image of the native instance, without an engine: its root file system, laid out as the Dockerfile does, in bubblewrap."""
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from instance_process import BIN, KEY, ROOT, StartedByHand, eventually
from ports import free_port

pytestmark = pytest.mark.release_only
MIB = 1 << 20


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """(install(1) gives files to user 1000, so this needs root, as a build in an image has.)"""
    if os.getuid() != 0:
        pytest.skip("only root can lay out an image")
    source = tmp_path_factory.mktemp("image")
    (source / "build" / "release").mkdir(parents=True)
    shutil.copytree(BIN, source / "build" / "release" / "bin")
    shutil.copytree(ROOT / "scripts", source / "scripts")
    subprocess.run(["sh", "-c", "strip build/release/bin/* && sh scripts/make-image-roots image"], cwd=source, check=True)
    os.chown(source / "image" / "instance" / "home" / "user", 0, 0)  # who is 1000 inside is root outside
    yield source / "image" / "instance"
    shutil.rmtree(source)


class Container(StartedByHand):
    """The instance as process 1 of a container made of `root`, as user 1000."""

    def __init__(self, root):
        self.port = free_port()
        self.process = subprocess.Popen(
            ["bwrap", "--bind", root, "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--unshare-user", "--uid", "1000", "--gid",
             "1000", "--unshare-pid", "--as-pid-1", "--die-with-parent", "--clearenv", "--setenv", "HOME", "/home/user", "--setenv", "PATH",
             "/usr/local/bin:/usr/bin:/bin", "--setenv", "OPEN_TERMINAL_API_KEY", KEY, "--chdir", "/home/user", "open-terminal", "run",
             "--host", "127.0.0.1", "--port", str(self.port)])

    def __enter__(self):
        return self.wait_until_up()

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def run(self, command):
        status, output = self.execute(command)
        assert status == "done", output
        return output.replace("\r\n", "\n")


def test_the_image_is_small(root):
    size = sum(path.lstat().st_size for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    print(f"the image: {size / MIB:.1f} MiB")
    assert size < 15 * MIB


def test_commands_and_tools_work_in_it(root):
    with Container(root) as container:
        assert container.run("id -un; pwd; echo $0; echo $((6*7))") == "user\n/home/user\n/bin/sh\n42\n"
        assert container.run("bash -c 'echo $BASH_VERSION' | grep -c .; seq 3 | awk '{s+=$1} END {print s}'") == "1\n6\n"
        assert container.run(f"wget -q -O - http://127.0.0.1:{container.port}/health") == '{"status":"ok"}'
        assert container.call("GET", "/api/config").json()["features"] == {"terminal": True, "notebooks": False, "system": True}


def test_process_one_buries_whoever_ends_and_ends_when_told(root):
    with Container(root) as container:
        container.run("for i in 1 2 3 4 5; do (setsid sh -c 'sleep 0.1' &) ; done")
        eventually(lambda: "Z" not in container.run("cat /proc/[0-9]*/stat | sed 's/.*) //' | cut -c1"), "no zombie is left")
        below = Path(f"/proc/{container.process.pid}/task/{container.process.pid}/children").read_text().split()
        inner = int(below[0]) if below else container.process.pid
        start = time.monotonic()
        os.kill(inner, 15)
        container.process.wait(10)
        assert time.monotonic() - start < 10
