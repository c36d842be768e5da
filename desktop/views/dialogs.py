"""Questions."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDialog, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from desktop.theme import styled
from quarterdeck.job import ENDED, Job, Status, Task

__all__ = ["TerminateDialog", "listed"]


def listed(names: Sequence[str], most: int = 4) -> str:
    """'n1', 'n1 and n2', 'n1, n2 and 3 others'."""
    names = list(names)
    if len(names) > most:
        names = [*names[: most - 1], f"{len(names) - most + 1} others"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


class TerminateDialog(QDialog):
    """Asks whether a job shall be terminated, and says what that ends."""

    def __init__(self, job: Job, tasks: Sequence[Task], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Terminate")
        self.setWindowFlag(Qt.WindowType.WindowContextHelpButtonHint, False)
        self.setMinimumWidth(440)
        title = styled(QLabel(f"Terminate “{job.name}”?", wordWrap=True), name="heading")
        title.setTextFormat(Qt.TextFormat.PlainText)
        self.words = QLabel(self._sentence(job, tasks), wordWrap=True)
        self.words.setTextFormat(Qt.TextFormat.PlainText)
        keep = QPushButton("Keep It")
        self.terminate = styled(QPushButton("Terminate"), name="dangerous")
        self.terminate.clicked.connect(self.accept)
        keep.clicked.connect(self.reject)
        keep.setDefault(True)
        self.terminate.setAutoDefault(False)
        buttons = QHBoxLayout()
        buttons.setSpacing(8)
        buttons.addStretch()
        buttons.addWidget(keep)
        buttons.addWidget(self.terminate)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(22, 20, 22, 18)
        layout.setSpacing(10)
        layout.addWidget(title)
        layout.addWidget(self.words)
        layout.addSpacing(8)
        layout.addLayout(buttons)
        keep.setFocus()

    @staticmethod
    def _sentence(job: Job, tasks: Sequence[Task]) -> str:
        running = [task for task in tasks if task.status is Status.IN_PROGRESS]
        waiting = [task for task in tasks if task.status not in ENDED and task.status is Status.QUEUED]
        nodes = sorted({task.node for task in running if task.node})
        end = Status.TERMINATED if job.backtest_type == "real-time" else Status.FAILED
        parts = []
        if running:
            place = f" on {_count(len(nodes), 'node')} ({listed(nodes)})" if nodes else ""
            whose = "its" if len(running) == 1 else "their"
            parts.append(f"{_count(len(running), 'running task')}{place} will be ended with all {whose} processes.")
        if waiting:
            parts.append(f"{_count(len(waiting), 'queued task')} will not start.")
        parts.append(f"The job becomes {end.title}. This can't be undone.")
        return f"Job {job.id} of {job.creator} has {_count(len(tasks), 'task')}. " + " ".join(parts)
