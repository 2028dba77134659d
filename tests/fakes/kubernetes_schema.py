"""What Kubernetes 1.36 takes in the objects that Terminals sends: fields, types, and the rules of their values.

A field that is not here is unknown: with `fieldValidation=Strict` the real API server refuses it (400, "strict decoding
error"), and so does the fake. The schemas are of k8s.io/api core/v1, apps/v1, networking.k8s.io/v1 and
rbac.authorization.k8s.io/v1, as far as anybody here uses them: an unknown field that the real server knows is a reason to
add it here.
"""
import base64
import binascii
import ipaddress
import re

from kubernetes_crd import definition_problems

# A type is: "time" and "microtime" (texts that have to be such); str, int, bool; [type]; {"field": type}; ("map", type); "any"; "quantity"; "intstr"; "bytes".
META = {"name": str, "generateName": str, "namespace": str, "labels": ("map", str), "annotations": ("map", str), "uid": str,
        "resourceVersion": str, "generation": int, "creationTimestamp": str, "deletionTimestamp": str,
        "deletionGracePeriodSeconds": int, "finalizers": [str], "managedFields": ["any"], "selfLink": str,
        "ownerReferences": [{"apiVersion": str, "kind": str, "name": str, "uid": str, "controller": bool,
                             "blockOwnerDeletion": bool}]}
KEY = {"name": str, "key": str, "optional": bool}
SELECTOR = {"matchLabels": ("map", str), "matchExpressions": [{"key": str, "operator": str, "values": [str]}]}
HANDLER = {"exec": {"command": [str]}, "httpGet": {"path": str, "port": "intstr", "host": str, "scheme": str,
                                                   "httpHeaders": [{"name": str, "value": str}]},
           "tcpSocket": {"port": "intstr", "host": str}, "grpc": {"port": int, "service": str}}
PROBE = {**HANDLER, "initialDelaySeconds": int, "timeoutSeconds": int, "periodSeconds": int, "successThreshold": int,
         "failureThreshold": int, "terminationGracePeriodSeconds": int}
PROFILE = {"type": str, "localhostProfile": str}
SECURITY = {"capabilities": {"add": [str], "drop": [str]}, "privileged": bool, "seLinuxOptions": "any", "windowsOptions": "any",
            "runAsUser": int, "runAsGroup": int, "runAsNonRoot": bool, "readOnlyRootFilesystem": bool,
            "allowPrivilegeEscalation": bool, "procMount": str, "seccompProfile": PROFILE, "appArmorProfile": PROFILE}
POD_SECURITY = {"seLinuxOptions": "any", "windowsOptions": "any", "runAsUser": int, "runAsGroup": int, "runAsNonRoot": bool,
                "supplementalGroups": [int], "supplementalGroupsPolicy": str, "fsGroup": int, "fsGroupChangePolicy": str,
                "sysctls": [{"name": str, "value": str}], "seccompProfile": PROFILE, "appArmorProfile": PROFILE,
                "seLinuxChangePolicy": str}
RESOURCES = {"limits": ("map", "quantity"), "requests": ("map", "quantity"), "claims": [{"name": str, "request": str}]}
CONTAINER = {
    "name": str, "image": str, "command": [str], "args": [str], "workingDir": str, "imagePullPolicy": str,
    "ports": [{"name": str, "hostPort": int, "containerPort": int, "protocol": str, "hostIP": str}],
    "env": [{"name": str, "value": str, "valueFrom": {
        "secretKeyRef": KEY, "configMapKeyRef": KEY, "fieldRef": {"apiVersion": str, "fieldPath": str},
        "resourceFieldRef": {"containerName": str, "resource": str, "divisor": "quantity"}}}],
    "envFrom": [{"prefix": str, "configMapRef": {"name": str, "optional": bool}, "secretRef": {"name": str, "optional": bool}}],
    "resources": RESOURCES, "resizePolicy": ["any"], "restartPolicy": str,
    "volumeMounts": [{"name": str, "readOnly": bool, "recursiveReadOnly": str, "mountPath": str, "subPath": str,
                      "mountPropagation": str, "subPathExpr": str}],
    "volumeDevices": [{"name": str, "devicePath": str}], "livenessProbe": PROBE, "readinessProbe": PROBE, "startupProbe": PROBE,
    "lifecycle": {"postStart": {**HANDLER, "sleep": {"seconds": int}}, "preStop": {**HANDLER, "sleep": {"seconds": int}}, "stopSignal": str},
    "terminationMessagePath": str, "terminationMessagePolicy": str, "securityContext": SECURITY, "stdin": bool, "stdinOnce": bool,
    "tty": bool}
