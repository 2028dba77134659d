"""A Docker engine that answers questions and does nothing, on a Unix socket: for who only asks (`terminals doctor`).

`answers` has what a path without its version is answered, as a value that becomes JSON, or a function that gives one; all else is 404. What was to be
removed is noted in answers["removed"]."""
import contextlib
import http.server
import json
import re
import socketserver
import threading


class _Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def address_string(self):
        return "unix"

    def do_GET(self):
        path = re.sub(r"^/v\d+\.\d+", "", self.path)
        found = self.server.answers.get(path)
        found = found() if callable(found) else found
        body = json.dumps({"message": f"no such thing: {path}"} if found is None else found).encode()
        self.send_response(404 if found is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_DELETE(self):
        self.server.answers.setdefault("removed", []).append(re.sub(r"^/v\d+\.\d+", "", self.path))
        self.send_response(204)
        self.end_headers()


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def get_request(self):
        request, _ = super().get_request()
        return request, ("unix", 0)


@contextlib.contextmanager
def docker_engine_answers(path, answers):
    server = _Server(str(path), _Handler)
    server.answers = answers
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"unix://{path}"
    finally:
        server.shutdown()
        server.server_close()
