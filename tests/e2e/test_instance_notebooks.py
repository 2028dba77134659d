"""Jupyter notebooks: cells are run by a kernel that is installed here (python3-ipykernel), one for each session."""
import json
import threading

import pytest
from instance_process import InstanceProcess, eventually

NOTEBOOK = {"cells": [
    {"cell_type": "markdown", "metadata": {}, "source": ["# Title"]},
    {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None, "source": ["x = 20\n", "print('hi')"]},
    {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None, "source": "x + 1"}],
    "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}, "nbformat": 4, "nbformat_minor": 5}


@pytest.fixture(scope="module")
def instance():
    with InstanceProcess() as running:
        (running.home / "folder").mkdir()
        (running.home / "folder").chmod(0o777)
        (running.home / "folder" / "n.ipynb").write_text(json.dumps(NOTEBOOK))
        if not running.call("GET", "/api/config").json()["features"]["notebooks"]:
            pytest.skip("no Jupyter kernel is installed: apt-get install python3-ipykernel")
        yield running


@pytest.fixture(scope="module")
def session(instance):
    answer = instance.call("POST", "/notebooks", {"path": "folder/n.ipynb"}, timeout=90)
    assert answer.status == 200, answer
    yield answer.json()["id"]
    assert instance.call("DELETE", f"/notebooks/{answer.json()['id']}").json() == {"status": "stopped"}
    eventually(lambda: not instance.descendants(), "the kernel is gone", 20)


def run(instance, id, cell=1, source=None, timeout=60):
    return instance.call("POST", f"/notebooks/{id}/execute", {"cell_index": cell, "source": source}, timeout=timeout)


def test_cells_share_one_kernel_that_starts_beside_the_notebook(instance, session):
    first = run(instance, session).json()
    assert (first["status"], first["outputs"]) == ("ok", [{"output_type": "stream", "name": "stdout", "text": "hi\n"}])
    second = run(instance, session, 2).json()
    assert second["outputs"][0]["data"] == {"text/plain": "21"}
    assert second["execution_count"] == first["execution_count"] + 1 == second["outputs"][0]["execution_count"]
    assert run(instance, session, 0).json() == {"status": "ok", "execution_count": None, "outputs": []}
    where = run(instance, session, source="import os; print(os.getcwd())").json()["outputs"][0]["text"]
    assert where == f"{instance.home}/folder\n"


def test_errors_and_rich_outputs_are_told_as_notebooks_keep_them(instance, session):
    failed = run(instance, session, source="1/0").json()
    assert failed["status"] == "error"
    assert (failed["outputs"][0]["output_type"], failed["outputs"][0]["ename"]) == ("error", "ZeroDivisionError")
    shown = run(instance, session, source="from IPython.display import HTML, display, clear_output\nprint('gone')\nclear_output()\n"
                                           "h = display(HTML('<b>1</b>'), display_id=True)\nh.update(HTML('<b>2</b>'))").json()["outputs"]
    assert [(one["output_type"], one["data"]["text/html"]) for one in shown] == [("display_data", "<b>2</b>")]
    assert "input" in run(instance, session, source="input()").json()["outputs"][0]["evalue"].lower()


def test_what_a_cell_prints_past_python_gets_nowhere_near_the_protocol(instance, session):
    run(instance, session, source="import os, subprocess; os.write(1, b'{}\\n'); subprocess.run(['echo', '{}'])")
    big = run(instance, session, source="print('x' * 3000000)").json()["outputs"]
    assert "".join(one["text"] for one in big) == "x" * 3000000 + "\n"


@pytest.mark.parametrize("body,status,detail", [
    ({"cell_index": 9}, 400, "out of range"), ({"cell_index": -1}, 400, "out of range"), ({}, 422, "Field required"),
    ({"cell_index": "x"}, 422, "unable to parse string as an integer"), ({"cell_index": 1.5}, 422, "fractional part"),
    ({"cell_index": None}, 422, "valid integer"), ({"cell_index": 1, "source": 5}, 422, "valid string")])
def test_a_cell_that_is_none_is_refused(instance, session, body, status, detail):
    answer = instance.call("POST", f"/notebooks/{session}/execute", body, timeout=60)
    assert answer.status == status and detail in json.dumps(answer.json()["detail"]), answer


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"cells": [1]}', b"\xff\xfe", b'{"cells": [], "metadata": {"kernelspec": {"name": "no"}}}'])
def test_what_is_no_notebook_opens_no_session(instance, content):
    (instance.home / "folder" / "bad.ipynb").write_bytes(content)
    answer = instance.call("POST", "/notebooks", {"path": "folder/bad.ipynb"}, timeout=60)
    assert answer.status == 400 and answer.json()["detail"], answer
    assert instance.call("POST", "/notebooks", {"path": "folder"}).status == 404


def test_a_session_ends_whatever_its_cell_is_doing(instance):
    id = instance.call("POST", "/notebooks", {"path": "folder/n.ipynb"}, timeout=90).json()["id"]
    answers = []
    source = "import os, signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nopen('busy', 'w')\ntime.sleep(600)"
    thread = threading.Thread(target=lambda: answers.append(run(instance, id, source=source)))
    thread.start()
    eventually(lambda: (instance.home / "folder" / "busy").exists(), "the cell runs", 30)
    before = set(instance.descendants())
    assert instance.call("DELETE", f"/notebooks/{id}").status == 200
    thread.join(10)
    assert answers[0].status == 409
    assert instance.call("GET", f"/notebooks/{id}").status == 404
    eventually(lambda: len(set(instance.descendants()) & before) < len(before) - 1, "its kernel and bridge are gone", 20)


def test_no_kernel_or_not_wanted_is_no_feature():
    for env in ({"OPEN_TERMINAL_ENABLE_NOTEBOOKS": "false"}, {}):
        with InstanceProcess(env=env) as plain:
            offered = plain.call("GET", "/api/config").json()["features"]["notebooks"]
            assert not (offered and env)
            if not offered:
                assert plain.call("POST", "/notebooks", {"path": "n.ipynb"}).json() == {"detail": "Not Found"}
