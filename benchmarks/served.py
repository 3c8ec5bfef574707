"""The workflows under a web app: `uvicorn benchmarks.served:app`."""

from __future__ import annotations

from starlette.applications import Starlette

from benchmarks.workflows import functions
from rotor import serve_workflow

app = serve_workflow(Starlette(), functions=functions)
