"""A client of the native instance's shells."""
import asyncio
import json

import websockets


class Shell:
    """An attached shell, in an event loop of its own."""

    def __init__(self, instance, id, token="k", **options):
        self.url = f"ws://127.0.0.1:{instance.port}/api/terminals/{id}"
        self.token = token
        self.options = options
        self.received = b""

    async def __aenter__(self):
        self.socket = await websockets.connect(self.url, max_size=None, close_timeout=1, **self.options)
        if self.token is not None:
            await self.socket.send(json.dumps({"type": "auth", "token": self.token}))
        return self

    async def __aexit__(self, *_):
        await self.socket.close()

    async def type(self, text):
        await self.socket.send(text if isinstance(text, bytes) else text.encode())

    async def read_until(self, text, seconds=10):
        async def read():
            while text.encode() not in self.received:
                self.received += await self.socket.recv()
        try:
            await asyncio.wait_for(read(), seconds)
        except (asyncio.TimeoutError, websockets.ConnectionClosed) as problem:
            raise AssertionError(f"{problem!r} while waiting for {text!r}; got {self.received[-2000:]!r}") from problem
        before, _, self.received = self.received.partition(text.encode())
        return before.decode(errors="replace")


def open_shell(instance, **headers):
    answer = instance.call("POST", "/api/terminals", headers=headers)
    assert answer.status == 200, answer
    return answer.json()
