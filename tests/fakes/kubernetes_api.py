"""A Kubernetes API server as strict as the real one (1.36), as far as Terminals speaks to it. kubernetes_kubelet.py brings
its pods to life, kubernetes_gc.py deletes what has lost its owner, kubernetes_crd.py has custom resources, kubernetes_faults.py
what goes wrong on the way.

Each refusal names the rule of the real server that it mirrors. Objects are decoded and validated by kubernetes_schema.py.
What a test may set: `tokens`, `rules`, `quota`, `throttle`, `quota_conflicts`, `is_away`; what it may do: cut_watches(),
compact(), put(), remove(), and what Faults can. `seen` has all requests as (method, path, user, status).
"""
import base64
import contextlib
import copy
import http.server
import io
import json
import re
import socket
import ssl
import threading
import time
import urllib.parse
import uuid

from kubernetes_crd import Resource
from kubernetes_faults import Faults
from kubernetes_pod_security import baseline_problems, restricted_problems
from kubernetes_schema import KINDS, META, BadType, metadata_problems, problems, unknown_fields

REASONS = {400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "Conflict", 410: "Expired",
           415: "UnsupportedMediaType", 422: "Invalid", 429: "TooManyRequests", 500: "InternalError"}
BOOKMARK_S = 0.5  # a minute on a real server
PATCHES = ("application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json",
           "application/apply-patch+yaml")
BY_PLURAL = {(version, plural): kind for kind, (version, plural, _, _) in KINDS.items()}


class Refused(Exception):
    def __init__(self, code, message, reason=None, headers=(), **details):
        super().__init__(message)
        self.code, self.headers = code, headers
        self.status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
                       "reason": reason or REASONS[code], "details": details, "code": code}


def now():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