AFFINITY_TERM = {"labelSelector": SELECTOR, "namespaces": [str], "topologyKey": str, "namespaceSelector": SELECTOR,
                 "matchLabelKeys": [str], "mismatchLabelKeys": [str]}
POD_AFFINITY = {"requiredDuringSchedulingIgnoredDuringExecution": [AFFINITY_TERM],
                "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": int, "podAffinityTerm": AFFINITY_TERM}]}
ITEMS = [{"key": str, "path": str, "mode": int}]
CLAIM_SPEC = {"accessModes": [str], "selector": SELECTOR, "resources": {"limits": ("map", "quantity"), "requests": ("map", "quantity")},
              "volumeName": str, "storageClassName": str, "volumeMode": str, "dataSource": "any", "dataSourceRef": "any",
              "volumeAttributesClassName": str}
VOLUME = {"name": str, "persistentVolumeClaim": {"claimName": str, "readOnly": bool}, "emptyDir": {"medium": str, "sizeLimit": "quantity"},
          "secret": {"secretName": str, "items": ITEMS, "defaultMode": int, "optional": bool},
          "configMap": {"name": str, "items": ITEMS, "defaultMode": int, "optional": bool}, "hostPath": {"path": str, "type": str},
          "projected": "any", "downwardAPI": "any", "csi": "any", "nfs": {"server": str, "path": str, "readOnly": bool},
          "ephemeral": "any", "image": "any"}
POD_SPEC = {
    "volumes": [VOLUME], "initContainers": [CONTAINER], "containers": [CONTAINER], "restartPolicy": str,
    "terminationGracePeriodSeconds": int, "activeDeadlineSeconds": int, "dnsPolicy": str, "nodeSelector": ("map", str),
    "serviceAccountName": str, "serviceAccount": str, "automountServiceAccountToken": bool, "nodeName": str, "hostNetwork": bool,
    "hostPID": bool, "hostIPC": bool, "shareProcessNamespace": bool, "securityContext": POD_SECURITY,
    "imagePullSecrets": [{"name": str}], "hostname": str, "subdomain": str,
    "affinity": {"nodeAffinity": "any", "podAffinity": POD_AFFINITY, "podAntiAffinity": POD_AFFINITY}, "schedulerName": str,
    "tolerations": [{"key": str, "operator": str, "value": str, "effect": str, "tolerationSeconds": int}],
    "hostAliases": [{"ip": str, "hostnames": [str]}], "priorityClassName": str, "priority": int, "dnsConfig": "any",
    "readinessGates": ["any"], "runtimeClassName": str, "enableServiceLinks": bool, "preemptionPolicy": str,
    "overhead": ("map", "quantity"), "topologySpreadConstraints": ["any"], "setHostnameAsFQDN": bool, "os": {"name": str},
    "hostUsers": bool, "schedulingGates": [{"name": str}], "resourceClaims": ["any"], "resources": RESOURCES}
TEMPLATE = {"metadata": META, "spec": POD_SPEC}
PORT = {"name": str, "protocol": str, "port": int, "targetPort": "intstr", "nodePort": int, "appProtocol": str}
PEERS = [{"podSelector": SELECTOR, "namespaceSelector": SELECTOR, "ipBlock": {"cidr": str, "except": [str]}}]
POLICY_PORTS = [{"protocol": str, "port": "intstr", "endPort": int}]
HEAD = {"apiVersion": str, "kind": str, "metadata": META}
SUBJECTS = [{"kind": str, "name": str, "namespace": str, "apiGroup": str}]

