"""Scheduler and kubelet of the fake API server: a pod becomes a process (the native instance) on a loopback address of its
own, with its claim as its home.

What a test may set: `images` (others cannot be pulled), `node_labels`, `has_room`, `delay` (of pods that come from now on). Files of
a claim lie in `folder/<claim>`, of a sub-path below that.
"""
import base64
import contextlib
import copy
import itertools
import os
import shutil
import signal
import subprocess
import threading
import time
import urllib.request
from pathlib import Path

# Tests that run at the same time, whose processes have numbers near each other, take 62,500 addresses each.
_addresses = itertools.count(os.getpid() % 200 * 62500)


def descendants(pid):
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                text = Path(f"/proc/{entry}/stat").read_text(errors="replace")
                parents[int(entry)] = int(text[text.rindex(")") + 2:].split()[1])
    found, grown = {pid}, True
    while grown:
        new = {child for child, parent in parents.items() if parent in found} - found
        found |= new
        grown = bool(new)
    return found


def loopback_address(number):
    return f"127.{10 + number // 62500 % 200}.{number // 250 % 250}.{number % 250 + 1}"


class Kubelet:
    def __init__(self, api, folder, program, address=loopback_address):
        """`address` gives the n-th pod's."""
        self.api, self.folder, self.program, self.address = api, Path(folder), program, address
        self.folder.mkdir(parents=True, exist_ok=True)
        self.images = {"open-terminal:test"}
        self.node_labels = {"kubernetes.io/hostname": "node-1"}
        self.has_room = True
        self.delay = 0.01
        self.processes = {}  # uid: Popen
        self.started = {}  # uid: what a container got: {"env", "folder"}
        self.known = set()
        self.lock = threading.Lock()
        self.is_closing = False
        api.observers.append(self._on_change)

    def close(self):
        self.is_closing = True
        for uid in list(self.processes):
            self._kill(uid, signal.SIGKILL)
        for process in list(self.processes.values()):
            process.wait()

    # --- what the API server tells ---

    def _on_change(self, kind, plural, value):
        if plural == "persistentvolumeclaims" and kind == "DELETED":
            shutil.rmtree(self.folder / value["metadata"]["name"], ignore_errors=True)  # reclaimPolicy: Delete
        if plural != "pods" or self.is_closing:
            return
        meta = value["metadata"]
        if kind == "ADDED":
            threading.Thread(target=self._run, args=(value, self.delay), daemon=True).start()
        elif kind == "DELETED":
            threading.Thread(target=self._kill, args=(meta["uid"], signal.SIGKILL), daemon=True).start()
        elif "deletionTimestamp" in meta and meta["uid"] not in self.known:
            self.known.add(meta["uid"])
            threading.Thread(target=self._end, args=(value,), daemon=True).start()

    def _status(self, pod, **status):
        pod["status"].update(copy.deepcopy(status))
        return self.api.put("pods", copy.deepcopy(pod))

    @staticmethod
    def _condition(kind, good, reason=None, message=None):
        return {"type": kind, "status": "True" if good else "False", **({"reason": reason, "message": message} if reason else {})}

    # --- the scheduler ---

    def _obstacle(self, pod):
        spec, labels = pod["spec"], self.node_labels
        for volume in spec.get("volumes") or []:
            claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
            found = self.api.get("persistentvolumeclaims", claim) if claim else None
            if claim and found is None:
                return f'persistentvolumeclaim "{claim}" not found'
            if claim and "deletionTimestamp" in found["metadata"]:
                return f'persistentvolumeclaim "{claim}" is being deleted'
        if not all(self._has_company(pod, term) for term in ((spec.get("affinity") or {}).get("podAffinity") or {}).get(
                "requiredDuringSchedulingIgnoredDuringExecution") or []):
            return "0/1 nodes are available: 1 node(s) didn't match pod affinity rules."
        if not all(labels.get(key) == value for key, value in (spec.get("nodeSelector") or {}).items()):
            return "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."
        if not self.has_room:
            return "0/1 nodes are available: 1 Insufficient memory."
        return None

    def _has_company(self, pod, term):
        """One that matches runs here; or none is anywhere, and the pod itself matches (satisfyPodAffinity)."""
        wanted = term["labelSelector"]["matchLabels"].items()
        others = [one for one in self.api.all("pods").values() if one["metadata"]["uid"] != pod["metadata"]["uid"]
                  and one["spec"].get("nodeName") and one["status"].get("phase") not in ("Failed", "Succeeded")]
        return any(wanted <= (one["metadata"].get("labels") or {}).items() for one in others) or \
            wanted <= (pod["metadata"].get("labels") or {}).items()

    def _schedule(self, pod):
        while (obstacle := self._obstacle(pod)) is not None:
            self._status(pod, conditions=[self._condition("PodScheduled", False, "Unschedulable", obstacle)])
            time.sleep(0.1)
            current = self.api.get("pods", pod["metadata"]["name"])
            if self.is_closing or current is None or current["metadata"]["uid"] != pod["metadata"]["uid"]:
                return False
        pod["spec"]["nodeName"] = "node-1"
        return self._status(pod, conditions=[self._condition("PodScheduled", True)])

    # --- the kubelet ---

    def _waiting(self, pod, reason, message):
        container = pod["spec"]["containers"][0]
        return self._status(pod, containerStatuses=[{"name": container["name"], "image": container["image"], "ready": False,
                                                     "restartCount": 0, "state": {"waiting": {"reason": reason, "message": message}}}])

    def _environment(self, container):
        made = {}
        for variable in container.get("env") or []:
            reference = (variable.get("valueFrom") or {}).get("secretKeyRef")
            if reference:
                secret = self.api.get("secrets", reference["name"])
                if secret is None:
                    raise LookupError(f'secret "{reference["name"]}" not found')
                made[variable["name"]] = base64.b64decode(secret["data"][reference["key"]]).decode()
            else:
                made[variable["name"]] = variable.get("value", "").replace("$$", "$")
        return made

    def _volume(self, pod, mount):
        volume = next(volume for volume in pod["spec"]["volumes"] if volume["name"] == mount["name"])
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        folder = self.folder / claim if claim else self.folder / ".empty" / pod["metadata"]["uid"] / mount["name"]
        folder = folder / mount.get("subPath", "")
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _run(self, pod, delay):
        time.sleep(delay)
        pod["status"] = {"phase": "Pending"}
        if not self._schedule(pod):
            return
        ours = next((c for c in pod["spec"]["containers"] if c["name"] == "open-terminal"), pod["spec"]["containers"][0])
        for container in pod["spec"]["containers"]:
            if container["image"] not in self.images:
                for reason in ("ErrImagePull", "ImagePullBackOff"):
                    if not self._waiting(pod, reason, f'Back-off pulling image "{container["image"]}": not found'):
                        return
                return
        self._waiting(pod, "ContainerCreating", "")
        try:
            environment = self._environment(ours)
        except LookupError as problem:
            self._waiting(pod, "CreateContainerConfigError", str(problem))
            return
        address = self.address(next(_addresses))
        mounts = {mount["mountPath"]: self._volume(pod, mount) for mount in ours.get("volumeMounts") or []}
        home = mounts.get("/home/user", self.folder)
        command = ours.get("command") or [str(self.program), "run", "--host", address, "--port", "8000"]
        for path, folder in mounts.items():
            command = [f"{folder}{word[len(path):]}" if word == path or word.startswith(path + "/") else word for word in command]
        with self.lock:
            current = self.api.get("pods", pod["metadata"]["name"])
            if self.is_closing or current is None or current["metadata"]["uid"] != pod["metadata"]["uid"] or \
                    "deletionTimestamp" in current["metadata"]:
                self.api.remove("pods", pod["metadata"]["name"], uid=pod["metadata"]["uid"])
                return
            log = self.folder / f".log-{pod['metadata']['uid']}"
            with open(log, "wb") as out:
                process = subprocess.Popen(command, cwd=home, env={"PATH": os.environ["PATH"], "HOME": str(home), **environment},
                                           stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
            self.processes[pod["metadata"]["uid"]] = process
        self.started[pod["metadata"]["uid"]] = {"env": environment, "folder": home}
        running = [{"name": c["name"], "image": c["image"], "ready": True, "restartCount": 0,
                    "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}} for c in pod["spec"]["containers"]]
        self._status(pod, phase="Running", podIP=address, podIPs=[{"ip": address}], hostIP="127.0.0.1", containerStatuses=running,
                     conditions=[self._condition("PodScheduled", True), self._condition("Ready", True)])
        status = process.wait()
        self._ended(pod, running, ours["name"], status, log)

    def _ended(self, pod, statuses, name, status, log):
        lines = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
        for one in statuses:
            if one["name"] == name:
                one.update(ready=False, state={"terminated": {"exitCode": status if status >= 0 else 128 - status,
                                                              "reason": "Completed" if status == 0 else "Error", "message": lines}})
        if not self.is_closing:
            self._status(pod, phase="Succeeded" if status == 0 else "Failed", containerStatuses=statuses)

    def _kill(self, uid, number):
        process = self.processes.get(uid)
        if process is not None and process.poll() is None:
            for pid in descendants(process.pid) if number == signal.SIGKILL else [process.pid]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)

    def _end(self, pod):
        """A deleted pod: SIGTERM, SIGKILL after its grace, and then it is gone."""
        uid = pod["metadata"]["uid"]
        with self.lock:
            process = self.processes.get(uid)
        if process is not None:
            self._kill(uid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(pod["metadata"]["deletionGracePeriodSeconds"])
            self._kill(uid, signal.SIGKILL)
            process.wait()
        self.api.remove("pods", pod["metadata"]["name"], uid=uid)

    # --- for tests ---

    def process_of(self, pod):
        return self.processes[pod["metadata"]["uid"]]

    def running(self):
        """How many processes of pods there are."""
        return sum(process.poll() is None for process in self.processes.values())


def answers(address, timeout=1):
    with contextlib.suppress(OSError):
        return urllib.request.urlopen(f"http://{address}:8000/health", timeout=timeout).status == 200
    return False
