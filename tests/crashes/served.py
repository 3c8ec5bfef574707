"""The workflows under a web app: `uvicorn tests.crashes.served:app`; those of the campaigns: `:programs`."""

from __future__ import annotations

from starlette.applications import Starlette

from rotor import serve_workflow
from tests.crashes.programs import BY_APP
from tests.crashes.workflows import FUNCTIONS

app = serve_workflow(Starlette(), functions=FUNCTIONS)
programs = serve_workflow(Starlette(), functions=BY_APP)