# kind: (apiVersion, plural, namespaced, schema)
KINDS = {
    "Pod": ("v1", "pods", True, {**HEAD, "spec": POD_SPEC, "status": "any"}),
    "Service": ("v1", "services", True, {**HEAD, "spec": {
        "ports": [PORT], "selector": ("map", str), "clusterIP": str, "clusterIPs": [str], "type": str, "externalIPs": [str],
        "sessionAffinity": str, "loadBalancerIP": str, "loadBalancerSourceRanges": [str], "externalName": str,
        "externalTrafficPolicy": str, "healthCheckNodePort": int, "publishNotReadyAddresses": bool, "sessionAffinityConfig": "any",
        "ipFamilies": [str], "ipFamilyPolicy": str, "allocateLoadBalancerNodePorts": bool, "loadBalancerClass": str,
        "internalTrafficPolicy": str, "trafficDistribution": str}, "status": "any"}),
    "Secret": ("v1", "secrets", True, {**HEAD, "immutable": bool, "data": ("map", "bytes"), "stringData": ("map", str), "type": str}),
    "PersistentVolumeClaim": ("v1", "persistentvolumeclaims", True, {**HEAD, "spec": CLAIM_SPEC, "status": "any"}),
    "Event": ("v1", "events", True, {
        **HEAD, "involvedObject": {"kind": str, "namespace": str, "name": str, "uid": str, "apiVersion": str, "resourceVersion": str,
                                   "fieldPath": str},
        "reason": str, "message": str, "source": {"component": str, "host": str}, "firstTimestamp": "time", "lastTimestamp": "time",
        "count": int, "type": str, "eventTime": "microtime", "series": "any", "action": str, "related": "any",
        "reportingComponent": str, "reportingInstance": str}),
    "Lease": ("coordination.k8s.io/v1", "leases", True, {**HEAD, "spec": {
        "holderIdentity": str, "leaseDurationSeconds": int, "acquireTime": "microtime", "renewTime": "microtime",
        "leaseTransitions": int, "strategy": str, "preferredHolder": str}}),
    "CustomResourceDefinition": ("apiextensions.k8s.io/v1", "customresourcedefinitions", False, {**HEAD, "spec": {
        "group": str, "scope": str, "preserveUnknownFields": bool, "conversion": "any",
        "names": {"plural": str, "singular": str, "kind": str, "listKind": str, "shortNames": [str], "categories": [str]},
        "versions": [{"name": str, "served": bool, "storage": bool, "deprecated": bool, "deprecationWarning": str,
                      "schema": {"openAPIV3Schema": "any"}, "subresources": {"status": "any", "scale": "any"},
                      "additionalPrinterColumns": [{"name": str, "type": str, "format": str, "description": str, "priority": int,
                                                    "jsonPath": str}], "selectableFields": ["any"]}]}, "status": "any"}),
    "ServiceAccount": ("v1", "serviceaccounts", True, {**HEAD, "secrets": ["any"], "imagePullSecrets": [{"name": str}],
                                                       "automountServiceAccountToken": bool}),
    "Namespace": ("v1", "namespaces", False, {**HEAD, "spec": {"finalizers": [str]}, "status": "any"}),
    "ConfigMap": ("v1", "configmaps", True, {**HEAD, "data": ("map", str), "binaryData": ("map", "bytes"), "immutable": bool}),
    "Deployment": ("apps/v1", "deployments", True, {**HEAD, "spec": {
        "replicas": int, "selector": SELECTOR, "template": TEMPLATE, "strategy": {"type": str, "rollingUpdate": "any"},
        "minReadySeconds": int, "revisionHistoryLimit": int, "paused": bool, "progressDeadlineSeconds": int}, "status": "any"}),
    "Role": ("rbac.authorization.k8s.io/v1", "roles", True, {**HEAD, "rules": [{
        "verbs": [str], "apiGroups": [str], "resources": [str], "resourceNames": [str], "nonResourceURLs": [str]}]}),
    "RoleBinding": ("rbac.authorization.k8s.io/v1", "rolebindings", True, {
        **HEAD, "subjects": SUBJECTS, "roleRef": {"apiGroup": str, "kind": str, "name": str}}),
    "NetworkPolicy": ("networking.k8s.io/v1", "networkpolicies", True, {**HEAD, "spec": {
        "podSelector": SELECTOR, "policyTypes": [str], "ingress": [{"ports": POLICY_PORTS, "from": PEERS}],
        "egress": [{"ports": POLICY_PORTS, "to": PEERS}]}}),
    "Ingress": ("networking.k8s.io/v1", "ingresses", True, {**HEAD, "spec": {
        "ingressClassName": str, "defaultBackend": "any", "tls": [{"hosts": [str], "secretName": str}],
        "rules": [{"host": str, "http": {"paths": [{"path": str, "pathType": str, "backend": {
            "service": {"name": str, "port": {"name": str, "number": int}}, "resource": "any"}}]}}]}, "status": "any"}),
}

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
DNS_LABEL_1035 = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
DNS_SUBDOMAIN = re.compile(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
PORT_NAME = re.compile(r"(?=.*[a-z])(?!.*--)[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?")
QUALIFIED = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
QUANTITY = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]+)?")
UNITS = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
         **{unit + "i": 1024.0 ** power for power, unit in enumerate("KMGTPE", 1)}}


