"""The desktop on the cluster of this computer."""

from __future__ import annotations

from pathlib import Path

import pytest

from quarterdeck import embedded, server


@pytest.mark.spec("P3", "C1")
def test_a_cluster_that_runs_in_another_folder_is_taken_as_it_is(
    open_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = pytest.importorskip("desktop.app")
    monkeypatch.setenv("QUARTERDECK_CONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("QUARTERDECK_PASSWORD", raising=False)
    monkeypatch.setattr(embedded, "default_data", lambda: open_folder / "default")
    data = open_folder / f"elsewhere-{tmp_path.name}"
    starter = app.local_starter(lambda text: None)
    said: list[str] = []
    try:
        embedded.start(data, slots=1)
        assert starter(said.append) == "local"
        assert said == []
        assert not (open_folder / "default").exists()
    finally:
        embedded.stop(data)
    assert server.Server.at(data).running() is None
