"""Printing a report: on paper by any printer, with a preview, or as a PDF; from the window or without one (V2, C4)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PySide6.QtCore import QMessageLogContext, QObject, QSizeF, QtMsgType, qInstallMessageHandler
from PySide6.QtGui import QPageLayout, QPainter
from PySide6.QtPrintSupport import QPrintDialog, QPrinter, QPrintPreviewDialog
from PySide6.QtWidgets import QFileDialog, QWidget

from desktop.bridge import Bridge
from desktop.models.report import ReportModel
from desktop.views.choice_box import choice_text
from desktop.views.panels import State
from desktop.views.paper import DPI, ROWS, Head, Paper, play, save_pdf, set_up
from quarterdeck.client import Client
from quarterdeck.columns import duration_text, time_text
from quarterdeck.errors import Invalid, NotFound, QuarterdeckError
from quarterdeck.job import Details, Job, run_time
from quarterdeck.kinds import KINDS
from quarterdeck.report import Frames, JobTables, Template, builtins, parse
from quarterdeck.report.shapes import Rows

__all__ = ["Printing", "fitting", "head_of", "made_of", "write_report"]


def fitting(
    kind: str,
    params: Mapping[str, Any] | None = None,
    wanted: str = "",
    *,
    document: Mapping[str, Any] | None = None,
    tables: Collection[str] | None = None,
) -> list[Template]:
    """The built-in templates for jobs of that kind, after the document that the job itself is made of, if it is.

    First comes the one that is wanted, by name or title, then the one that the job's parameter `template` names, then
    the first of the kind's own for which the job has the `tables`.
    """
    given = (params or {}).get("template")
    own = next((one.report for one in KINDS if one.key == kind), ())
    found = [one for one in builtins().values() if kind in one.kinds]

    def place(one: Template) -> tuple[Any, ...]:
        names = (one.name, one.title)
        lacks = tables is not None and not _tables_of(one) <= set(tables)
        rank = own.index(one.name) if one.name in own else len(own)
        return wanted not in names, given not in names, lacks, rank, one.name

    return [*([parse(document)] if document is not None else []), *sorted(found, key=place)]


def _tables_of(template: Template) -> set[str]:
    return {one.table for one in template.sources.values() if one.table is not None and one.job is None}


def made_of(details: Details) -> dict[str, Any]:
    """What `fitting` needs to know of a job besides its kind and parameters."""
    return {"document": details.template.get("document"), "tables": {one.name for one in details.tables}}


def head_of(
    details: Details, template: Template, choices: Mapping[str, tuple[Any, ...]], task: int | None, now: Any
) -> Head:
    """What a report's first page says of the run."""
    job = details.job
    kind = next((one.title for one in KINDS if one.key == job.kind), job.kind)
    facts = [kind, f"job {job.id}", job.creator, job.status.title]
    if task is not None and len(details.tasks) > 1:
        name = next((one.name for one in details.tasks if one.ordinal == task), str(task))
        facts.append(name if name.lower().startswith("task") else f"task {name}")
    if job.started is not None:
        facts.append(f"started {time_text(job.started)}")
        facts.append(f"ran {duration_text(run_time(job, now))}")
    if job.nodes:
        facts.append(f"on {', '.join(job.nodes)}")
    chosen = []
    for choice in template.choices:
        texts = [choice_text(value) for value in choices.get(choice.name, ())]
        words = ", ".join(texts[:12]) + (f" and {len(texts) - 12} more" if len(texts) > 12 else "")
        chosen.append((choice.title or choice.name, words or "all"))
    return Head(
        title=template.title,
        name=job.name,
        facts=tuple(facts),
        parameters=_in_order(job, details.params),
        choices=tuple(chosen),
    )


