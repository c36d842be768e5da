"""Tool tips of what people wrote."""

from __future__ import annotations

import html

__all__ = ["plain_tip"]


def plain_tip(text: str) -> str:
    """A tool tip that shows a text as it stands: Qt would take it for HTML, and open the images that it names."""
    return f"<p style='white-space: pre-wrap'>{html.escape(text)}</p>" if "<" in text or "&" in text else text
