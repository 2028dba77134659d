"""A registry of images with one image in it, over plain HTTP on the loopback, where engines take that.

It counts what is asked for, and holds the last byte of the layer back until it is told to go on.
"""
import gzip
import hashlib
import http.server
import json
import threading

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class FakeRegistry:
    def __init__(self, root, config, name="tenant/terminal", tag="1"):
        layer = gzip.compress(root, 1)
        described = json.dumps({"architecture": "amd64", "os": "linux", "config": config,
                                "rootfs": {"type": "layers", "diff_ids": [digest(root)]}}).encode()
        manifest = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST,
                               "config": {"mediaType": CONFIG, "size": len(described), "digest": digest(described)},
                               "layers": [{"mediaType": LAYER, "size": len(layer), "digest": digest(layer)}]}).encode()
        self.layer = digest(layer)
        self.blobs = {digest(described): described, self.layer: layer}
        self.manifests = {tag: manifest, digest(manifest): manifest}
        self.go_on = threading.Event()
        self.asked = []
        registry = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def answer(self, body, kind):
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Docker-Content-Digest", digest(body))
                self.end_headers()

            def do_GET(self):
                registry.asked.append((self.command, self.path))
                last = self.path.rsplit("/", 1)[-1]
                if self.path == "/v2/":
                    self.answer(b"{}", "application/json")
                    body = b"{}"
                elif f"/{name}/manifests/" in self.path and last in registry.manifests:
                    body = registry.manifests[last]
                    self.answer(body, MANIFEST)
                elif f"/{name}/blobs/" in self.path and last in registry.blobs:
                    body = registry.blobs[last]
                    self.answer(body, "application/octet-stream")
                else:
                    body = b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}'
                    self.send_response(404)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                if self.command == "HEAD":
                    return
                if last == registry.layer:
                    self.wfile.write(body[:-1])
                    self.wfile.flush()
                    registry.go_on.wait(60)
                    body = body[-1:]
                self.wfile.write(body)

            do_HEAD = do_GET

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        self.image = f"{self.address}/{name}:{tag}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))

    def pulls_of_the_layer(self):
        return sum(1 for method, path in self.asked if method == "GET" and path.endswith(self.layer))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.go_on.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
