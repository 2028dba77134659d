"""A Debian image made of this machine's own packages, for tests that build our images where there is no registry.

It holds what `debian:bookworm-slim` holds, and the packages named with all that they depend on, installed as they are
here: file by file as dpkg lists them, with a dpkg database of these packages. debootstrap would make the same from a
mirror, in minutes instead of seconds. A package that our Dockerfile uses without installing it is not in there, so such
a build fails as it would elsewhere.
"""
import hashlib
import io
import os
import re
import subprocess
import tarfile

FIELDS = ["db:Status-Status", "Package", "Architecture", "Version", "Essential", "Priority", "Pre-Depends", "Depends", "Provides"]
# What Debian's slim images leave out as well.
LEFT_OUT = re.compile(r"^/usr/share/(doc|man|info|locale|lintian|bug|gnupg)/|/__pycache__/")
# Made when packages are configured, so on no list: links chosen by update-alternatives, certificates, the loader's cache.
CONFIGURED = ["/etc/alternatives", "/etc/ssl/certs", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d"]
LINKED_TOP = ["bin", "lib", "lib32", "lib64", "libx32", "sbin"]


def output(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def installed():
    """Every package on this machine: {name: its fields}."""
    line = "\x1f".join(f"${{{field}}}" for field in FIELDS) + "\x1e"
    found = {}
    for record in output("dpkg-query", "-W", "-f", line).split("\x1e"):
        fields = dict(zip(FIELDS, record.split("\x1f")))
        if fields.get("db:Status-Status") == "installed":
            found[fields["Package"]] = fields
    return found


def names_in(relation):
    """`a (>= 1) | b:any, c` as [[a, b], [c]]."""
    return [[re.split(r"[ (:]", choice.strip())[0] for choice in group.split("|")]
            for group in relation.split(",") if group.strip()]


def closure(packages, wanted):
    """`wanted`, what every Debian has, and all they depend on."""
    provided = {}
    for name, fields in packages.items():
        for group in names_in(fields["Provides"]):
            provided.setdefault(group[0], name)
    wanted = list(wanted) + [name for name, fields in packages.items()
                             if fields["Essential"] == "yes" or fields["Priority"] == "required"]
    chosen = set()
    while wanted:
        name = wanted.pop()
        if name in chosen:
            continue
        assert name in packages, f"the package {name} is not installed: run scripts/install-deps test"
        chosen.add(name)
        for group in names_in(packages[name]["Pre-Depends"]) + names_in(packages[name]["Depends"]):
            there = [choice if choice in packages else provided.get(choice) for choice in group]
            wanted += [choice for choice in there if choice][:1]
    return sorted(chosen)


def paths_of(chosen):
    """Every path of these packages, folders before what is in them, each by its one name (/bin is /usr/bin)."""
    listed = set()
    for path in output("dpkg-query", "-L", *chosen).splitlines():
        if path.startswith("/") and path != "/." and not LEFT_OUT.search(path):
            listed.add(path)
    for top in CONFIGURED:
        listed.add(top)
        for folder, folders, files in os.walk(top):
            listed.update(os.path.join(folder, name) for name in folders + files)
    for folder in ("/usr/bin", "/usr/sbin"):
        listed.update(entry.path for entry in os.scandir(folder)
                      if entry.is_symlink() and os.readlink(entry.path).startswith("/etc/alternatives/"))
    real = set()
    for path in listed:
        path = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
        while path != "/":
            real.add(path)
            path = os.path.dirname(path)
    return sorted(path for path in real if os.path.lexists(path))


def add_text(archive, path, text):
    entry = tarfile.TarInfo(path)
    content = text.encode()
    entry.size, entry.mode = len(content), 0o644
    archive.addfile(entry, io.BytesIO(content))


def write(stream, chosen, packages):
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.GNU_FORMAT) as archive:
        for name in LINKED_TOP:
            if os.path.islink("/" + name):
                archive.add("/" + name, name, recursive=False)
        for path in paths_of(chosen):
            if not (os.path.dirname(path) == "/" and path[1:] in LINKED_TOP):
                archive.add(path, path[1:], recursive=False)
        add_text(archive, "etc/passwd", open("/usr/share/base-passwd/passwd.master", encoding="utf-8").read().replace(":*:", ":x:"))
        add_text(archive, "etc/group", open("/usr/share/base-passwd/group.master", encoding="utf-8").read().replace(":*:", ":x:"))
        add_text(archive, "var/lib/dpkg/status", output("dpkg-query", "--status", *chosen))


def make(name, wanted, environment):
    """Builds the image unless it is there, and returns its name with a tag that tells what is in it.
    `environment` says which engine (DOCKER_HOST)."""
    packages = installed()
    chosen = closure(packages, wanted)
    versions = "\n".join(f"{package} {packages[package]['Version']}" for package in chosen)
    with open(__file__, "rb") as own:
        tag = hashlib.sha256(versions.encode() + own.read()).hexdigest()[:12]
    image = f"{name}:{tag}"
    there = subprocess.run(["docker", "image", "inspect", image], env=environment, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL, check=False)
    if there.returncode == 0:
        return image
    with subprocess.Popen(["docker", "import", "-", image], env=environment, stdin=subprocess.PIPE,
                          stdout=subprocess.DEVNULL) as importing:
        write(importing.stdin, chosen, packages)
        importing.stdin.close()
    assert importing.returncode == 0
    return image
