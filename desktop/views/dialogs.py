"""Questions, and answers that are too long for a passing message."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence

from PySide6.QtCore import QDateTime, Qt
from PySide6.QtWidgets import (
    QCheckBox,
    QDateTimeEdit,
    QDialog,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from desktop.models.deletion import Survey
from desktop.theme import styled
from quarterdeck.job import ENDED, Job, Status, Task

__all__ = [
    "DeleteDialog",
    "OutcomeDialog",
    "Question",
    "TerminateDialog",
    "TerminateManyDialog",
    "TimeDialog",
    "listed",
]


def listed(names: Sequence[str], most: int = 4) -> str:
    """'n1', 'n1 and n2', 'n1, n2 and 3 others'."""
    names = list(names)
    if len(names) > most:
        names = [*names[: most - 1], f"{len(names) - most + 1} others"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _by_status(counts: Mapping[Status, int]) -> str:
    """'3 Success, 1 Failed'."""
    return ", ".join(f"{counts[status]:,} {status.title}" for status in Status if counts.get(status))


class Question(QDialog):
    """A title, sentences, and two buttons of which the harmless one is the default."""

    def __init__(self, title: str, words: str, yes: str, no: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(yes)
        self.setWindowFlag(Qt.WindowType.WindowContextHelpButtonHint, False)
        self.setMinimumWidth(440)
        heading = styled(QLabel(title, wordWrap=True), name="heading")
        heading.setTextFormat(Qt.TextFormat.PlainText)
        self.words = QLabel(words, wordWrap=True)
        self.words.setTextFormat(Qt.TextFormat.PlainText)
        self.keep = QPushButton(no)
        self.yes = styled(QPushButton(yes), name="dangerous")
        self.yes.clicked.connect(self.accept)
        self.keep.clicked.connect(self.reject)
        self.keep.setDefault(True)
        self.yes.setAutoDefault(False)
        buttons = QHBoxLayout()
        buttons.setSpacing(8)
        buttons.addStretch()
        buttons.addWidget(self.keep)
        buttons.addWidget(self.yes)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(22, 20, 22, 18)
        layout.setSpacing(10)
        layout.addWidget(heading)
        layout.addWidget(self.words)
        layout.addSpacing(8)
        layout.addLayout(buttons)
        self.keep.setFocus()


class DeleteDialog(Question):
    """Asks whether the checked jobs shall be deleted, and says how many of what will go and what stays."""

    def __init__(self, survey: Survey, kind: str, parent: QWidget | None = None) -> None:
        stay = sum(survey.staying.values())
        parts = []
        if survey.total:
            title = f"Delete {_count(survey.total, f'{kind} job')}?"
            parts.append(f"{_by_status(survey.going)}: they go with their logs, tasks and results.")
        else:
            title = f"None of the checked {kind} jobs can be deleted"
        if stay:
            whose = "1 job has" if stay == 1 else f"{stay:,} jobs have"
            parts.append(f"{whose} not ended and will stay ({_by_status(survey.staying)}).")
        if survey.total:
            parts.append("Imported data stays. The deletion is recorded, and can't be undone.")
        elif not stay:
            parts.append("They are no longer there.")
        super().__init__(title, "\n\n".join(parts), "Delete", "Keep Them", parent)
        self.yes.setEnabled(survey.total > 0)


class TerminateManyDialog(Question):
    """Asks whether several jobs shall be terminated: how many, whose, and which of the chosen ones can't be."""

    def __init__(self, jobs: Sequence[Job], chosen: int, me: str, parent: QWidget | None = None) -> None:
        owners = Counter(job.creator for job in jobs).most_common()
        statuses = Counter(job.status for job in jobs)
        whose = listed([f"{n:,} of {'yours' if who == me else who}" for who, n in owners], 6)
        parts = [f"{_by_status(statuses)}; {whose}.", "All their processes on all nodes will be ended."]
        if (others := chosen - len(jobs)) > 0:
            verb = (
                "has ended or may not be terminated by you: it stays as it is"
                if others == 1
                else ("have ended or may not be terminated by you: they stay as they are")
            )
            parts.append(f"{others:,} of the selected jobs {verb}.")
        live = sum(job.backtest_type == "real-time" for job in jobs)
        ends = [Status.FAILED.title] if live < len(jobs) else []
        ends += [Status.TERMINATED.title] if live else []
        parts.append(f"They become {' or (real-time) '.join(ends)}. This can't be undone.")
        title = f"Terminate {_count(len(jobs), 'job')}?"
        super().__init__(title, "\n\n".join(parts), "Terminate", "Keep Them", parent)


