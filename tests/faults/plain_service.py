"""A small service that is sent hostile requests, run by a server in a process of its own."""

import asyncio

from quart import Quart, request, websocket

from ligand_async import Settings, create_app, public


def create_hostile_app() -> Quart:
    """Make it, of plain Quart views."""
    app = create_app("hostile", title="Hostile", version="1", settings=Settings.load())

    @app.get("/")
    @public
    async def index() -> str:
        return "index"

    @app.get("/echo/<path:text>")
    @public
    async def echo(text: str) -> str:
        return text

    @app.post("/length")
    @public
    async def length() -> str:
        return str(len(await request.get_data()))

    @app.get("/nap")
    @public
    async def nap() -> str:
        await asyncio.sleep(1)
        return "rested"

    @app.websocket("/talk")
    @public
    async def talk() -> None:
        await websocket.send("hello")

    return app
