"""The workflows under a web app: `uvicorn tests.crashes.served:app`."""

from __future__ import annotations

from starlette.applications import Starlette

from rotor import serve_workflow
from tests.crashes.workflows import FUNCTIONS

app = serve_workflow(Starlette(), functions=FUNCTIONS)
