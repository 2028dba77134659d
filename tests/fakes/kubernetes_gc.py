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
        if kind == "DELETED" or value["metadata"].get("ownerReferences") or value["metadata"].get("finalizers"):
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
                if "foregroundDeletion" in value["metadata"].get("finalizers", []):
                    self.end_foreground(plural, namespace, name, value)
                elif owners and not any(owner["uid"] in alive for owner in owners) and "deletionTimestamp" not in value["metadata"]:
                    self.api.delete(plural, namespace, name, {"preconditions": {"uid": value["metadata"]["uid"]}})

    def end_foreground(self, plural, namespace, name, owner):
        """Its dependents first. It waits for those that block its deletion (processDeletingDependentsItem)."""
        uid = owner["metadata"]["uid"]
        dependents = [(key, value["metadata"]) for key, value in self.api.objects.items()
                      if any(one["uid"] == uid for one in value["metadata"].get("ownerReferences") or [])]
        for key, meta in dependents:
            if "deletionTimestamp" not in meta:
                self.api.delete(*key, {"preconditions": {"uid": meta["uid"]}})
        if not any(one["uid"] == uid and one.get("blockOwnerDeletion") for _, meta in dependents for one in meta["ownerReferences"]):
            owner["metadata"]["finalizers"].remove("foregroundDeletion")
            if not owner["metadata"]["finalizers"]:
                self.api.remove(plural, name, namespace)