class KubernetesApi(Faults):
    def __init__(self, certificate, namespace="terminals", port=0, host="127.0.0.1"):
        super().__init__()
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.objects = {}  # (plural, namespace, name): object
        self.version = 1000
        self.history = []  # (version, type, plural, object)
        self.compacted = 1000
        self.tokens = {"token-of-terminals": "system:serviceaccount:terminals:terminals"}
        self.rules = {}  # user: [{"verbs", "apiGroups", "resources"}]; a user who is not in here may do anything
        self.quota = {}  # plural: how many there may be
        self.throttle = 0  # so many requests are answered 429
        self.quota_conflicts = 0  # so many creations meet a quota that is just being changed
        self.gone_as_event = True
        self.is_away = False
        self.resources = {}  # (version, plural): Resource, of custom resources
        self.seen = []
        self.watches = set()
        self.observers = []  # called with (type, plural, object), the lock held
        self.certificate = certificate
        self.namespaces = {namespace: {}}  # name: labels
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate)
        self.context.verify_mode = ssl.CERT_OPTIONAL
        self.context.load_verify_locations(certificate)
        self.host, self.port = host, port
        self.server = None
        self.listen()

    # --- the network ---

    def listen(self):
        api = self

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, request, client_address):
                pass  # clients may go away

            def finish_request(self, request, client_address):
                request.settimeout(60)
                with api.context.wrap_socket(request, server_side=True) as tls:
                    self.connections.add(tls)
                    try:
                        Handler(tls, client_address, self)
                    finally:
                        self.connections.discard(tls)

        class Handler(_Handler):
            pass

        Handler.api = api
        self.server = Server((self.host, self.port), Handler)
        self.server.connections = set()
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def go_away(self):
        """The port is closed, and every connection ends."""
        server, self.server = self.server, None
        server.shutdown()
        server.server_close()
        for connection in list(server.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self):
        if self.server is not None:
            self.go_away()

    def kubeconfig(self, path, user=None, **cluster):
        """A kubeconfig with the CA and a token inline."""
        pem = base64.b64encode(self.certificate.with_suffix(".crt").read_bytes()).decode()
        config = {"apiVersion": "v1", "kind": "Config", "current-context": "here",
                  "contexts": [{"name": "elsewhere", "context": {"cluster": "nowhere", "user": "nobody"}},
                               {"name": "here", "context": {"cluster": "fake", "user": "terminals"}}],
                  "clusters": [{"name": "fake", "cluster": {"server": f"https://{self.host}:{self.port}",
                                                            "certificate-authority-data": pem, **cluster}}],
                  "users": [{"name": "terminals", "user": user or {"token": next(iter(self.tokens))}}]}
        path.write_text(json.dumps(config, indent=1))  # JSON is YAML
        return path

    # --- kinds ---

    def kind_of(self, version, plural):
        if (version, plural) in self.resources:
            return self.resources[version, plural].kind
        return BY_PLURAL.get((version, plural))

    def _resource(self, kind, version):
        return next((one for (of, _), one in self.resources.items() if of == version and one.kind == kind), None)

    def _register(self, definition):
        for version in definition["spec"]["versions"]:
            if version["served"]:
                of = f"{definition['spec']['group']}/{version['name']}"
                self.resources[of, definition["spec"]["names"]["plural"]] = Resource(definition, version)

    # --- objects ---

    def all(self, plural):
        with self.lock:
            return {name: copy.deepcopy(value) for (kind, _, name), value in self.objects.items() if kind == plural}

    def get(self, plural, name, namespace="terminals"):
        with self.lock:
            return copy.deepcopy(self.objects.get((plural, namespace, name)))

    def _record(self, kind, plural, value):
        self.version += 1
        value["metadata"]["resourceVersion"] = str(self.version)
        self.history.append((self.version, kind, plural, copy.deepcopy(value)))
        for observer in self.observers:
            observer(kind, plural, copy.deepcopy(value))
        self.changed.notify_all()

    def put(self, plural, value):
        """Writes as a controller does: the kubelet, a status."""
        with self.lock:
            key = (plural, value["metadata"]["namespace"], value["metadata"]["name"])
            if key in self.objects and self.objects[key]["metadata"]["uid"] == value["metadata"]["uid"]:
                meta = self.objects[key]["metadata"]
                value["metadata"] = {**value["metadata"], **{field: meta[field] for field in (
                    "deletionTimestamp", "deletionGracePeriodSeconds") if field in meta}}
                self.objects[key] = value
                self._record("MODIFIED", plural, value)
                return True
            return False

    def remove(self, plural, name, namespace="terminals", uid=None):
        """Takes an object away: the kubelet, when nothing of a pod is left."""
        with self.lock:
            value = self.objects.get((plural, namespace, name))
            if value is None or (uid and value["metadata"]["uid"] != uid):
                return
            del self.objects[(plural, namespace, name)]
            self._record("DELETED", plural, value)
            if plural == "pods":
                # kubernetes.io/pvc-protection: a claim goes when its last pod has gone.
                for claim in [key for key, claim in self.objects.items() if key[0] == "persistentvolumeclaims"
                              and "deletionTimestamp" in claim["metadata"]]:
                    if not self._claim_is_used(claim[1], claim[2]):
                        self.remove("persistentvolumeclaims", claim[2], claim[1])

    def _claim_is_used(self, namespace, name):
        return any(key[:2] == ("pods", namespace) and any(
            (volume.get("persistentVolumeClaim") or {}).get("claimName") == name for volume in pod["spec"].get("volumes") or [])
                   for key, pod in self.objects.items())

    def cut_watches(self):
        """Every watch ends, as its connection breaks."""
        with self.lock:
            for connection in self.watches:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def compact(self):
        """etcd forgets: no watch can begin at what is past."""
        with self.lock:
            self.version += 1
            self.compacted = self.version
            self.history.clear()

    # --- the verbs ---

    def create(self, plural, version, namespace, body, strict):
        kind = self.kind_of(version, plural)
        resource = self.resources.get((version, plural))
        value = self._decode(kind, version, body, strict)
        meta = value.setdefault("metadata", {})
        is_namespaced = resource is not None or KINDS[kind][2]
        if is_namespaced and namespace not in self.namespaces:
            raise Refused(404, f'namespaces "{namespace}" not found')
        if meta.get("namespace", namespace) != namespace:  # rest.BeforeCreate
            raise Refused(400, "the namespace of the provided object does not match the namespace sent on the request")
        if meta.get("resourceVersion"):  # registry.Store.Create
            raise Refused(400, "resourceVersion should not be set on objects to be created")
        with self.lock:
            self._admit(plural, namespace, value)
            value.pop("status", None)  # PrepareForCreate: a status comes by the subresource only
            if is_namespaced:
                meta["namespace"] = namespace
            self._default(kind, value)
            self._validate(kind, value, resource)
            key = (plural, namespace, meta["name"])
            if key in self.objects:
                raise Refused(409, f'{plural} "{meta["name"]}" already exists', "AlreadyExists", name=meta["name"], kind=plural)
            meta.update({"uid": str(uuid.uuid4()), "creationTimestamp": now(), "namespace": namespace})
            meta.pop("deletionTimestamp", None)
            if resource:
                meta["generation"] = 1
            self.objects[key] = value
            if kind == "CustomResourceDefinition":
                self._register(value)
            self._record("ADDED", plural, value)
            return copy.deepcopy(value)

    def _decode(self, kind, version, body, strict):
        try:
            value = json.loads(body)
        except ValueError as problem:
            raise Refused(400, f"the object provided is unrecognized: {problem}") from None
        if not isinstance(value, dict) or value.get("kind") != kind or value.get("apiVersion") != version:
            raise Refused(400, f"the API version in the data ({value.get('apiVersion')}, {value.get('kind')}) does not match "
                               f"the expected API version ({version}, {kind})")
        resource = self._resource(kind, version)
        try:
            if resource:
                unknown = unknown_fields({"metadata": value.get("metadata")}, {"metadata": META}) + resource.decode(value)
            else:
                unknown = unknown_fields(value, KINDS[kind][3])
        except BadType as problem:
            raise Refused(400, f"{kind} in version {version!r} cannot be handled as a {kind}: {problem}") from None
        if unknown and strict:
            fields = ", ".join(f'unknown field "{field}"' for field in unknown)
            raise Refused(400, f"{kind} in version {version!r} cannot be handled as a {kind}: strict decoding error: {fields}")
        return value

    @staticmethod
    def _validate(kind, value, resource=None):
        found = [*metadata_problems(value["metadata"], kind), *resource.problems(value)] if resource else list(problems(kind, value))
        if found:
            name = value["metadata"].get("name", "")
            text = ", ".join(f"{field}: {message}" for field, message in found)
            raise Refused(422, f'{kind} "{name}" is invalid: ' + (f"[{text}]" if len(found) > 1 else text), name=name, kind=kind,
                          causes=[{"reason": "FieldValueInvalid", "message": m, "field": f} for f, m in found])

    def _admit(self, plural, namespace, value):
        name = value["metadata"].get("name", "")
        enforced = (self.namespaces.get(namespace) or {}).get("pod-security.kubernetes.io/enforce")
        if plural == "pods" and enforced in ("baseline", "restricted"):
            found = list((restricted_problems if enforced == "restricted" else baseline_problems)(value.get("spec") or {}))
            if found:
                raise Refused(403, f'pods "{name}" is forbidden: violates PodSecurity "{enforced}:latest": {", ".join(found)}')
        if plural in self.quota:
            if self.quota_conflicts > 0:  # the quota's own status is written optimistically
                self.quota_conflicts -= 1
                raise Refused(409, 'Operation cannot be fulfilled on resourcequotas "most": the object has been modified; please '
                                   'apply your changes to the latest version and try again')
            used = sum(1 for key in self.objects if key[:2] == (plural, namespace))
            # Before the name is looked at: a quota that is used up hides that the object exists already.
            if used >= self.quota[plural]:
                raise Refused(403, f'{plural} "{name}" is forbidden: exceeded quota: most, requested: {plural}=1, used: '
                                   f'{plural}={used}, limited: {plural}={self.quota[plural]}')

    @staticmethod
    def _default(kind, value):
        if kind == "Secret":
            data = value.setdefault("data", {}) or {}
            for key, text in (value.pop("stringData", None) or {}).items():
                data[key] = base64.b64encode(text.encode()).decode()
            value["data"] = data
        elif kind == "Pod":
            value["status"] = {"phase": "Pending"}
            for container in value["spec"].get("containers") or []:
                container.setdefault("terminationMessagePath", "/dev/termination-log")
                container.setdefault("imagePullPolicy", "IfNotPresent")
        elif kind == "PersistentVolumeClaim":
            value["status"] = {"phase": "Bound"}
            value["metadata"]["finalizers"] = ["kubernetes.io/pvc-protection"]
        elif kind == "Service":
            value["spec"].setdefault("clusterIP", "10.0.0.1")

    def _find(self, plural, namespace, name):
        value = self.objects.get((plural, namespace, name))
        if value is None:
            raise Refused(404, f'{plural} "{name}" not found', name=name, kind=plural)
        return value

    def update(self, plural, version, namespace, name, body, strict, is_status):
        value = self._decode(self.kind_of(version, plural), version, body, strict)
        with self.lock:
            old = self._find(plural, namespace, name)
            meta = value.get("metadata") or {}
            if meta.get("name") != name:
                raise Refused(400, f"the name of the object ({meta.get('name')}) does not match the name on the URL ({name})")
            if not meta.get("resourceVersion") and ((version, plural) in self.resources or plural == "leases"):
                # AllowUnconditionalUpdate is false for these.
                raise Refused(422, f'{plural} "{name}" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for '
                                   'an update')
            return self._replace(plural, version, namespace, name, old, value, is_status)

    def patch(self, plural, version, namespace, name, body, strict, is_status):
        """A merge patch (RFC 7386)."""
        def merged(target, patch):
            if not isinstance(patch, dict):
                return patch
            target = dict(target) if isinstance(target, dict) else {}
            for key, item in patch.items():
                if item is None:
                    target.pop(key, None)
                else:
                    target[key] = merged(target.get(key), item)
            return target

        with self.lock:
            old = self._find(plural, namespace, name)
            try:
                patch = json.loads(body)
            except ValueError:
                raise Refused(400, "error decoding patch") from None
            whole = merged({"apiVersion": version, "kind": self.kind_of(version, plural), **copy.deepcopy(old)}, patch)
            value = self._decode(self.kind_of(version, plural), version, json.dumps(whole).encode(), strict)
            return self._replace(plural, version, namespace, name, old, value, is_status)

    def _replace(self, plural, version, namespace, name, old, value, is_status):
        """`old` becomes `value`, as far as this way allows it. The lock is held."""
        kind, resource = self.kind_of(version, plural), self.resources.get((version, plural))
        meta = value.get("metadata") or {}
        if meta.get("resourceVersion") not in (None, "", old["metadata"]["resourceVersion"]):
            raise Refused(409, f'Operation cannot be fulfilled on {plural} "{name}": the object has been modified; please apply '
                               'your changes to the latest version and try again')
        if meta.get("uid") not in (None, "", old["metadata"]["uid"]):
            raise Refused(409, f'Operation cannot be fulfilled on {plural} "{name}": Precondition failed: UID in precondition: '
                               f'{meta["uid"]}, UID in object meta: {old["metadata"]["uid"]}')
        new = copy.deepcopy(old)
        if is_status:  # nothing but the status; and through the main resource everything but it
            new["status"] = value.get("status")
            if new["status"] is None:
                del new["status"]
        else:
            new = {field: item for field, item in new.items() if field in ("metadata", "status", "kind", "apiVersion")}
            new.update({field: item for field, item in value.items() if field not in ("metadata", "status")})
            for field in ("labels", "annotations", "finalizers", "ownerReferences"):
                new["metadata"].pop(field, None)
                new["metadata"].update({field: meta[field]} if meta.get(field) else {})
            self._default(kind, new) if kind == "Secret" else None
            if plural in ("pods", "persistentvolumeclaims") and new["spec"] != old["spec"]:
                what = "pod updates may not change fields other than …image" if plural == "pods" else \
                    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
                raise Refused(422, f'{kind} "{name}" is invalid: spec: Forbidden: {what}')
            if resource and new.get("spec") != old.get("spec"):
                new["metadata"]["generation"] += 1
        self._validate(kind, new, resource)
        if new == old:
            return copy.deepcopy(old)  # nothing is written, and nobody is told
        if "deletionTimestamp" in new["metadata"] and not new["metadata"].get("finalizers"):
            self.remove(plural, name, namespace)
            return copy.deepcopy(new)
        self.objects[(plural, namespace, name)] = new
        self._record("MODIFIED", plural, new)
        return copy.deepcopy(new)

    def delete(self, plural, namespace, name, options):
        with self.lock:
            value = self._find(plural, namespace, name)
            meta = value["metadata"]
            wanted = (options.get("preconditions") or {}).get("uid")
            if wanted not in (None, meta["uid"]):  # storage.Preconditions.Check
                raise Refused(409, f'Operation cannot be fulfilled on {plural} "{name}": StorageError: invalid object, Precondition '
                                   f'failed: UID in precondition: {wanted}, UID in object meta: {meta["uid"]}')
            grace = 0
            if plural == "pods" and value["spec"].get("nodeName") and value["status"].get("phase") not in ("Failed", "Succeeded"):
                grace = options.get("gracePeriodSeconds", value["spec"].get("terminationGracePeriodSeconds", 30))
                # A grace can be shortened, not lengthened.
                grace = min(grace, meta.get("deletionGracePeriodSeconds", grace))
            if options.get("propagationPolicy") == "Orphan":
                for dependent in self.objects.values():
                    owners = dependent["metadata"].get("ownerReferences") or []
                    dependent["metadata"]["ownerReferences"] = [owner for owner in owners if owner["uid"] != meta["uid"]]
            elif options.get("propagationPolicy") == "Foreground" and "foregroundDeletion" not in meta.get("finalizers", []):
                meta.setdefault("finalizers", []).append("foregroundDeletion")  # the garbage collector takes it away
            has_finalizers = bool(meta.get("finalizers")) and plural != "persistentvolumeclaims"
            is_held = grace > 0 or has_finalizers or (plural == "persistentvolumeclaims" and self._claim_is_used(namespace, name))
            if not is_held:
                self.remove(plural, name, namespace)
            else:
                meta.setdefault("deletionTimestamp", now())
                meta["deletionGracePeriodSeconds"] = grace
                self._record("MODIFIED", plural, value)
            return copy.deepcopy(value) if plural != "secrets" else \
                {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}

    # --- lists and watches ---

    @staticmethod
    def selector(text):
        """`a=b,c` (with `=`, or a key that has to be there) as a function of labels."""
        terms = [term for term in text.split(",") if term]
        for term in terms:
            if not re.fullmatch(r"[A-Za-z0-9./_-]+(={1,2}[A-Za-z0-9._-]*)?", term):
                raise Refused(400, f"unable to parse requirement: {term}")
        return lambda labels: all(
            labels.get(term.split("=", 1)[0]) == term.split("=")[-1] if "=" in term else term in labels for term in terms)

    def list(self, plural, version, namespace, query):
        chosen = self.selector(query.get("labelSelector", ""))
        limit = int(query.get("limit", 0))
        with self.lock:
            first = 0
            at = self.version
            if "continue" in query:
                at, first = json.loads(base64.urlsafe_b64decode(query["continue"] + "=="))
                if at < self.compacted:
                    raise Refused(410, "The provided continue parameter is too old to display a consistent list result.")
            found = [copy.deepcopy(value) for key, value in sorted(self.objects.items())
                     if key[:2] == (plural, namespace) and chosen(value["metadata"].get("labels") or {})]
            meta = {"resourceVersion": str(at)}
            page = found[first:first + limit] if limit else found
            if limit and first + limit < len(found):
                token = base64.urlsafe_b64encode(json.dumps([at, first + limit]).encode()).decode().rstrip("=")
                meta.update({"continue": token, "remainingItemCount": len(found) - first - limit})
            for item in page:  # items of a list do not say what they are
                item.pop("kind"), item.pop("apiVersion")
            return {"kind": self.kind_of(version, plural) + "List", "apiVersion": version, "metadata": meta, "items": page}

    def watch(self, plural, version, namespace, query, send, connection):
        chosen = self.selector(query.get("labelSelector", ""))
        at = int(query.get("resourceVersion") or 0)
        deadline = time.monotonic() + min(int(query.get("timeoutSeconds", 1800)), 1800)
        bookmarks = query.get("allowWatchBookmarks") == "true"
        expired = Refused(410, f"too old resource version: {at} ({self.compacted})")
        with self.lock:
            if at and at < self.compacted:
                if not self.gone_as_event:
                    raise expired
                send({"type": "ERROR", "object": expired.status})
                return
            self.watches.add(connection)
        next_bookmark = time.monotonic() + BOOKMARK_S
        position = 0
        try:
            send(None)
            while time.monotonic() < deadline:
                with self.lock:
                    if at and at < self.compacted:
                        break  # what it has not been told is forgotten, and a bookmark would say that it had been
                    if position > len(self.history):
                        position = 0
                    events = [event for event in self.history[position:] if event[0] > at]
                    position = len(self.history)
                    if not events and time.monotonic() < next_bookmark:
                        self.changed.wait(max(0.001, min(next_bookmark, deadline) - time.monotonic()))
                        continue
                    reached = self.version
                for number, kind, which, value in events:
                    at = number
                    if which == plural and value["metadata"]["namespace"] == namespace and \
                            chosen(value["metadata"].get("labels") or {}):
                        send({"type": kind, "object": value})
                if bookmarks and time.monotonic() >= next_bookmark:
                    send({"type": "BOOKMARK", "object": {"kind": self.kind_of(version, plural), "apiVersion": version, "metadata": {
                        "resourceVersion": str(max(at, reached if not events else at)), "creationTimestamp": None}}})
                    next_bookmark = time.monotonic() + BOOKMARK_S
        finally:
            with self.lock:
                self.watches.discard(connection)

    # --- who may ---

    def authenticate(self, headers, certificate):
        token = headers.get("Authorization", "").removeprefix("Bearer ")
        if token in self.tokens:
            return self.tokens[token]
        if certificate and not token:
            return dict(part[0] for part in certificate["subject"])["commonName"]
        raise Refused(401, "Unauthorized")  # unknown and expired tokens alike

    def authorize(self, user, verb, group, plural, namespace, name):
        for rule in self.rules.get(user, [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]):
            if all({wanted, "*"} & set(rule.get(field) or []) for field, wanted in (
                    ("verbs", verb), ("apiGroups", group), ("resources", plural))) and (
                        not rule.get("resourceNames") or name in rule["resourceNames"]):
                return
        raise Refused(403, f'{plural} {json.dumps(name) + " " if name else ""}is forbidden: User "{user}" cannot {verb} resource '
                           f'"{plural}" in API group "{group}" in the namespace "{namespace}"')


