# Between the instance and a Jupyter kernel: one JSON object a line on the socket that is standard input and output, one
# answer to each. Run by the kernel's own Python, which has jupyter_client since ipykernel needs it.
import json
import os
import queue
import shutil
import tempfile

channel_in = os.fdopen(os.dup(0), "r", encoding="utf-8")
channel_out = os.fdopen(os.dup(1), "w", encoding="utf-8")
for descriptor in (0, 1, 2):  # what a kernel's children print must not get into the channel
    os.dup2(os.open(os.devnull, os.O_RDWR), descriptor)


class Refusal(Exception):
    """(status, detail): the answer of the HTTP call."""


def read_notebook(path):
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except UnicodeDecodeError as problem:
        raise Refusal(400, f"Invalid notebook: {problem}") from None
    try:
        notebook = json.loads(text)
    except ValueError:
        message = f"Notebook does not appear to be JSON: {text!r}"
        raise Refusal(400, "Invalid notebook: " + (message if len(message) <= 80 else message[:77] + "...")) from None
    worksheets = notebook.get("worksheets") if isinstance(notebook, dict) else None
    cells = worksheets[0].get("cells") if isinstance(worksheets, list) and worksheets else \
        notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list) or not all(isinstance(cell, dict) for cell in cells):
        raise Refusal(400, "Invalid notebook: there is no list of cells")
    return notebook, cells


class Session:
    def open(self, path):
        from jupyter_client import KernelManager
        from jupyter_client.kernelspec import NoSuchKernel
        self.path = path
        notebook, _ = read_notebook(path)
        spec = (notebook.get("metadata") or {}).get("kernelspec") or {}
        name = spec.get("name") or "python3"
        # Sockets in a folder of its own: no port of the kernel is open to others, or listed among the user's own. (Not in
        # the home folder, whose path may be longer than a socket's may be.)
        self.folder = tempfile.mkdtemp(prefix="kernel-")
        self.manager = KernelManager(kernel_name=name, transport="ipc", ip=os.path.join(self.folder, "socket"))
        try:
            self.manager.start_kernel(cwd=os.path.dirname(path))
            self.client = self.manager.client()
            self.client.start_channels()
            self.client.wait_for_ready(timeout=60)
        except NoSuchKernel:
            raise Refusal(400, f"There is no kernel `{name}`") from None
        except RuntimeError as problem:
            raise Refusal(500, f"The kernel `{name}` did not start: {problem}") from None
        return {"kernel": name}

    def close(self):
        if hasattr(self, "manager"):
            self.manager.shutdown_kernel(now=True)
            shutil.rmtree(self.folder, ignore_errors=True)

    def source_of(self, index, override):
        _, cells = read_notebook(self.path)
        if not 0 <= index < len(cells):
            raise Refusal(400, f"Cell index {index} out of range (notebook has {len(cells)} cells)")
        if cells[index].get("cell_type") != "code":
            return None
        source = override if override is not None else cells[index].get("source", cells[index].get("input", ""))
        return source if isinstance(source, str) else "".join(source)

    def execute(self, cell_index, source=None):
        source = self.source_of(cell_index, source)
        if source is None:
            return {"status": "ok", "execution_count": None, "outputs": []}
        # Else a kernel drops what arrives within a moment after an error, and calls it aborted.
        request = self.client.execute(source, allow_stdin=False, store_history=True, stop_on_error=False)
        outputs = Outputs()
        while True:
            message = self.next_message(self.client.get_iopub_msg)
            if message["parent_header"].get("msg_id") != request:
                continue
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                break
            outputs.take(message["msg_type"], message["content"])
        while True:
            reply = self.next_message(self.client.get_shell_msg)
            if reply["parent_header"].get("msg_id") == request:
                content = reply["content"]
                return {"status": content["status"], "execution_count": content.get("execution_count"), "outputs": outputs.list}

    def next_message(self, get):
        while True:
            try:
                return get(timeout=1)
            except queue.Empty:
                if not self.manager.is_alive():
                    raise Refusal(500, "The kernel died") from None


class Outputs:
    """The outputs of a cell, in the form of the notebook format 4."""

    def __init__(self):
        self.list = []
        self.displays = {}  # display_id: outputs that show it
        self.is_clear_due = False

    def take(self, kind, content):
        if kind == "clear_output":
            self.is_clear_due = bool(content.get("wait"))
            if not self.is_clear_due:
                self.list.clear()
            return
        if kind == "update_display_data":
            for shown in self.displays.get(content.get("transient", {}).get("display_id"), []):
                shown.update(data=content["data"], metadata=content["metadata"])
            return
        output = self.convert(kind, content)
        if output is None:
            return
        if self.is_clear_due:
            self.is_clear_due = False
            self.list.clear()
        last = self.list[-1] if self.list else {}
        if kind == "stream" and last.get("output_type") == "stream" and last["name"] == output["name"]:
            last["text"] += output["text"]
            return
        self.list.append(output)
        display = content.get("transient", {}).get("display_id")
        if display is not None:
            self.displays.setdefault(display, []).append(output)

    @staticmethod
    def convert(kind, content):
        members = {"stream": ("name", "text"), "display_data": ("metadata", "data"), "error": ("ename", "evalue", "traceback"),
                   "execute_result": ("metadata", "data", "execution_count")}.get(kind)
        return None if members is None else {"output_type": kind, **{name: content.get(name) for name in members}}


session = Session()
for line in channel_in:
    try:
        order = json.loads(line)
        answer = {"result": getattr(session, order.pop("op"))(**order)}
    except Refusal as refusal:
        answer = {"status": refusal.args[0], "detail": refusal.args[1]}
    except Exception as problem:  # whatever it is, the one who asked hears of it
        answer = {"status": 500, "detail": f"{type(problem).__name__}: {problem}"}
    channel_out.write(json.dumps(answer) + "\n")
    channel_out.flush()
session.close()