def amount(text):
    """A quantity as a number."""
    match = re.fullmatch(r"([+-]?[0-9.]+)([a-zA-Z]*)", text)
    return float(match[1]) * UNITS[match[2]] if match and match[2] in UNITS else float(text)


class BadType(Exception):
    """400: the body cannot be decoded into the kind's Go type."""


def unknown_fields(value, schema, path=""):
    """The paths of unknown fields; BadType where a value has the wrong type (json.Unmarshal into the type fails)."""
    def expect(good, what):
        if not good:
            raise BadType(f"json: cannot unmarshal {type(value).__name__} into Go struct field {path.lstrip('.')} of type {what}")

    if value is None or schema == "any":
        return []
    if schema is str:
        expect(isinstance(value, str), "string")
    elif schema is bool:
        expect(isinstance(value, bool), "bool")
    elif schema is int:
        expect(isinstance(value, int) and not isinstance(value, bool), "int64")
    elif schema in ("time", "microtime"):  # time.Parse with RFC3339, or with six digits behind the point
        digits = r"(\.\d+)?" if schema == "time" else r"\.\d{6}"
        expect(isinstance(value, str), "Time")
        if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d" + digits + r"(Z|[+-]\d\d:\d\d)", value):
            raise BadType(f'parsing time "{value}" as "2006-01-02T15:04:05{"" if schema == "time" else ".000000"}Z07:00": cannot parse')
    elif schema == "quantity":
        text = str(value)
        if not QUANTITY.fullmatch(text):
            raise BadType("quantities must match the regular expression "
                          "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")
    elif schema == "intstr":
        expect(isinstance(value, (int, str)) and not isinstance(value, bool), "intstr.IntOrString")
    elif schema == "bytes":
        expect(isinstance(value, str), "[]uint8")
        try:
            base64.b64decode(value, validate=True)
        except binascii.Error:
            raise BadType(f"illegal base64 data at {path}") from None
    elif isinstance(schema, list):
        expect(isinstance(value, list), "[]")
        return [bad for n, item in enumerate(value) for bad in unknown_fields(item, schema[0], f"{path}[{n}]")]
    elif isinstance(schema, tuple):
        expect(isinstance(value, dict), "map")
        return [bad for key, item in value.items() for bad in unknown_fields(item, schema[1], f"{path}.{key}")]
    else:
        expect(isinstance(value, dict), "struct")
        found = []
        for key, item in value.items():
            found += unknown_fields(item, schema[key], f"{path}.{key}") if key in schema else [f"{path}.{key}".lstrip(".")]
        return found
    return []


