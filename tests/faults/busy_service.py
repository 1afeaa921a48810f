"""A small service with everything that stays open, run by a server in a process of its own."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

from quart import Quart, Response, request, websocket

from ligand_async import Settings, create_app, public
from ligand_async.signals import service_draining


def create_busy_app() -> Quart:
    """Make it, of plain Quart views."""
    app = create_app("busy", title="Busy", version="1", settings=Settings.load(), config={"RESPONSE_TIMEOUT": 2})
    bundle = bytes(1_700_000)
    told = asyncio.Event()

    @service_draining.connect_via(app)
    async def tell(_app: Quart) -> None:
        app.logger.warning("told")
        told.set()

    @app.get("/")
    @public
    async def index() -> str:
        return "index"

    @app.get("/pid")
    @public
    async def show_process() -> str:
        return str(os.getpid())

    @app.before_serving
    async def check_place() -> None:
        if Path("broken").exists():
            raise RuntimeError("the cellar is flooded")

    @app.after_serving
    async def close_slowly() -> None:
        app.logger.warning("closing")
        if Path("clinging").exists():
            await asyncio.sleep(60)

    @app.get("/background")
    @public
    async def begin_background_task() -> str:
        app.add_background_task(asyncio.sleep, 60)
        return "begun"

    @app.get("/bundle")
    @public
    async def send_bundle() -> bytes:
        return bundle

    @app.route("/nap/<float:seconds>", methods=["GET", "POST"])
    @public
    async def nap(seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "rested"

    @app.get("/hang")
    @public
    async def hang() -> str:
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                app.logger.warning("this handler does not end")

    @app.get("/block/<float:seconds>")
    @public
    async def block(seconds: float) -> str:
        time.sleep(seconds)
        return "rested"

    @app.get("/thread/<float:seconds>")
    @public
    async def work(seconds: float) -> str:
        await asyncio.to_thread(time.sleep, seconds)
        return "rested"

    @app.get("/events")
    @public
    async def send_events() -> Response:
        async def events() -> AsyncIterator[str]:
            try:
                while True:
                    yield "data: still here\n\n"
                    await asyncio.sleep(0.1)
            finally:
                app.logger.warning("the stream was closed")

        return Response(events(), content_type="text/event-stream")

    @app.get("/told")
    @public
    async def send_until_told() -> Response:
        async def events() -> AsyncIterator[str]:
            yield "data: hello\n\n"
            await told.wait()
            yield "event: bye\ndata: the service stops\n\n"

        return Response(events(), content_type="text/event-stream")

    @app.get("/flood")
    @public
    async def send_flood() -> Response:
        async def events() -> AsyncIterator[bytes]:
            while True:
                yield bytes(100_000)

        return Response(events(), content_type="text/event-stream")

    @app.post("/length")
    @public
    async def length() -> str:
        return str(len(await request.get_data()))

    @app.websocket("/echo")
    @public
    async def echo() -> None:
        while True:
            message = await websocket.receive()
            await websocket.send(str(len(message)))

    return app
