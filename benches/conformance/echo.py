"""A WebSocket server that says everything back, on the port that is given. No compression; 16 MiB messages are allowed."""
import asyncio
import sys

from websockets.asyncio.server import serve


async def echo(socket):
    async for message in socket:
        await socket.send(message)


async def main():
    async with serve(echo, "127.0.0.1", int(sys.argv[1]), max_size=None, compression=None, ping_interval=None):
        await asyncio.get_running_loop().create_future()


asyncio.run(main())
