"""The one page, the figures that it shows, and their URLs."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING

from channels.layers import get_channel_layer
from django.http import JsonResponse
from django.shortcuts import render
from django.urls import path

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


def page(request: HttpRequest) -> HttpResponse:
    """The page. Its style and script stand in it, so there is nothing else to load."""
    name = os.environ["CHAT_SERVER"]
    servers = dict(pair.split("=", 1) for pair in os.environ["CHAT_SERVERS"].split())
    known = {
        "server": name,
        "servers": servers,
        "other": next(server for server in servers.items() if server[0] != name),
        "layer": "Pub/Sub" if "PubSub" in os.environ["CHAT_LAYER"] else "queue",
    }
    return render(request, "page.html", known)


async def figures(_: HttpRequest) -> JsonResponse:
    """Return what the layer has done in this process. It asks no server, so Redis may be away."""
    anyone = {"Access-Control-Allow-Origin": "*"}  # The other server's pages ask, too.
    found = asdict(get_channel_layer().statistics())
    return JsonResponse({"pid": os.getpid(), **found}, headers=anyone)


urlpatterns = [path("", page), path("figures/", figures)]
