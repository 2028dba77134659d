"""Replays the recorded requests of the original Open Terminal (reference/) against the native instance and compares.

    REPLAY = Replay(["/execute", "/ports"], deviations={"exec NUL": "a 500 of the original"}, before={...})
    @pytest.mark.parametrize("index", REPLAY.indices(), ids=REPLAY.name)
    def test_...(index): REPLAY.check(index)

The transcripts are one session: all are sent in their order to one instance when the first is checked. What differs from run to run is
masked: ids (an id of the recording is mapped to the one that our instance gave for the same request), pids, dates, the home folder, the
port. `before` maps a transcript's name to a function of the Replay that makes what the recording does not show being made.
`chance` names those with the last entries of a longer output: where one entry ends depends on how fast it was read.
`deviations` maps names to the reason why our answer is another one; these must not be answered with a 500, and must differ.
"""
import base64
import http.client
import json
import re
import time

from instance_process import REFERENCE, Answer, InstanceProcess

RECORDED_HOME = "/home/user"
RECORDED_ADDRESS = "127.0.0.1:18000"
MACHINE = re.compile(r"This system is running [^\n]*")  # in the description of POST /execute
MASKED_MEMBERS = {"pid", "created_at", "modified", "log_path"}
COMPARED_HEADERS = ("content-type", "location", "allow", "content-disposition", "last-modified", "access-control-allow-origin",
                    "access-control-allow-credentials", "access-control-allow-methods", "vary")


def load():
    with open(REFERENCE / "open-terminal-transcripts.jsonl", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


class Replay:
    def __init__(self, prefixes, deviations=(), before=(), section="main", skip=(), chance=(), env=()):
        self.transcripts = load()
        self.prefixes = tuple(prefixes)
        self.deviations = dict(deviations)
        self.before = dict(before)
        self.section = section
        self.skip = dict(skip)
        self.chance = set(chance)
        self.env = dict(env)
        self.ids = {}
        self.answers = None
        self.instance = None

    def indices(self):
        return [i for i, t in enumerate(self.transcripts)
                if t["kind"] == "http" and t["section"] == self.section and t["path"].startswith(self.prefixes)
                and t["name"] not in self.skip]

    def name(self, index):
        return f"{index}-{self.transcripts[index]['name']}"

    # ---- sending ----

    def to_ours(self, text):
        text = text.replace(RECORDED_HOME, str(self.instance.home))
        for theirs, ours in self.ids.items():
            text = text.replace(theirs, ours)
        return text

    def send(self, transcript):
        path = self.to_ours(transcript["path"])
        if transcript["query"]:
            path += "?" + self.to_ours(transcript["query"])
        if transcript.get("request_body_b64") is not None:
            body = base64.b64decode(transcript["request_body_b64"])
        else:
            body = transcript["request_body"]
            body = self.to_ours(body).encode() if body is not None else None
        connection = http.client.HTTPConnection("127.0.0.1", self.instance.port, timeout=60)
        connection.putrequest(transcript["method"], path, skip_accept_encoding=True)
        for name, value in transcript["request_headers"]:
            connection.putheader(name, value.encode("utf-8") if not value.isascii() else value)
        if body is not None or transcript["method"] in ("POST", "PUT"):
            connection.putheader("Content-Length", str(len(body or b"")))
        connection.endheaders(body)
        answer = Answer(connection.getresponse())
        connection.close()
        return answer

    def learn_ids(self, transcript, answer):
        """{"id": …} on both sides: theirs means ours from now on."""
        try:
            theirs, ours = json.loads(transcript["response_body"]), answer.json()
            if isinstance(theirs, dict) and isinstance(ours, dict) and theirs["id"] and ours["id"]:
                self.ids[theirs["id"]] = ours["id"]
        except (KeyError, TypeError, ValueError):
            pass

    def run(self):
        self.answers = {}
        with InstanceProcess(fixtures=True, env=self.env) as self.instance:
            for index in self.indices():
                transcript = self.transcripts[index]
                if transcript["name"] in self.before:
                    self.before[transcript["name"]](self)
                answer = self.answers[index] = self.send(transcript)
                self.learn_ids(transcript, answer)

    # ---- comparing ----

    def to_theirs(self, text):
        for theirs, ours in self.ids.items():
            text = text.replace(ours, theirs)
        text = text.replace(str(self.instance.home), RECORDED_HOME)
        return text.replace(f"127.0.0.1:{self.instance.port}", RECORDED_ADDRESS)

    def masked(self, value):
        """With what differs from run to run made the same. The pieces of a command's output are put together: how many reads it took
        is chance, and so is the offset that counts them, unless a tail fixes it."""
        if isinstance(value, dict):
            value = {name: "masked" if name in MASKED_MEMBERS else self.masked(member) for name, member in value.items()}
            if isinstance(value.get("output"), list) and "next_offset" in value:
                value["output"] = "".join(entry["data"] for entry in value["output"])
                if not value["truncated"]:
                    value["next_offset"] = "masked"
            return value
        if isinstance(value, list):
            return [self.masked(member) for member in value]
        return MACHINE.sub("(the machine)", value) if isinstance(value, str) else value

    def body(self, raw, text):
        try:
            return self.masked(json.loads(text))
        except ValueError:
            return raw if text is None else text

    def theirs(self, transcript):
        headers = {}
        for name, value in transcript["response_headers"]:
            headers[name.lower()] = value
        if transcript.get("response_body_b64") is not None:
            body = base64.b64decode(transcript["response_body_b64"])
        else:
            body = self.body(None, transcript["response_body"])
        return transcript["status"], {name: headers.get(name) for name in COMPARED_HEADERS}, body

    def ours(self, answer, transcript):
        headers = {name: answer.headers.get(name) for name in COMPARED_HEADERS}
        if headers["location"]:
            headers["location"] = self.to_theirs(headers["location"])
        if headers["allow"] and set(dict(transcript["response_headers"]).get("allow", "").split(", ")) <= set(
                headers["allow"].split(", ")):
            headers["allow"] = dict(transcript["response_headers"])["allow"]  # RFC 9110 §10.2.1 wants all; theirs has the first
        try:
            body = self.body(answer.body, self.to_theirs(answer.body.decode()))
        except UnicodeDecodeError:
            body = answer.body
        if transcript.get("response_body_b64") is not None:
            body = answer.body
        return answer.status, headers, body

    def check(self, index):
        if self.answers is None:
            self.run()
        transcript = self.transcripts[index]
        theirs = self.theirs(transcript)
        ours = self.ours(self.answers[index], transcript)
        if transcript["name"] in self.deviations:
            assert ours[0] != 500, f"deviates ({self.deviations[transcript['name']]}) but with a 500: {ours}"
            assert ours != theirs, f"no longer deviates ({self.deviations[transcript['name']]}): take it off the list"
            return
        if transcript["name"] in self.chance:
            for body in (theirs[2], ours[2]):
                assert body.pop("output")
        request = f"{transcript['method']} {transcript['path']}?{transcript['query']} {transcript['request_body']!r}"
        assert ours == theirs, f"{request}\nours:   {ours!r:.3000}\ntheirs: {theirs!r:.3000}"

    # ---- help for `before` ----

    def execute(self, recorded_id, command, **body):
        """Starts a command whose start the recording does not show."""
        answer = self.instance.call("POST", "/execute", {"command": command, **body})
        assert answer.status == 200, answer
        self.ids[recorded_id] = answer.json()["id"]

    def wait_for(self, condition, what, seconds=10):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"timed out waiting for {what}"
            time.sleep(0.005)
