"""The Pod Security Standards, as the admission plugin PodSecurity of 1.36 checks them: what `baseline` and `restricted` refuse.

https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""
CAPABILITIES = {"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP", "SETGID",
                "SETPCAP", "SETUID", "SYS_CHROOT"}
SYSCTLS = {"kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start", "net.ipv4.tcp_syncookies",
           "net.ipv4.ping_group_range", "net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout",
           "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"}
VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")


def containers_of(spec):
    return (spec.get("containers") or []) + (spec.get("initContainers") or [])


def _handlers(container):
    yield from (container.get(probe) or {} for probe in PROBES)
    yield from (container.get("lifecycle") or {}).values()


def baseline_problems(spec):
    contexts = [spec.get("securityContext") or {}] + [one.get("securityContext") or {} for one in containers_of(spec)]
    if any(spec.get(field) for field in ("hostNetwork", "hostPID", "hostIPC")):
        yield "host namespaces"
    if any("hostPath" in volume for volume in spec.get("volumes") or []):
        yield "hostPath volumes"
    if any(one.get("name") not in SYSCTLS for one in contexts[0].get("sysctls") or []):
        yield "forbidden sysctls"
    for container in containers_of(spec):
        own, name = container.get("securityContext") or {}, container.get("name")
        if own.get("privileged"):
            yield f'privileged (container "{name}")'
        if set((own.get("capabilities") or {}).get("add") or []) - CAPABILITIES:
            yield f'non-default capabilities (container "{name}")'
        if any(port.get("hostPort") for port in container.get("ports") or []):
            yield f'hostPort (container "{name}")'
        if own.get("procMount", "Default") != "Default":
            yield f'procMount (container "{name}")'
        if any((handler.get(kind) or {}).get("host") for handler in _handlers(container) for kind in ("httpGet", "tcpSocket")):
            yield f'probe or lifecycle host (container "{name}")'
    for context in contexts:
        if (context.get("seccompProfile") or {}).get("type") == "Unconfined":
            yield "seccompProfile"
        if (context.get("appArmorProfile") or {}).get("type") == "Unconfined":
            yield "forbidden AppArmor profile"
        if (context.get("windowsOptions") or {}).get("hostProcess"):
            yield "hostProcess"
        linux = context.get("seLinuxOptions") or {}
        if linux.get("user") or linux.get("role") or linux.get("type", "container_t") not in (
                "", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"):
            yield "seLinuxOptions"


def restricted_problems(spec):
    """What `restricted` refuses: all that `baseline` does, and more."""
    yield from baseline_problems(spec)
    pod = spec.get("securityContext") or {}
    for container in containers_of(spec):
        own = container.get("securityContext") or {}
        name = container.get("name")
        if own.get("allowPrivilegeEscalation") is not False:
            yield f'allowPrivilegeEscalation != false (container "{name}")'
        capabilities = own.get("capabilities") or {}
        if "ALL" not in (capabilities.get("drop") or []) or set(capabilities.get("add") or []) - {"NET_BIND_SERVICE"}:
            yield f'unrestricted capabilities (container "{name}")'
        if not own.get("runAsNonRoot", pod.get("runAsNonRoot")):
            yield f'runAsNonRoot != true (container "{name}")'
        if own.get("runAsUser", pod.get("runAsUser")) == 0:
            yield f'runAsUser=0 (container "{name}")'
        profile = (own.get("seccompProfile") or pod.get("seccompProfile") or {}).get("type")
        if profile not in ("RuntimeDefault", "Localhost"):
            yield f'seccompProfile (container "{name}")'
    if pod.get("runAsUser") == 0:
        yield "runAsUser=0 (pod)"
    for volume in spec.get("volumes") or []:
        if set(volume) - {"name"} - VOLUMES:
            yield f'restricted volume types (volume "{volume.get("name")}")'
