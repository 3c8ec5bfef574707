"""Serving functions over HTTP from a web app: the server posts signed invocations to it."""

from rotor.sdk.serve.mounting import serve_workflow

__all__ = ["serve_workflow"]
