"""The documentation page: Swagger UI, with assets from this server and no inline script."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

import fastapi_offline
from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

from gateway.middleware.security_headers import CONTENT_SECURITY_POLICY

ASSETS = Path(fastapi_offline.__file__).parent / "static"
INLINE_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)


def add_docs(app: FastAPI) -> None:
    """Adds `/docs`. Its policy allows Swagger UI's inline script by the script's hash."""
    html = get_swagger_ui_html(
        openapi_url="/openapi.json",
        title=app.title,
        swagger_js_url="/docs/assets/swagger-ui-bundle.js",
        swagger_css_url="/docs/assets/swagger-ui.css",
        swagger_favicon_url="/docs/assets/favicon.png",
    )
    hashes = [
        base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        for script in INLINE_SCRIPT.findall(bytes(html.body).decode())
    ]
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    headers = {"Content-Security-Policy": f"{CONTENT_SECURITY_POLICY}; script-src 'self' {allowed}"}

    @app.head("/docs", include_in_schema=False)
    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(html.body, headers=headers)

    app.mount("/docs/assets", StaticFiles(directory=ASSETS), name="docs_assets")
