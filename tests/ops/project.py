"""Runs Django's checks on the settings in its argument, JSON; prints what they say, as JSON."""

from __future__ import annotations

import json
import sys

import django
from django.conf import settings
from django.core import checks

settings.configure(**json.loads(sys.argv[1]))
django.setup()
print(json.dumps([found.id for found in checks.run_checks()]))
