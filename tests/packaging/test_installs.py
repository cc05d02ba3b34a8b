"""Packages installed into new environments, in each way that users install them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.builds import LAYERS, PACKAGES, Environment, module_of, run
from support.installing import versions_in

if TYPE_CHECKING:
    from embedded_server import EmbeddedServer

    from .conftest import Built, NewEnvironment

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(300)]

HERE = Path(__file__).parent
BACKENDS = {
    "channels-redis-pubsub": "channels_redis_pubsub.RedisPubSubChannelLayer",
    "channels-redis-queue": "channels_redis_queue.RedisChannelLayer",
}
META_BACKENDS = (
    "channels_redis.core.RedisChannelLayer",
    "channels_redis.pubsub.RedisPubSubChannelLayer",
)
KEYS = ["a key for the tests"]


def check_alone(environment: Environment, package: str) -> None:
    """Fail unless every module imports, and no package of ours is there that need not be."""
    environment.run(HERE / "import_all.py", module_of(package))
    installed = versions_in(environment.python).keys() & {*PACKAGES}
    assert installed == ({package} if package in LAYERS else {*PACKAGES})


def pass_group_message(
    environment: Environment, backend: str, server: EmbeddedServer, **options: object
) -> None:
    """Fail unless a group message passes through ``backend`` in ``environment``."""
    layer = {"BACKEND": backend, "CONFIG": {"hosts": [server.url], **options}}
    printed = environment.run(HERE / "group_message.py", json.dumps({"default": layer}))
    assert json.loads(printed) == {"type": "chat.message", "text": "hello"}


@pytest.mark.parametrize("package", LAYERS)
def test_layer_alone(
    new_environment: NewEnvironment,
    built: dict[str, Built],
    redis_server: EmbeddedServer,
    prefix: str,
    package: str,
) -> None:
    """The wheel of one layer, with its dependencies alone, works from Django's settings.

    So does its command. An extra brings what it is for, and is optional.
    """
    environment, wheel = new_environment(), built[package].wheel_from_tree
    environment.install(wheel)
    check_alone(environment, package)
    pass_group_message(environment, BACKENDS[package], redis_server, prefix=prefix)
    helped = run(environment.python, "-I", "-m", module_of(package), "doctor", "--help")
    assert (helped.returncode, "--settings" in helped.stdout) == (0, True), helped.stderr
    names = ["cryptography", "opentelemetry"]
    missing = f"import importlib.util as u; print([u.find_spec(m) for m in {names}])"
    assert environment.run("-c", missing).strip() == "[None, None]"
    environment.install(f"{wheel}[cryptography,opentelemetry]")
    environment.run("-c", f"import {', '.join(names)}")


def test_meta_package_gives_both_layers_and_their_extras(
    new_environment: NewEnvironment, wheels: Path, redis_server: EmbeddedServer, prefix: str
) -> None:
    """channels-redis brings both layers under its import strings, and passes its extras on."""
    environment = new_environment()
    environment.install("--find-links", wheels, "channels-redis[cryptography,opentelemetry]>=5")
    check_alone(environment, "channels-redis")
    environment.run("-c", "import cryptography, opentelemetry")
    for backend in META_BACKENDS:
        pass_group_message(
            environment, backend, redis_server, prefix=prefix, symmetric_encryption_keys=KEYS
        )