# --- validation: what decodes and is still wrong (422, Status with causes) ---

def metadata_problems(meta, kind):
    """k8s.io/apimachinery ValidateObjectMeta."""
    name = meta.get("name", "")
    pattern, what = (DNS_LABEL_1035, "DNS-1035 label") if kind == "Service" else (DNS_SUBDOMAIN, "RFC 1123 subdomain")
    if kind == "Namespace":
        pattern, what = DNS_LABEL, "RFC 1123 label"
    if not name and not meta.get("generateName"):
        yield "metadata.name", "Required value: name or generateName is required"
    elif name and not pattern.fullmatch(name):
        yield "metadata.name", f"Invalid value: {name!r}: a {what} must consist of lower case alphanumeric characters …"
    for field in ("labels", "annotations"):
        for key, value in (meta.get(field) or {}).items():
            prefix, slash, rest = key.rpartition("/")
            if (slash and not DNS_SUBDOMAIN.fullmatch(prefix)) or not QUALIFIED.fullmatch(rest):
                yield f"metadata.{field}", f"Invalid value: {key!r}: name part must consist of alphanumeric characters …"
            if field == "labels" and not LABEL_VALUE.fullmatch(value):
                yield "metadata.labels", f"Invalid value: {value!r}: a valid label must be an empty string or consist of …"
    owners = meta.get("ownerReferences") or []
    for n, owner in enumerate(owners):
        for field in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(field):
                yield f"metadata.ownerReferences[{n}].{field}", "Invalid value: must not be empty"
    if sum(bool(owner.get("controller")) for owner in owners) > 1:
        yield "metadata.ownerReferences", "Invalid value: Only one reference can have Controller set to true"
    for finalizer in meta.get("finalizers") or []:
        if "/" not in finalizer and finalizer not in ("orphan", "foregroundDeletion", "kubernetes"):
            yield "metadata.finalizers", f"Invalid value: {finalizer!r}: name is neither a standard finalizer name nor is it fully qualified"
    if sum(len(k) + len(v) for k, v in (meta.get("annotations") or {}).items()) > 256 * 1024:
        yield "metadata.annotations", "Too long: may not be more than 262144 bytes"


def one_of(path, value, allowed):
    if value not in allowed:
        yield path, f"Unsupported value: {value!r}: supported values: {', '.join(allowed)}"


