"""What a server answers under which address, and in which words it refuses."""

from __future__ import annotations

import asyncio
import json
from importlib.resources import files
from typing import Annotated, Any

from fastapi import FastAPI, File, Form, HTTPException, Request, Response, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException as AnyHTTPException

from heatpoint.errors import HeatpointError, suggest
from heatpoint.inference.places import ImageBoxes
from heatpoint.inference.predict import result_rows
from heatpoint.options import side_lengths
from heatpoint.serving import TOKEN, LimitOptions
from heatpoint.serving.gate import Gate, Meters
from heatpoint.serving.served import Sent, Served, Wish
from heatpoint.system import VERSION

MOST = 64
"""Pictures of one request."""

LONGEST_NAME = 255
"""Characters of a picture's name."""

Pictures = Annotated[
    list[UploadFile],
    File(description="picture files; of a file of several pictures the first is looked at"),
]
Urls = Annotated[list[str], Form(description="addresses of pictures, at hosts that are allowed")]
Score = Annotated[float | None, Form(ge=0, le=1, description="least score of a result")]
TileText = Annotated[str | None, Form(description="look at tiles of this size, 512 or 384x512")]
BoxText = Annotated[
    str | None,
    Form(
        description="for models of joints: JSON, a list of boxes [x1, y1, x2, y2] for each picture"
    ),
]
Draw = Annotated[bool, Form(description="answer with the one picture, what is found drawn in")]
Picture = Annotated[UploadFile, File(description="a picture file")]

ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"description": "a field of the form is wrong"},
    401: {"description": f"the token is missing or wrong, if the server has a {TOKEN}"},
    403: {"description": "an address at a host that is not allowed"},
    413: {"description": "too many bytes or pixels"},
    415: {"description": "not a picture"},
    422: {"description": "a picture that is broken or cut off"},
    429: {"description": "too many requests are under way; try again"},
    504: {"description": "the answer took too long"},
}

PAGE = {"": "text/html", "page.css": "text/css", "page.js": "text/javascript"}
"""Files of the page, and what they are."""

