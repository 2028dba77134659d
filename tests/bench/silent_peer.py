#!/usr/bin/python3
"""An instance for ten thousand silent shells: answers /health, accepts every WebSocket and holds it. One task each, no process.

    silent_peer.py PORT
"""
import asyncio
import base64
import hashlib
import resource
import sys

MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3

SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
HEALTHY = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\nConnection: close\r\n\r\n{\"status\": true}"


async def serve(reader, writer):
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        key = [line.split(b":", 1)[1].strip() for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:")]
        if key:
            accept = base64.b64encode(hashlib.sha1(key[0] + MAGIC).digest()).decode()
            writer.write(SWITCHING + f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode())
            while await reader.read(4096):
                pass
        else:
            writer.write(HEALTHY)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main():
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), backlog=4096, limit=8192)
    async with server:
        await server.serve_forever()


asyncio.run(main())