def container_problems(path, container, volumes, names, pod):
    name = container.get("name", "")
    if not DNS_LABEL.fullmatch(name):
        yield f"{path}.name", f"Invalid value: {name!r}"
    if name in names:
        yield f"{path}.name", f"Duplicate value: {name!r}"
    names.add(name)
    if not container.get("image"):
        yield f"{path}.image", "Required value"
    for variable in container.get("env") or []:
        # Since 1.34 (RelaxedEnvironmentVariableValidation) any printable ASCII but `=`.
        if not variable.get("name") or "=" in variable["name"]:
            yield f"{path}.env.name", f"Invalid value: {variable.get('name')!r}"
        if variable.get("valueFrom") and variable.get("value"):
            yield f"{path}.env.valueFrom", "Invalid value: may not be specified when `value` is not empty"
    paths = set()
    for mount in container.get("volumeMounts") or []:
        if not mount.get("mountPath") or ":" in mount["mountPath"]:
            yield f"{path}.volumeMounts.mountPath", f"Invalid value: {mount.get('mountPath')!r}: must not be empty, or contain ':'"
        if mount.get("subPath") and mount.get("subPathExpr"):
            yield f"{path}.volumeMounts.subPathExpr", "Invalid value: subPathExpr and subPath are mutually exclusive"
        if mount.get("name") not in volumes:
            yield f"{path}.volumeMounts.name", f"Not found: {mount.get('name')!r}"
        if mount.get("mountPath") in paths:
            yield f"{path}.volumeMounts.mountPath", f"Invalid value: {mount['mountPath']!r}: must be unique"
        paths.add(mount.get("mountPath"))
        sub = mount.get("subPath", "")
        if sub.startswith("/") or ".." in sub.split("/"):
            yield f"{path}.volumeMounts.subPath", f"Invalid value: {sub!r}: must be a relative path without '..'"
    for port in container.get("ports") or []:
        if not 0 < port.get("containerPort", 0) < 65536:
            yield f"{path}.ports.containerPort", "Invalid value: must be between 1 and 65535, inclusive"
        if "name" in port and not PORT_NAME.fullmatch(port["name"]):
            yield f"{path}.ports.name", f"Invalid value: {port['name']!r}: must be no more than 15 characters, of [a-z0-9-], with a letter"
    resources = container.get("resources") or {}
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for resource, value in requests.items():
        if resource in limits and amount(str(value)) > amount(str(limits[resource])):
            yield f"{path}.resources.requests", f"Invalid value: {value!r}: must be less than or equal to {resource} limit of {limits[resource]}"
    context = container.get("securityContext") or {}
    if context.get("privileged") and context.get("allowPrivilegeEscalation") is False:
        yield f"{path}.securityContext", "Invalid value: cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
    yield from one_of(f"{path}.terminationMessagePolicy", container.get("terminationMessagePolicy", "File"),
                      ("File", "FallbackToLogsOnError"))
    for kind in ("readinessProbe", "livenessProbe", "startupProbe"):
        if kind in container:
            yield from probe_problems(f"{path}.{kind}", container[kind], kind)


def probe_problems(path, probe, kind):
    """validateProbe, validateLivenessProbe."""
    handlers = [name for name in ("exec", "httpGet", "tcpSocket", "grpc") if name in probe]
    if len(handlers) != 1:
        yield path, "Required value: must specify exactly one handler type"
    if "exec" in probe and not probe["exec"].get("command"):
        yield f"{path}.exec.command", "Required value"
    if "httpGet" in probe and (not probe["httpGet"].get("path") or "port" not in probe["httpGet"]):
        yield f"{path}.httpGet", "Required value: path and port"
    for field in ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"):
        if probe.get(field, 0) < 0:
            yield f"{path}.{field}", "Invalid value: must be greater than or equal to 0"
    if kind != "readinessProbe" and probe.get("successThreshold", 1) != 1:
        yield f"{path}.successThreshold", "Invalid value: must be 1"
    if kind == "readinessProbe" and "terminationGracePeriodSeconds" in probe:
        yield f"{path}.terminationGracePeriodSeconds", "Invalid value: must not be set for readinessProbes"


