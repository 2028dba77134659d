"""`make install`: what it lays down works from there, without the clone."""
import os
import shutil
import signal
import subprocess
import tempfile
import urllib.request
from pathlib import Path

import pytest
from ports import free_port
from stack import BIN, REPOSITORY

pytestmark = pytest.mark.release_only  # it installs what `make` builds by default


@pytest.fixture(scope="module")
def installed():
    folder = Path(tempfile.mkdtemp(prefix="ti-"))
    subprocess.run(["make", "install", f"DESTDIR={folder}", f"BUILD={BIN.parent}"], cwd=REPOSITORY, check=True,
                   stdout=subprocess.DEVNULL)
    yield folder
    shutil.rmtree(folder)


def test_the_installed_programs_serve(installed):
    port = free_port()
    environment = {"PATH": os.environ["PATH"], "TERMINALS_BACKEND": "local", "TERMINALS_HOST": "127.0.0.1",
                   "TERMINALS_PORT": str(port),
                   "TERMINALS_RUN_DIR": str(installed / "r"), "TERMINALS_CLEANUP_INTERVAL_SECONDS": "0"}
    serve = subprocess.Popen([installed / "usr/local/bin/terminals", "serve"], cwd=installed, env=environment,
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        lines = iter(serve.stdout.readline, "")
        assert any("Terminals is ready" in line for line in lines)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10) as answer:
            assert answer.status == 200
        # What cron runs.
        subprocess.run([installed / "usr/local/libexec/terminals/idle-cleanup"], env=environment, check=True, timeout=30)
    finally:
        serve.send_signal(signal.SIGINT)
        serve.stdout.read()
        assert serve.wait(30) == 0


def test_the_service_starts_what_is_installed(installed):
    unit = (installed / "etc/systemd/system/terminals.service").read_text(encoding="utf-8")
    [program] = [line.removeprefix("ExecStart=").split()[0] for line in unit.splitlines() if line.startswith("ExecStart=")]
    assert os.access(installed / program.lstrip("/"), os.X_OK)
    crontab = (installed / "usr/local/share/terminals/crontab").read_text(encoding="utf-8").splitlines()[-1]
    assert os.access(installed / crontab.split()[5].lstrip("/"), os.X_OK)
