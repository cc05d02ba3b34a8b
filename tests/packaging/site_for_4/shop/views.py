"""The site's views and their URLs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.http import HttpResponse
from django.urls import path

if TYPE_CHECKING:
    from django.http import HttpRequest


def change_price(request: HttpRequest) -> HttpResponse:
    """Tell all who look at prices."""
    message = {"type": "price.changed", "price": int(request.GET["price"])}
    async_to_sync(get_channel_layer().group_send)("prices", message)
    return HttpResponse()


urlpatterns = [path("price/", change_price)]
