"""An HTTP/2 client over TLS that has many requests under way on one connection, WebSockets among them (RFC 8441)."""
import socket
import ssl
import struct

import h2.config
import h2.connection
import h2.events
import h2.settings


class Stream:
    def __init__(self):
        self.status, self.headers, self.body, self.ended = None, [], b"", False


class Http2:
    def __init__(self, address, certificate, timeout=30):
        context = ssl.create_default_context(cafile=certificate)
        context.set_alpn_protocols(["h2"])
        plain = socket.create_connection(address, timeout)
        self.sock = context.wrap_socket(plain, server_hostname="localhost")
        assert self.sock.selected_alpn_protocol() == "h2"
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.streams = {}
        self._flush()

    def _flush(self):
        if data := self.h2.data_to_send():
            self.sock.sendall(data)

    def _receive(self):
        data = self.sock.recv(65536)
        assert data, "the server closed the connection"
        for event in self.h2.receive_data(data):
            stream = self.streams.get(getattr(event, "stream_id", None))
            if isinstance(event, h2.events.ResponseReceived):
                stream.headers = event.headers
                stream.status = int(dict(event.headers)[":status"])
            elif isinstance(event, h2.events.DataReceived):
                stream.body += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
                stream.ended = True
        self._flush()

    def begin(self, path, headers=(), method="GET", protocol=None):
        """Sends a request without waiting for the answer; returns its number."""
        number = self.h2.get_next_available_stream_id()
        self.streams[number] = Stream()
        pseudo = [(":method", method), (":scheme", "https"), (":authority", "localhost"), (":path", path)]
        if protocol is not None:
            pseudo.insert(1, (":protocol", protocol))
        self.h2.send_headers(number, pseudo + [(name.lower(), value) for name, value in headers],
                             end_stream=protocol is None)
        return number

    def send(self):
        self._flush()

    def answer(self, number):
        """The whole answer to a request begun before."""
        while not self.streams[number].ended:
            self._receive()
        return self.streams[number]

    def request(self, path, headers=(), method="GET"):
        number = self.begin(path, headers, method)
        self.send()
        return self.answer(number)

    def websocket(self, path, headers=()):
        """Opens a WebSocket as one stream of this connection; the stream, once it is answered."""
        while not self.h2.remote_settings.get(h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL):
            self._receive()
        number = self.begin(path, [("sec-websocket-version", "13"), *headers], "CONNECT", "websocket")
        self.send()
        while self.streams[number].status is None:
            self._receive()
        return number

    def send_frame(self, number, opcode, payload):
        assert len(payload) < 126
        self.h2.send_data(number, struct.pack("!BB", 0x80 | opcode, 0x80 | len(payload)) + bytes(4) + payload)
        self._flush()

    def read_until(self, number, mark):
        stream = self.streams[number]
        while mark not in stream.body:
            assert not stream.ended, stream.body
            self._receive()
        return stream.body

    def close(self):
        self.sock.close()