SHUT = (
    "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What the page may load: nothing from anywhere else (Content-Security-Policy)."""


def make_app(model: Served, limits: LimitOptions, token: str, meters: Meters) -> FastAPI:
    """Returns the application.

    Args:
        model: Answers.
        limits: What a request may cost.
        token: What a request must know; "" for nothing.
        meters: What is counted.
    """
    app = FastAPI(
        title="heatpoint",
        version=VERSION,
        description="Finds in pictures what a model was trained to find.",
        docs_url=None,  # those of FastAPI load programs from elsewhere
        redoc_url=None,
    )
    app.add_middleware(Gate, limits=limits, token=token, meters=meters)
    _add_errors(app)
    _add_page(app)

    @app.post("/predict", responses={**ERRORS, 200: {"content": {"image/jpeg": {}}}})
    async def predict(
        request: Request,
        pictures: Pictures = [],  # noqa: B006
        urls: Urls = [],  # noqa: B006
        score: Score = None,
        tiles: TileText = None,
        boxes: BoxText = None,
        draw: Draw = False,
    ) -> Response:
        """Returns what is found, as rows in the form of heatpoint predict --json."""
        await _check_fields(request, ("pictures", "urls", "score", "tiles", "boxes", "draw"))
        count = len(pictures) + len(urls)
        if not 1 <= count <= MOST or (draw and count != 1):
            wanted = "one picture to be drawn" if draw else f"1 to {MOST} pictures"
            raise HTTPException(
                400, f"send {wanted} as 'pictures' (curl -F pictures=@photo.jpg), not {count}"
            )
        wish = Wish(score, None if tiles is None else side_lengths(tiles))
        where = _boxes(boxes, count)
        runners = model.runner_for(wish, boxes is not None)
        sent = [await _sent(each, number) for number, each in enumerate(pictures)]
        sent += await asyncio.gather(*map(model.fetch, urls))
        asked = zip(sent, where, strict=True)
        looks = [model.look(n, each, runners, own) for n, (each, own) in enumerate(asked)]
        found = await asyncio.gather(*looks)
        meters.pictures.inc(len(found))
        if draw:
            picture = await model.draw(sent[0], found[0].detections)
            return Response(picture, media_type="image/jpeg")
        return JSONResponse(result_rows(found))

    @app.post("/heatmap", responses={**ERRORS, 200: {"content": {"image/png": {}}}})
    async def heatmap(request: Request, picture: Picture) -> Response:
        """Returns where the network sees something, as a grey PNG of the picture's size."""
        await _check_fields(request, ("picture",))
        return Response(await model.heat(await _sent(picture, 0)), media_type="image/png")

    @app.get("/model")
    async def card() -> dict[str, Any]:
        """Returns what the model finds, how it is run, and what a request may cost."""
        return model.card()

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Returns that requests are answered."""
        return {"status": "ok"}

    @app.get("/metrics")
    async def metrics() -> Response:
        """Returns counts and times for Prometheus."""
        return Response(generate_latest(meters.registry), media_type=CONTENT_TYPE_LATEST)

    return app


def _add_page(app: FastAPI) -> None:
    """Adds the page, whose files are part of the package."""
    headers = {
        "Content-Security-Policy": SHUT,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }

    def add(name: str, kind: str) -> None:
        content = files("heatpoint.serving").joinpath(name or "page.html").read_bytes()

        async def file() -> Response:
            return Response(content, headers=headers, media_type=kind)

        app.add_api_route(f"/{name}", file, include_in_schema=False)

    for name, kind in PAGE.items():
        add(name, kind)


def _add_errors(app: FastAPI) -> None:
    """Makes every refusal a sentence: {"detail": ...}."""

    @app.exception_handler(RequestValidationError)
    async def unfit(_: Request, error: RequestValidationError) -> Response:
        sentences = []
        for each in error.errors():
            why, given = each["msg"].lower(), each["input"]
            if isinstance(given, str):
                why += f", not {given!r:.60}"
            if "uploadfile" in why:
                why = "is no file; send one as curl -F pictures=@photo.jpg does, with the @"
            sentences.append(f"{(each['loc'][1:2] or ('the form',))[0]} {why}")
        return _told(400, "; ".join(sentences))

    @app.exception_handler(HeatpointError)
    async def mistaken(_: Request, error: HeatpointError) -> Response:
        return _told(400, str(error))

    @app.exception_handler(AnyHTTPException)
    async def refused(request: Request, error: AnyHTTPException) -> Response:
        why = error.detail
        if error.status_code == 404:
            why = f"there is nothing at {request.url.path}; /openapi.json says what there is"
        elif error.status_code == 400 and (
            type(error) is AnyHTTPException or why.startswith("There was an error parsing")
        ):  # of the form's parser, and of what calls it
            why = "this is no whole form; send one as curl -F pictures=@photo.jpg does"
        return _told(error.status_code, why, error.headers)

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> Response:
        return _told(500, f"the server failed ({type(error).__name__}); its log says where")


def _told(status: int, why: str, headers: Any = None) -> Response:
    return JSONResponse({"detail": why}, status, headers)


async def _check_fields(request: Request, known: tuple[str, ...]) -> None:
    """Makes sure that a form has no field that would be passed over."""
    for name in await request.form():
        if name not in known:
            raise HTTPException(
                400, f"there is no field {name!r:.80} but {', '.join(known)}{suggest(name, known)}"
            )


async def _sent(picture: UploadFile, number: int) -> Sent:
    """Returns a picture of a form; its name is repeated in every row, so that it must be short."""
    name = picture.filename or f"picture {number}"
    if len(name) > LONGEST_NAME:
        raise HTTPException(
            400, f"the name {name[:40]!r}... has {len(name)} characters; {LONGEST_NAME} at most"
        )
    content = await picture.read()
    await picture.close()  # of many requests that wait, each would hold its picture twice
    return Sent(name, content)


def _boxes(text: str | None, count: int) -> list[ImageBoxes | None]:
    """Returns where to look in each picture, as a form says it in JSON.

    Raises:
        HTTPException: It says nothing of the kind.
    """
    if text is None:
        return [None] * count
    try:
        boxes = json.loads(text)
    except (ValueError, RecursionError):
        boxes = None
    if (
        not isinstance(boxes, list)
        or len(boxes) != count
        or not all(isinstance(each, list) for each in boxes)
    ):
        raise HTTPException(
            400,
            f"boxes must be JSON, a list with the boxes [[x1, y1, x2, y2], ...] of each of the "
            f"{count} pictures",
        )
    return boxes