class OutcomeDialog(QDialog):
    """What became of many, one sentence each."""

    def __init__(self, title: str, sentences: Sequence[str], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Result")
        self.resize(560, 260)
        heading = styled(QLabel(title, wordWrap=True), name="heading")
        heading.setTextFormat(Qt.TextFormat.PlainText)
        self.text = QPlainTextEdit("\n".join(sentences))
        self.text.setReadOnly(True)
        self.text.setAccessibleName(title)
        close = QPushButton("Close")
        close.setDefault(True)
        close.clicked.connect(self.accept)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(22, 20, 22, 18)
        layout.setSpacing(12)
        layout.addWidget(heading)
        layout.addWidget(self.text, 1)
        layout.addWidget(close, 0, Qt.AlignmentFlag.AlignRight)


class TimeDialog(QDialog):
    """From when to when; each end may be left open."""

    def __init__(self, since: dt.datetime | None, until: dt.datetime | None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Created from … to …")
        now = dt.datetime.now().astimezone().replace(second=0, microsecond=0, tzinfo=None)
        self._ends: dict[str, tuple[QCheckBox, QDateTimeEdit]] = {}
        grid = QGridLayout()
        grid.setSpacing(10)
        given = {"since": (since, now - dt.timedelta(days=1)), "until": (until, now)}
        for row, (key, (value, default)) in enumerate(given.items()):
            check = QCheckBox("From" if key == "since" else "To")
            check.setChecked(value is not None)
            edit = QDateTimeEdit(calendarPopup=True, displayFormat="yyyy-MM-dd HH:mm")
            edit.setAccessibleName(check.text())
            local = value.astimezone().replace(tzinfo=None) if value is not None else default
            edit.setDateTime(QDateTime(local.date(), local.time()))  # type: ignore[call-overload]
            edit.setEnabled(check.isChecked())
            check.toggled.connect(edit.setEnabled)
            grid.addWidget(check, row, 0)
            grid.addWidget(edit, row, 1)
            self._ends[key] = (check, edit)
        show = styled(QPushButton("Show"), name="primary")
        show.setDefault(True)
        show.clicked.connect(self.accept)
        cancel = QPushButton("Cancel")
        cancel.clicked.connect(self.reject)
        buttons = QHBoxLayout()
        buttons.addStretch()
        buttons.addWidget(cancel)
        buttons.addWidget(show)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(22, 20, 22, 18)
        layout.setSpacing(14)
        layout.addLayout(grid)
        layout.addLayout(buttons)

    def terms(self) -> dict[str, list[str]]:
        """The values of the filter line's `since` and `until`, in local time."""
        return {
            key: [edit.dateTime().toString("yyyy-MM-ddTHH:mm")] if check.isChecked() else []
            for key, (check, edit) in self._ends.items()
        }


class TerminateDialog(Question):
    """Asks whether a job shall be terminated, and says what that ends."""

    def __init__(self, job: Job, tasks: Sequence[Task], parent: QWidget | None = None) -> None:
        super().__init__(f"Terminate “{job.name}”?", self._sentence(job, tasks), "Terminate", "Keep It", parent)
        self.terminate = self.yes

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