class _Handler(http.server.BaseHTTPRequestHandler):
    disable_nagle_algorithm = True
    protocol_version = "HTTP/1.1"
    api = None

    def log_message(self, *_):
        pass

    def _respond(self, code, value, headers=()):
        body = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, text in headers:
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, value):
        """One line of a watch; None: the head."""
        if not self.is_streaming:
            self.is_streaming = True
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
        if value is not None:
            line = json.dumps(value).encode() + b"\n"
            # In two pieces: a client that takes a chunk for a line loses events.
            for piece in (line[:7], line[7:]):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))

    def _in_form(self, value):
        """Metadata alone, where the client asked for that."""
        if "as=PartialObjectMetadata;" in self.headers.get("Accept", "") + ";":
            return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": value["metadata"]}
        return value

    def _handle(self, method):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, _, text = self.path.partition("?")
        query = dict(urllib.parse.parse_qsl(text, keep_blank_values=True))
        user, code, late, wire = None, 200, None, self.wfile
        self.is_streaming = False
        try:
            user = self.api.authenticate(self.headers, self.request.getpeercert())
            self.api.wait_for(self.api.find_hold(method, path, text, body, after=False))
            late = self.api.find_hold(method, path, text, body, after=True)
            if self.api.is_broken(method, path, after=False):
                raise OSError
            is_lost = self.api.is_broken(method, path, after=True)
            self.wfile = io.BytesIO() if late or is_lost else wire  # where the answer goes
            self.close_connection |= is_lost
            prepared = self.api.prepared_answer(method, path)
            if prepared is not None:
                code, value = prepared
                self._respond(code, value)
            else:
                code = self._dispatch(method, path, query, body, user)
        except Refused as refused:
            code = refused.code
            self._respond(code, refused.status, refused.headers)
        except OSError:
            self.close_connection = True
        finally:
            self.api.wait_for(late)
            if late:
                wire.write(self.wfile.getvalue())
            self.wfile = wire
            self.api.seen.append((method, self.path, user, code))

    def _review(self, body, user):
        """SelfSubjectAccessReview: any user may ask what they may."""
        wanted = json.loads(body)["spec"]["resourceAttributes"]
        allowed = True
        try:
            self.api.authorize(user, wanted["verb"], wanted.get("group", ""),
                               "/".join(filter(None, (wanted["resource"], wanted.get("subresource")))), wanted["namespace"], None)
        except Refused:
            allowed = False
        self._respond(201, {"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "status": {"allowed": allowed}})
        return 201

    def _dispatch(self, method, path, query, body, user):
        if path == "/version":
            self._respond(200, {"major": "1", "minor": "36", "gitVersion": "v1.36.0"})
            return 200
        if (method, path) == ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"):
            return self._review(body, user)
        match = re.fullmatch(r"/(api/v1|apis/([a-z0-9.]+)/(v[0-9][a-z0-9]*))(?:/namespaces/([^/]+))?/([a-z]+)(?:/([^/]+))?(?:/(status))?", path)
        if not match:
            raise Refused(404, "the server could not find the requested resource")
        group, namespace, plural, name, sub = match[2] or "", match[4], match[5], match[6], match[7]
        version = f"{group}/{match[3]}" if group else "v1"
        if self.api.kind_of(version, plural) is None or (
                sub and (version, plural) in self.api.resources and not self.api.resources[version, plural].has_status):
            raise Refused(404, "the server could not find the requested resource")
        verb = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}.get(method) or (
            "watch" if query.get("watch") in ("true", "1") else "get" if name else "list")
        api = self.api
        api.authorize(user, verb, group, plural + (f"/{sub}" if sub else ""), namespace, name)
        with api.lock:  # after authentication, as API Priority and Fairness has it; a watch that runs is not asked again
            if api.throttle > 0:
                api.throttle -= 1
                raise Refused(429, "Too many requests, please try again later.", headers=[("Retry-After", "1")], retryAfterSeconds=1)
        kind = self.headers.get("Content-Type", "").split(";")[0]
        if method == "PATCH" and kind not in PATCHES:
            raise Refused(415, f"the body of the request was in an unknown format - accepted media types include: {', '.join(PATCHES)}")
        if method in ("POST", "PUT") and kind != "application/json":
            raise Refused(415, "the body of the request was in an unknown format - accepted media types include: application/json")
        strict = query.get("fieldValidation") == "Strict"
        if verb == "watch":
            def send(event):
                self._stream(event if event is None or event["type"] == "ERROR" else {**event, "object": self._in_form(event["object"])})

            api.watch(plural, version, namespace, query, send, self.request)
            self.wfile.write(b"0\r\n\r\n")
        elif verb == "list":
            answer = api.list(plural, version, namespace, query)
            if "as=PartialObjectMetadataList" in self.headers.get("Accept", ""):
                answer.update(kind="PartialObjectMetadataList", apiVersion="meta.k8s.io/v1",
                              items=[{"metadata": item["metadata"]} for item in answer["items"]])
            self._respond(200, answer)
        elif verb == "get":
            with api.lock:
                self._respond(200, copy.deepcopy(api._find(plural, namespace, name)))
        elif verb == "create":
            self._respond(201, self._in_form(api.create(plural, version, namespace, body, strict)))
            return 201
        elif verb == "update":
            self._respond(200, api.update(plural, version, namespace, name, body, strict, sub == "status"))
        elif verb == "patch":
            if kind != "application/merge-patch+json":
                raise Refused(415, "the fake knows merge patches only")
            self._respond(200, api.patch(plural, version, namespace, name, body, strict, sub == "status"))
        elif verb == "delete":
            options = json.loads(body) if body else {}
            if body and kind != "application/json":
                raise Refused(415, "the body of the request was in an unknown format")
            if options and (options.get("kind") != "DeleteOptions" or set(options) - {
                    "kind", "apiVersion", "gracePeriodSeconds", "preconditions", "propagationPolicy", "orphanDependents", "dryRun"}):
                raise Refused(400, "the body is no DeleteOptions")
            self._respond(200, api.delete(plural, namespace, name, options))
        else:
            raise Refused(400, f"nobody here is known to {verb}")
        return 200

    def do_GET(self):
        self._handle("GET")

    def do_POST(self):
        self._handle("POST")

    def do_PUT(self):
        self._handle("PUT")

    def do_PATCH(self):
        self._handle("PATCH")

    def do_DELETE(self):
        self._handle("DELETE")

