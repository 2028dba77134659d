"""A stand-in for Open WebUI, as far as Terminals asks it: GET /api/v1/auths/ with a bearer token.

    with OpenWebUI() as chat:
        chat.users["token-of-alice"] = "alice"
        …
        assert chat.asked("token-of-alice") == 1

`mode` says how it answers: "normal" (200 with the user, or 401), "refuse" (403), "broken" (500), "garbage" (200 with what is no
JSON), "nobody" (200 without an id), "wrong" (200 with a page), "long" (200 with more than anyone wants), "redirect" (307 to another
address), "close" (closes without an answer), "half" (closes in the middle of the body), "slow" (not before release() is called).
"""
import contextlib
import http.server
import json
import socket
import ssl
import threading


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    chat = None

    def log_message(self, *_):
        pass

    def setup(self):
        super().setup()
        self.chat.sockets.append(self.connection)

    def do_GET(self):
        chat = self.chat
        token = (self.headers.get("Authorization") or "").partition(" ")[2]
        with chat.lock:
            chat.requests.append((self.path, token, self.client_address))
        mode = chat.modes.get(token, chat.mode)
        if mode == "slow":
            chat.released.wait(60)
            mode = "normal"
        if self.path != "/api/v1/auths/":
            mode = "wrong"
        getattr(self, f"answer_{mode}")(token)

    def _send(self, status, body, kind="application/json", headers=(), length=None):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body)

    def answer_normal(self, token):
        user = self.chat.users.get(token)
        if user is None:
            self._send(401, {"detail": "Your session has expired or the token is invalid. Please sign in again."})
            return
        # What the real one says, and among it what it sets besides.
        self._send(200, {"token": token, "token_type": "Bearer", "expires_at": None, "id": user,
                         "email": f"{user}@example.com", "name": user, "role": self.chat.roles.get(user, "user"),
                         "profile_image_url": "data:image/png;base64," + "A" * 20000, "permissions": {}},
                   headers=[("Set-Cookie", f"token={token}; HttpOnly; Path=/")])

    def answer_refuse(self, _):
        self._send(403, {"detail": "You do not have permission to access this resource."})

    def answer_broken(self, _):
        self._send(500, {"detail": "Internal Server Error"})

    def answer_garbage(self, _):
        self._send(200, b"{\"id\": \"ali")

    def answer_nobody(self, _):
        self._send(200, {"email": "alice@example.com"})

    def answer_anybody(self, _):
        self._send(200, {"id": "*"})

    def answer_wrong(self, _):
        self._send(200, b"<!doctype html><title>Open WebUI</title>", "text/html")

    def answer_long(self, _):
        self._send(200, b"{\"id\": \"alice\", \"x\": \"" + b"A" * (4 << 20) + b"\"}")

    def answer_redirect(self, _):
        self._send(307, b"", headers=[("Location", self.chat.elsewhere or "/")])

    def answer_half(self, _):
        self._send(200, b"{\"id\": \"alice\"", length=5000)
        self.close_connection = True

    def answer_close(self, _):
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, *_):
        pass  # the other side has gone


class OpenWebUI:
    def __init__(self, port=0, certificate=None):
        self.mode = "normal"
        self.modes = {}  # token: mode, before `mode`
        self.users = {}  # token: user id
        self.roles = {}  # user id: role
        self.elsewhere = None
        self.requests = []  # (path, token, client address)
        self.sockets = []
        self.released = threading.Event()
        self.lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"chat": self})
        self.server = _Server(("127.0.0.1", port), handler)
        self.port = self.server.server_address[1]
        self.scheme = "https" if certificate else "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def asked(self, token=None):
        """How often it was asked about this token, or at all."""
        with self.lock:
            return sum(1 for _, seen, _ in self.requests if token in (None, seen))

    def connections(self):
        """Over how many connections it was asked."""
        with self.lock:
            return len({address for _, _, address in self.requests})

    def release(self):
        """Lets what is slow go on."""
        self.released.set()

    def close(self):
        self.release()
        self.server.shutdown()
        self.server.server_close()
        for connection in self.sockets:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
