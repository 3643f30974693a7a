"""The rep's HTTP API."""

from __future__ import annotations

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from netlab.diego.messages import Work
from netlab.diego.rep.rep import Rep


def make_app(rep: Rep) -> Starlette:
    """The API over one cell; what takes time goes on after the answer."""

    async def ping(_request: Request) -> Response:
        return PlainTextResponse("ok")

    async def state(_request: Request) -> Response:
        return JSONResponse(rep.state().model_dump(by_alias=True))

    async def work(request: Request) -> Response:
        try:
            asked = Work.model_validate_json(await request.body())
        except ValidationError as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        return JSONResponse(rep.work(asked).model_dump(by_alias=True))

    async def stop(request: Request) -> Response:
        guid = request.path_params["instance_guid"]
        if not rep.stop(guid):
            return JSONResponse({"error": f"no container {guid} here"}, status_code=404)
        return Response(status_code=202)

    async def metrics(_request: Request) -> Response:
        return JSONResponse(await rep.metrics())

    return Starlette(
        routes=[
            Route("/ping", ping),
            Route("/v1/containers/metrics", metrics),
            Route("/state", state),
            Route("/work", work, methods=["POST"]),
            Route("/v1/lrps/{process_guid}/instances/{instance_guid}/stop", stop, methods=["POST"]),
        ]
    )


def make_admin_app(rep: Rep) -> Starlette:
    """What may be asked from inside the cell: `POST /evacuate` answers 202 with the path that tells when it is over.

    That path, `/ping`, answers for as long as there are containers; an evacuated rep answers 503.
    """

    async def ping(_request: Request) -> Response:
        evacuated = rep.evacuating and not rep.containers
        return PlainTextResponse("evacuated" if evacuated else "ok", status_code=503 if evacuated else 200)

    async def evacuate(_request: Request) -> Response:
        rep.evacuate()
        return JSONResponse({"ping_path": "/ping"}, status_code=202)

    return Starlette(routes=[Route("/ping", ping), Route("/evacuate", evacuate, methods=["POST"])])
