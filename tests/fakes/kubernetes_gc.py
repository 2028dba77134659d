"""The garbage collector of the fake's controller manager: what names an owner that does not exist (any more) is deleted, in the
background, as with propagationPolicy Background. `delay` is how long it takes to notice.
"""
import threading
import time


class GarbageCollector:
    def __init__(self, api, delay=0.3):
        self.api, self.delay = api, delay
        self.is_enabled = True
        self.wanted = threading.Event()
        api.observers.append(self._on_change)
        threading.Thread(target=self._run, daemon=True).start()

    def _on_change(self, kind, plural, value):
        if kind == "DELETED" or value["metadata"].get("ownerReferences"):
            self.wanted.set()

    def _run(self):
        while True:
            self.wanted.wait()
            self.wanted.clear()
            time.sleep(self.delay)
            if self.is_enabled:
                self.collect()

    def collect(self):
        with self.api.lock:
            alive = {value["metadata"]["uid"] for value in self.api.objects.values()}
            for (plural, namespace, name), value in list(self.api.objects.items()):
                owners = value["metadata"].get("ownerReferences") or []
                if owners and not any(owner["uid"] in alive for owner in owners) and "deletionTimestamp" not in value["metadata"]:
                    self.api.delete(plural, namespace, name, {"preconditions": {"uid": value["metadata"]["uid"]}})
