"""Reading the pages back."""

from __future__ import annotations

import html
import json
import re
from typing import Any

HOSTILE = "</script><img src=x onerror=alert(1)>&\"'<!--{{data}}"


def data_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def policy_of(page: str) -> str:
    found = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert found is not None
    return html.unescape(found[1])