def _in_order(job: Job, params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters as their kind lists them: the database keeps no order."""
    model = next((one.params for one in KINDS if one.key == job.kind), None)
    order = {name: place for place, name in enumerate(model.model_fields)} if model is not None else {}
    return {name: params[name] for name in sorted(params, key=lambda one: order.get(one, len(order)))}


def write_report(client: Client, job_id: int, path: Path, template: str | None, task: str | None) -> int:
    """Write a job's report to a PDF file; how many pages it has. Needs an application, but no display.

    Raises:
        NotFound: there is no such job, template or task.
        Invalid: the kind has no report, or the file can't be written.
    """
    if path.suffix.lower() != ".pdf":
        raise Invalid(f"a report is written as PDF: name a file that ends in .pdf, not {path.name}")
    details = client.get(job_id)
    if template is not None:
        document = client.template(template)
    else:
        found = fitting(details.job.kind, details.params, **made_of(details))
        if not found:
            raise Invalid(f"job {job_id} is of the kind '{details.job.kind}', which has no report: name a --template")
        document = found[0]
    number = None if document.whole and task is None else _task(details, task)
    frames = Frames(document, JobTables(client, job_id, details.params, number, details.job.creator))
    report = frames.read()
    rows = {
        name: frames.page(name, limit=ROWS)
        for name, data in report.panels.items()
        if isinstance(data, Rows) and not data.said
    }
    head = head_of(details, document, report.choices, number, client.now())
    paper = Paper(head, document, report.panels, rows=rows)
    with _without_remarks():
        for _ in paper.steps():
            continue
    save_pdf(paper, path)
    return len(paper.pages)


@contextmanager
def _without_remarks() -> Iterator[None]:
    """The platform without a display says for each drawing what it can't do with windows: nobody needs to know."""

    def said(kind: QtMsgType, context: QMessageLogContext, text: str) -> None:
        if "plugin does not support" not in text:
            sys.stderr.write(f"{text}\n")

    before = qInstallMessageHandler(said)
    try:
        yield
    finally:
        qInstallMessageHandler(before)


def _task(details: Details, wanted: str | None) -> int | None:
    """A task's number by its name or number; the first one with results where there are several."""
    if wanted is None:
        if len(details.tasks) < 2:
            return None
        return next((one.ordinal for one in details.tables if one.ordinal is not None), details.tasks[0].ordinal)
    for one in details.tasks:
        if wanted in (one.name, str(one.ordinal)):
            return one.ordinal
    names = ", ".join(one.name for one in details.tasks[:10])
    raise NotFound(f"job {details.job.id} has no task '{wanted}': it has {names}")


class Printing(QObject):
    """Prints what a view shows: its panels as the user has them."""

    def __init__(
        self,
        parent: QWidget,
        client: Client,
        bridge: Bridge,
        said: Callable[[str], None],
        complain: Callable[[BaseException], None],
    ) -> None:
        super().__init__(parent)
        self._window = parent
        self._client, self._bridge = client, bridge
        self._said, self._complain = said, complain
        self.preview: QPrintPreviewDialog | None = None
        self._paper: Paper | None = None
        self._printer: QPrinter | None = None

    async def paper(self, model: ReportModel, states: dict[str, State], details: Details, size: QSizeF) -> Paper:
        """The report's pages, made a panel at a time."""
        rows: dict[str, Any] = {}
        for name, data in list(model.panels.items()):
            if isinstance(data, Rows) and not data.said:
                rows[name] = await self._bridge.call(model.page, name, 0, ROWS)
        head = head_of(details, model.template, model.choices, model.task, self._client.now())
        made = Paper(head, model.template, dict(model.panels), states=states, rows=rows, size=size)
        for _ in made.steps():
            await self._bridge.pause(0)
        return made

    def ask_pdf(self, model: ReportModel, states: dict[str, State], details: Details) -> QFileDialog:
        """Ask for a file, and write the report to it."""
        dialog = QFileDialog(self._window, "Save Report")
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setNameFilters(["PDF (*.pdf)"])
        dialog.setDefaultSuffix("pdf")
        dialog.selectFile(f"{details.job.name} {model.template.name}.pdf")
        dialog.fileSelected.connect(
            lambda name: self._bridge.start(self, self.save(Path(name), model, states, details))
        )
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()
        return dialog

    async def save(self, path: Path, model: ReportModel, states: dict[str, State], details: Details) -> None:
        """Write the report as PDF."""
        self._said("Making the pages…")
        try:
            paper = await self.paper(model, states, details, QSizeF(794, 1123))
            save_pdf(paper, path)
        except QuarterdeckError as error:
            self._said("")
            self._complain(error)
        else:
            self._said(f"Saved as {path.name}, {len(paper.pages)} pages.")

    async def show_preview(self, model: ReportModel, states: dict[str, State], details: Details) -> None:
        """Make the pages and show them as they will be printed."""
        self._said("Making the pages…")
        # the dialog does not keep its printer
        self._printer = printer = _printer(details.job.name)
        self._paper = await self.paper(model, states, details, _size(printer))
        self._said("")
        dialog = QPrintPreviewDialog(printer, self._window)
        dialog.setWindowTitle(f"Print Report - {details.job.name}")
        dialog.resize(900, 1000)
        dialog.paintRequested.connect(lambda device: self._repaint(dialog, device, model, states, details))
        dialog.finished.connect(dialog.deleteLater)
        dialog.destroyed.connect(self._forget)
        self.preview = dialog
        dialog.open()

    def _forget(self) -> None:
        self.preview = self._paper = self._printer = None

    def _repaint(
        self,
        dialog: QPrintPreviewDialog,
        printer: QPrinter,
        model: ReportModel,
        states: dict[str, State],
        details: Details,
    ) -> None:
        paper = self._paper
        if paper is None:
            return
        _paint(paper, printer)
        if _size(printer) != paper.size:  # another paper was chosen: the pages are made anew, then shown
            self._bridge.latest(self, "paper", self._remake(dialog, printer, model, states, details))

    async def _remake(
        self,
        dialog: QPrintPreviewDialog,
        printer: QPrinter,
        model: ReportModel,
        states: dict[str, State],
        details: Details,
    ) -> None:
        self._paper = await self.paper(model, states, details, _size(printer))
        if self.preview is dialog:
            for view in dialog.findChildren(QWidget):
                if view.metaObject().className() == "QPrintPreviewWidget":
                    view.updatePreview()  # type: ignore[attr-defined]

    async def ask_printer(self, model: ReportModel, states: dict[str, State], details: Details) -> QPrintDialog:
        """Let the user choose a printer, and print on it."""
        printer = _printer(details.job.name)
        dialog = QPrintDialog(printer, self._window)
        dialog.setWindowTitle("Print Report")
        if await self._bridge.ask(dialog):
            self._said("Making the pages…")
            paper = await self.paper(model, states, details, _size(printer))
            _paint(paper, printer)
            self._said(f"{len(paper.pages)} pages were sent to {printer.printerName() or 'the printer'}.")
        return dialog


def _printer(name: str) -> QPrinter:
    printer = QPrinter()
    printer.setResolution(DPI)
    set_up(printer)
    printer.setDocName(name)
    printer.setCreator("Quarterdeck")
    return printer


def _size(printer: QPrinter) -> QSizeF:
    """The paper's size in pixels of the pages."""
    points = printer.pageLayout().fullRect(QPageLayout.Unit.Point).size()
    return QSizeF(round(points.width() * DPI / 72), round(points.height() * DPI / 72))


def _paint(paper: Paper, printer: QPrinter) -> None:
    numbers = range(len(paper.pages))
    if printer.printRange() == QPrinter.PrintRange.PageRange:
        numbers = range(max(0, printer.fromPage() - 1), min(len(paper.pages), printer.toPage() or len(paper.pages)))
    printer.setFullPage(True)
    painter = QPainter(printer)
    scale = printer.pageLayout().fullRectPixels(printer.resolution()).width() / paper.size.width()
    play(paper, painter, printer, scale, numbers)
    painter.end()
