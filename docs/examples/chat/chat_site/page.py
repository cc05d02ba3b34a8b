"""The one page, and its URL."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from django.shortcuts import render
from django.urls import path

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


def page(request: HttpRequest) -> HttpResponse:
    """Return the page. Its style and script stand in it, so there is nothing else to load."""
    name = os.environ["CHAT_SERVER"]
    servers = dict(pair.split("=", 1) for pair in os.environ["CHAT_SERVERS"].split())
    others = {other: url for other, url in servers.items() if other != name}
    layer = os.environ["CHAT_LAYER"].rpartition(".")[2]
    return render(request, "page.html", {"server": name, "others": others, "layer": layer})


urlpatterns = [path("", page)]
