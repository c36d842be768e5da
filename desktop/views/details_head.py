"""The head of a job's details: what it is, how it stands, and what may be done to it."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QPainter, QPaintEvent, QResizeEvent, QShowEvent
from PySide6.QtWidgets import QApplication, QHBoxLayout, QLabel, QPushButton, QToolButton, QVBoxLayout, QWidget

from desktop import resources
from desktop.models.details import JobDetails
from desktop.theme import current, styled, theme
from desktop.tips import plain_tip
from desktop.views.complaints import sentence
from desktop.views.job_table import paint_status, status_width
from quarterdeck.client import Client
from quarterdeck.columns import duration_text, time_text
from quarterdeck.job import ENDED, Action, Details, Job, Status, run_time
from quarterdeck.kinds import Kind

__all__ = ["DetailsHead", "StatusPill"]


class StatusPill(QWidget):
    """A job's status as the lists paint it."""

    def __init__(self, job: Job, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._job = job
        self.setFixedHeight(24)
        self.show_job(job)

    def show_job(self, job: Job) -> None:
        self._job = job
        self.setFixedWidth(status_width(self._words()) + 2)
        self.setAccessibleName(self._words())
        self.update()

    def _words(self) -> str:
        if self._job.ending:
            return f"{self._job.status.title} (ending)"
        share = f" {self._job.progress:.0%}" if self._job.progress and self._job.ended is None else ""
        return self._job.status.title + share

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        paint_status(painter, self.rect(), self._job.status, self._words(), self._job.ending, self._job.progress)
        painter.end()


class NameLabel(QLabel):
    """A name on one line, with its middle left out where there is no room for all of it."""

    def __init__(self) -> None:
        super().__init__(textFormat=Qt.TextFormat.PlainText)
        self.whole = ""

    def show_name(self, name: str) -> None:
        if name != self.whole:
            self.whole = name
            self.setToolTip(plain_tip(name))
            self.setAccessibleName(name)
            self._fit()
            self.updateGeometry()

    def sizeHint(self) -> QSize:
        return QSize(self.fontMetrics().horizontalAdvance(self.whole) + 3, super().sizeHint().height())

    def minimumSizeHint(self) -> QSize:
        return QSize(min(100, self.sizeHint().width()), super().minimumSizeHint().height())

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._fit()

    def _fit(self) -> None:
        room = self.width() if self.isVisible() else 1 << 20
        self.setText(self.fontMetrics().elidedText(self.whole, Qt.TextElideMode.ElideMiddle, room))


class DetailsHead(QWidget):
    """Name, status, facts, trouble and actions.

    Signals:
        asked(str, bool): the user wants something: the job of that number, or one of the words `back`, `window`,
            `log`, `rerun`, `terminate`, `error`; in a window of its own?
    """

    asked = Signal(str, bool)

    def __init__(self, model: JobDetails, kind: Kind, client: Client, *, windowed: bool) -> None:
        super().__init__()
        self.setObjectName("topbar")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._model = model
        self._kind = kind
        self._client = client
        self.back = styled(QPushButton(kind.title), name="link", tip="Back to the list (Esc)", called="Back")
        self.back.setVisible(not windowed)
        self.kind = styled(QLabel(kind.title), name="muted", visible=windowed)
        self.tear = styled(QToolButton(), name="flat", tip="Open in a new window (Ctrl+Shift+N)", visible=not windowed)
        self.title = styled(NameLabel(), name="title")
        self.status = StatusPill(model.job)
        self.facts = styled(QLabel(textFormat=Qt.TextFormat.PlainText, wordWrap=True), name="muted")
        self.facts.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.rerun_of = styled(QPushButton(), name="link", visible=False)
        self.workflow = styled(QPushButton(), name="link", visible=False)
        self.trouble = styled(QLabel(wordWrap=True, textFormat=Qt.TextFormat.PlainText), name="problem", visible=False)
        self.trouble.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        self.error = styled(QPushButton("Show in Log"), tip="The first error with its traceback (F8)", visible=False)
        self.close_page = styled(QPushButton("Close"), visible=False)
        self.buttons = {
            Action.LOG: styled(QPushButton("View Log"), tip="In a window of its own (Ctrl+L)", called="View Log"),
            Action.RERUN: QPushButton("Run Again…"),
            Action.TERMINATE: styled(QPushButton("Terminate"), name="danger"),
        }
        self._lay_out()
        for button, word in (
            (self.back, "back"),
            (self.close_page, "back"),
            (self.tear, "window"),
            (self.error, "error"),
            *((button, action.value) for action, button in self.buttons.items()),
        ):
            button.clicked.connect(lambda checked=False, word=word: self.asked.emit(word, False))
        for link in (self.rerun_of, self.workflow):
            link.clicked.connect(lambda checked=False, link=link: self._follow(link))
        theme.changed.connect(self._dress)
        self._dress()

    def _lay_out(self) -> None:
        crumbs = QHBoxLayout()
        crumbs.addSpacing(-7 if not self.back.isHidden() else 0)
        crumbs.addWidget(self.back)
        crumbs.addWidget(self.kind)
        crumbs.addStretch()
        crumbs.addWidget(self.tear)
        line = QHBoxLayout()
        line.setSpacing(12)
        line.addWidget(self.title)
        line.addWidget(self.status, 0, Qt.AlignmentFlag.AlignVCenter)
        line.addStretch(1)
        for button in self.buttons.values():
            line.addWidget(button, 0, Qt.AlignmentFlag.AlignTop)
        facts = QHBoxLayout()
        facts.setSpacing(14)
        facts.addWidget(self.facts, 1)
        facts.addWidget(self.rerun_of)
        facts.addWidget(self.workflow)
        trouble = QHBoxLayout()
        trouble.setSpacing(8)
        trouble.addWidget(self.trouble, 1)
        trouble.addWidget(self.error, 0, Qt.AlignmentFlag.AlignTop)
        trouble.addWidget(self.close_page, 0, Qt.AlignmentFlag.AlignTop)
        rows = QVBoxLayout(self)
        rows.setContentsMargins(20, 10, 20, 0)
        rows.setSpacing(6)
        for part in (crumbs, line, facts, trouble):
            rows.addLayout(part)
        rows.addSpacing(4)

    def refresh(self) -> None:
        """Show the job as the model knows it now."""
        model, job, details = self._model, self._model.job, self._model.details
        self.title.show_name(job.name)
        self.status.show_job(model.running)
        for action, button in self.buttons.items():
            startable = action is not Action.RERUN or self._kind.params is not None
            button.setVisible(action in job.actions and startable and not model.gone)
        self.tear.setVisible(not self.back.isHidden() and not model.gone)
        rerun = details.rerun_of if details is not None else None
        for link, words, number in (
            (self.rerun_of, "rerun of job", rerun),
            (self.workflow, "started by workflow", job.workflow_id),
        ):
            link.setVisible(number is not None)
            if number is not None:
                link.setText(f"{words} {number}")
                link.setProperty("job", number)
                link.setToolTip(f"Open job {number}; with Ctrl in a window of its own")
        self._show_trouble(details)
        self.tick()

    def _show_trouble(self, details: Details | None) -> None:
        model, job = self._model, self._model.job
        words, banner = model.trouble, False
        if not words and details is not None:
            words = details.error or details.waiting
            banner = not details.error
            if job.status is Status.TERMINATED or (job.ended is not None and details.terminated_by):
                words = f"Terminated by {details.terminated_by}, {time_text(job.ended)}."
        name = "banner" if banner else "problem"
        if self.trouble.objectName() != name:
            self.trouble.setObjectName(name)
            self.trouble.style().polish(self.trouble)
        self.trouble.setText(sentence(words))
        self.trouble.setVisible(bool(words))
        failed = details is not None and bool(details.error) and job.status in ENDED
        self.error.setVisible(failed and not model.gone and Action.LOG in job.actions)
        self.close_page.setVisible(model.gone)

    def tick(self) -> None:
        """What changes by the clock."""
        job, details = self._model.job, self._model.details
        parts = [f"Job {job.id}", job.creator, job.origin.title if job.kind in ("factor", "backtest") else ""]
        if job.subject and job.subject != job.name:
            parts.insert(1, job.subject)
        parts.append(", ".join(job.nodes))
        parts.append(f"started {time_text(job.started)}" if job.started else f"queued {time_text(job.created)}")
        if job.ended is not None:
            parts.append(f"ended {_later(job)}")
        if job.started is not None:
            parts.append(duration_text(run_time(job, self._client.now())))
        if details is not None and (count := len(details.tasks)) > 1:
            over = sum(task.status in ENDED for task in details.tasks)
            parts.append(f"{count:,} tasks" if over == count else f"{over:,} of {count:,} tasks ended")
        if details is not None and details.terminated_by and job.ended is None:
            parts.append(f"{details.terminated_by} asked for its end")
        if job.ended is None and (message := self._model.running.message):
            parts.append(message)
        words = "   ·   ".join(part for part in parts if part)
        if words != self.facts.text():
            self.facts.setText(words)

    def _follow(self, link: QPushButton) -> None:
        control = bool(QApplication.keyboardModifiers() & Qt.KeyboardModifier.ControlModifier)
        self.asked.emit(str(link.property("job")), control)

    def _dress(self) -> None:
        t = current()
        self.back.setIcon(resources.icon("chevron-left", t.link))
        self.back.setIconSize(QSize(18, 18))
        self.tear.setIcon(resources.icon("open-in-new", t.muted))
        self.error.setIcon(resources.icon("alert-circle-outline", t.bad))
        pictures = {Action.LOG: "text-box-outline", Action.RERUN: "replay", Action.TERMINATE: "stop-circle-outline"}
        for action, button in self.buttons.items():
            button.setIcon(resources.icon(pictures[action], t.bad if action is Action.TERMINATE else t.muted))


def _later(job: Job) -> str:
    end, start = time_text(job.ended), time_text(job.started or job.created)
    return end[11:] if end[:10] == start[:10] else end
