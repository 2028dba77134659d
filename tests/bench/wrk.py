"""HTTP load by wrk (Debian's), and long bodies by curl."""
import re
import subprocess
import tempfile
import textwrap

from processes import cpu_seconds

BOUNDARY = "terminals-bench"


class Load:
    """What one run came to: requests a second, the median and 99 % latency in µs, and processor µs a request of the contender."""

    def __init__(self, rate, latency, late, cpu):
        self.rate, self.latency, self.late, self.cpu = rate, latency, late, cpu


def _microseconds(text, percent):
    number, unit = re.search(rf"^\s*{percent}%\s+([\d.]+)(us|ms|s|m)", text, re.MULTILINE).groups()
    return float(number) * {"us": 1, "ms": 1e3, "s": 1e6, "m": 6e7}[unit]


def form(size):
    """(head, tail) of a multipart body with one file of `size` bytes."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="upload"\r\n\r\n'
    return head, f"\r\n--{BOUNDARY}--\r\n"


def _upload_script(size):
    """A Lua script for wrk that sends a file of `size` bytes each time."""
    head, tail = (text.replace("\r\n", "\\r\\n") for text in form(size))
    return textwrap.dedent(f"""\
        wrk.method = "POST"
        wrk.headers["Content-Type"] = "multipart/form-data; boundary={BOUNDARY}"
        wrk.body = '{head}' .. string.rep("x", {size}) .. '{tail}'
        """)


def _wrk(endpoint, path, connections, seconds, script):
    """What wrk prints, and how many requests it counts."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "60s", "--latency"]
    for name, value in endpoint.headers:
        command += ["-H", f"{name}: {value}"]
    if script:
        command += ["-s", script]
    text = subprocess.run([*command, f"http://127.0.0.1:{endpoint.port}{path}"], capture_output=True, text=True, check=True,
                          timeout=seconds + 120).stdout
    if "Non-2xx" in text or ("Socket errors" in text and not endpoint.may_drop):
        raise RuntimeError(f"wrk met errors at {endpoint.name}:\n{text}")
    return text, int(re.search(r"(\d+) requests in", text).group(1))


def load(endpoint, path, connections, seconds, upload=0):
    """Asks for `path` over so many connections for a while; fails on any answer that is not 2xx or 3xx, and on a dropped connection,
    unless the contender may. `upload`: each request sends so many bytes as a file. Where nothing is answered in that time, it takes
    twice as much, and again; None if a contender that may drop connections answers nothing at all."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        if upload:
            script.write(_upload_script(upload))
            script.flush()
        for _ in range(6):
            before = cpu_seconds(endpoint.pids)
            text, count = _wrk(endpoint, path, connections, seconds, script.name if upload else None)
            used = cpu_seconds(endpoint.pids) - before
            if count > 0:
                break
            seconds *= 2
        else:
            if endpoint.may_drop:
                return None
            raise RuntimeError(f"{endpoint.name} answers nothing in {seconds // 2} s")
    rate = float(re.search(r"Requests/sec:\s*([\d.]+)", text).group(1))
    return Load(rate, _microseconds(text, 50), _microseconds(text, 99), used / count * 1e6)


def transfer(endpoint, path, upload=None):
    """(bytes a second, processor seconds of the contender a GB) of one body by curl: of the answer or, with `upload`, of that file."""
    command = ["curl", "-sS", "--fail", "-o", "/dev/null", "-w", "%{time_total} %{size_download} %{size_upload}"]
    for name, value in endpoint.headers:
        command += ["-H", f"{name}: {value}"]
    if upload:
        command += ["-F", f"file=@{upload}", "-H", "Expect:"]
    before = cpu_seconds(endpoint.pids)
    done = subprocess.run([*command, f"http://127.0.0.1:{endpoint.port}{path}"], capture_output=True, text=True, check=False, timeout=600)
    used = cpu_seconds(endpoint.pids) - before
    if done.returncode != 0:
        raise RuntimeError(f"curl at {endpoint.name}: {done.stderr}")
    seconds, down, up = (float(number) for number in done.stdout.split())
    size = up if upload else down
    return size / seconds, used / size * 1e9