def pod_spec_problems(spec, path="spec"):
    """ValidatePodSpec."""
    volumes = set()
    for volume in spec.get("volumes") or []:
        sources = [key for key in volume if key != "name"]
        if not DNS_LABEL.fullmatch(volume.get("name", "")) or volume["name"] in volumes:
            yield f"{path}.volumes.name", f"Invalid or duplicate value: {volume.get('name')!r}"
        volumes.add(volume.get("name"))
        if len(sources) != 1:
            yield f"{path}.volumes", "Forbidden: must specify exactly one volume type"
        for source, field in (("persistentVolumeClaim", "claimName"), ("secret", "secretName"), ("hostPath", "path")):
            if source in volume and not volume[source].get(field):
                yield f"{path}.volumes.{source}.{field}", "Required value"
    names = set()
    if not spec.get("containers"):
        yield f"{path}.containers", "Required value"
    for field in ("containers", "initContainers"):
        for n, container in enumerate(spec.get(field) or []):
            yield from container_problems(f"{path}.{field}[{n}]", container, volumes, names, spec)
    yield from one_of(f"{path}.restartPolicy", spec.get("restartPolicy", "Always"), ("Always", "OnFailure", "Never"))
    if spec.get("activeDeadlineSeconds", 1) < 1:
        yield f"{path}.activeDeadlineSeconds", "Invalid value: must be between 1 and 2147483647, inclusive"
    context = spec.get("securityContext") or {}
    for field in ("runAsUser", "runAsGroup", "fsGroup"):
        if not 0 <= context.get(field, 0) <= 2147483647:
            yield f"{path}.securityContext.{field}", "Invalid value: must be between 0 and 2147483647, inclusive"
    if "fsGroupChangePolicy" in context:
        yield from one_of(f"{path}.securityContext.fsGroupChangePolicy", context["fsGroupChangePolicy"], ("Always", "OnRootMismatch"))
    for toleration in spec.get("tolerations") or []:
        operator = toleration.get("operator", "Equal")
        yield from one_of(f"{path}.tolerations.operator", operator, ("Equal", "Exists", "Lt", "Gt"))
        if operator == "Exists" and toleration.get("value"):
            yield f"{path}.tolerations.operator", "Invalid value: value must be empty when `operator` is 'Exists'"
        if not toleration.get("key") and operator != "Exists":
            yield f"{path}.tolerations.operator", "Invalid value: operator must be Exists when `key` is empty"
    for key, value in (spec.get("nodeSelector") or {}).items():
        if not QUALIFIED.fullmatch(key.rpartition("/")[2]) or not LABEL_VALUE.fullmatch(value):
            yield f"{path}.nodeSelector", f"Invalid value: {key}={value}"
    for kind in ("podAffinity", "podAntiAffinity"):
        terms = ((spec.get("affinity") or {}).get(kind) or {}).get("requiredDuringSchedulingIgnoredDuringExecution") or []
        if any(not term.get("topologyKey") for term in terms):
            yield f"{path}.affinity.{kind}", "Required value: topologyKey can not be empty"


def selects(selector, labels):
    return all(labels.get(key) == value for key, value in (selector or {}).items())


