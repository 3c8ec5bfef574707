"""A FastAPI app that serves the suite's functions, as a user's app would: `uvicorn tests.conformance.served:app`."""

from __future__ import annotations

from fastapi import FastAPI

from rotor import serve_workflow
from tests.conformance.functions import FUNCTIONS

app = FastAPI()


@app.get("/hello")
async def hello() -> str:
    return "the app's own route"


serve_workflow(app, functions=FUNCTIONS)
