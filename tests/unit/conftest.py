"""What tests of the market data's import share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from market_trial import Imported, imported


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def reading(content: str | bytes, name: str = "prices.csv", **options: Any) -> Imported:
        file = tmp_path / name
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return imported(file, tmp_path, **options)

    return reading