def problems(kind, value):
    """(field, message) of everything that validation finds."""
    spec = value.get("spec") or {}
    yield from metadata_problems(value.get("metadata") or {}, kind)
    if kind == "Pod":
        yield from pod_spec_problems(spec)
    elif kind == "Service":
        if not spec.get("ports"):
            yield "spec.ports", "Required value"
        for n, port in enumerate(spec.get("ports") or []):
            if not 0 < port.get("port", 0) < 65536:
                yield f"spec.ports[{n}].port", "Invalid value: must be between 1 and 65535, inclusive"
            yield from one_of(f"spec.ports[{n}].protocol", port.get("protocol", "TCP"), ("TCP", "UDP", "SCTP"))
            if len(spec["ports"]) > 1 and not port.get("name"):
                yield f"spec.ports[{n}].name", "Required value"
            if port.get("name") and not DNS_LABEL.fullmatch(port["name"]):
                yield f"spec.ports[{n}].name", f"Invalid value: {port['name']!r}"
        yield from one_of("spec.type", spec.get("type", "ClusterIP"), ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName"))
        for key, label in (spec.get("selector") or {}).items():
            if not LABEL_VALUE.fullmatch(label):
                yield "spec.selector", f"Invalid value: {label!r} of {key}"
    elif kind == "PersistentVolumeClaim":
        if not spec.get("accessModes"):
            yield "spec.accessModes", "Required value: at least 1 access mode is required"
        for mode in spec.get("accessModes") or []:
            yield from one_of("spec.accessModes", mode, ("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"))
        if spec.get("storageClassName") and not DNS_SUBDOMAIN.fullmatch(spec["storageClassName"]):
            yield "spec.storageClassName", f"Invalid value: {spec['storageClassName']!r}"
        storage = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
        if storage is None:
            yield "spec.resources[storage]", "Required value"
        elif amount(str(storage)) <= 0:
            yield "spec.resources[storage]", "Invalid value: must be greater than zero"
    elif kind == "Deployment":
        template = spec.get("template") or {}
        if not selects((spec.get("selector") or {}).get("matchLabels"), (template.get("metadata") or {}).get("labels") or {}):
            yield "spec.template.metadata.labels", "Invalid value: `selector` does not match template `labels`"
        yield from pod_spec_problems(template.get("spec") or {}, "spec.template.spec")
        if not spec.get("selector"):
            yield "spec.selector", "Required value"
        if (spec.get("strategy") or {}).get("type") == "Recreate" and "rollingUpdate" in spec["strategy"]:
            yield "spec.strategy.rollingUpdate", "Forbidden: may not be specified when strategy `type` is 'Recreate'"
        if (template.get("spec") or {}).get("restartPolicy", "Always") != "Always":
            yield "spec.template.spec.restartPolicy", "Unsupported value: supported values: Always"
    elif kind == "Event":
        if (value.get("involvedObject") or {}).get("namespace") != value["metadata"].get("namespace"):
            yield "involvedObject.namespace", "Invalid value: does not match event.namespace"
        if value.get("type") not in ("Normal", "Warning"):
            yield "type", "Invalid value: has invalid value"
        if len(value.get("message", "")) > 1024 and value.get("eventTime"):
            yield "message", "Invalid value: can have at most 1024 characters"
    elif kind == "Lease":
        if spec.get("leaseDurationSeconds", 1) <= 0:
            yield "spec.leaseDurationSeconds", "Invalid value: must be greater than 0"
        if spec.get("leaseTransitions", 0) < 0:
            yield "spec.leaseTransitions", "Invalid value: must be greater than or equal to 0"
    elif kind == "CustomResourceDefinition":
        yield from definition_problems(value)
    elif kind == "NetworkPolicy":
        for kind_ in spec.get("policyTypes") or []:
            yield from one_of("spec.policyTypes", kind_, ("Ingress", "Egress"))
        for peer in [peer for field, way in (("ingress", "from"), ("egress", "to")) for rule in spec.get(field) or [] for peer in rule.get(way) or []]:
            if "ipBlock" in peer and set(peer) != {"ipBlock"}:
                yield "spec", "Forbidden: may not specify both ipBlock and another peer"
            outer = ipaddress.ip_network(peer["ipBlock"]["cidr"]) if "ipBlock" in peer else None
            for inner in (peer.get("ipBlock") or {}).get("except") or []:
                if ipaddress.ip_network(inner) == outer or not ipaddress.ip_network(inner).subnet_of(outer):
                    yield "spec", f"Invalid value: {inner!r}: must be a strict subset of `cidr`"
    elif kind == "Ingress":
        for rule in spec.get("rules") or []:
            for entry in (rule.get("http") or {}).get("paths") or []:
                yield from one_of("spec.rules.http.paths.pathType", entry.get("pathType"), ("Exact", "Prefix", "ImplementationSpecific"))
                if not entry.get("backend") or not (entry.get("path") or "").startswith("/"):
                    yield "spec.rules.http.paths", "Required value: a backend, and an absolute path"
    elif kind == "Role":
        for n, rule in enumerate(value.get("rules") or []):
            if not rule.get("verbs") or ("resources" in rule and "apiGroups" not in rule):
                yield f"rules[{n}]", "Required value: verbs and apiGroups"
    elif kind == "RoleBinding":
        reference = value.get("roleRef") or {}
        if reference.get("apiGroup") != "rbac.authorization.k8s.io":
            yield "roleRef.apiGroup", f"Unsupported value: {reference.get('apiGroup')!r}"
        for subject in value.get("subjects") or []:
            if subject.get("kind") == "ServiceAccount" and (not subject.get("namespace") or subject.get("apiGroup")):
                yield "subjects", "Required value: namespace, and no apiGroup, of a ServiceAccount"
