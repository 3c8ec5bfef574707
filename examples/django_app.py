"""A Django project in one file that serves a workflow beside its own views.

    ROTOR_DEV=1 python examples/django_app.py runserver --noreload 8000
    rotor dev -u http://127.0.0.1:8000/api/rotor                        # in another terminal
    curl -X POST http://127.0.0.1:8000/comments/7                       # and in a third

In production the app has ROTOR_SIGNING_KEY in place of ROTOR_DEV, and `rotor sync URL` registers it.
"""

from __future__ import annotations

import sys
from typing import Any

from django.conf import settings
from django.core.management import execute_from_command_line
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from rotor import Context, SyncRotor, create_function, serve_workflow

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["127.0.0.1"], SECRET_KEY="only for this example")


def check_words(comment: int) -> str:
    """Stands for work."""
    return f"comment {comment} is kind"


@create_function(id="review-comment", trigger={"event": "comment.posted"})
async def review_comment(ctx: Context[dict[str, Any]]) -> str:
    """Check, wait, publish."""
    checked = await ctx.step.run("check", check_words, ctx.event.data["comment"])
    await ctx.step.sleep("let-the-author-edit", "200ms")
    return f"{checked}, published"


@csrf_exempt
def post_comment(request: HttpRequest, comment: int) -> JsonResponse:
    """Send the event that starts the workflow. It is durable once this answers."""
    with SyncRotor() as rotor:
        return JsonResponse({"event": rotor.send("comment.posted", {"comment": comment}, id=f"comment-{comment}")})


urlpatterns = [path("comments/<int:comment>", post_comment)]
serve_workflow(urlpatterns, functions=[review_comment])

if __name__ == "__main__":
    execute_from_command_line(sys.argv)

# Output of the run:
# comment 7 is kind, published
