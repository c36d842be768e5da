"""What to do with an attempt, decided without I/O and without a clock: an event in, instructions out.

    STARTING -> RUNNING -> SETTLING -> DELIVERING -> OVER
                   |  abort, shutdown, fence: kill, then SETTLING goes on alike

An attempt ends only when its process tree is empty *and* its output was read to the end; what is then left is to
deliver lines, tables and the end itself. A fenced attempt (the database gave the task away) delivers nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

__all__ = [
    "Abort",
    "Delivered",
    "Drop",
    "Emptied",
    "End",
    "Event",
    "Exited",
    "Failed",
    "Fenced",
    "Instruction",
    "Kill",
    "Killed",
    "Launch",
    "Machine",
    "NotLaunched",
    "Note",
    "OutputEnded",
    "Phase",
    "Release",
    "Reported",
    "Said",
    "Shutdown",
    "Started",
    "Taken",
    "may_fetch",
]


# --- events ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Taken:
    """The database accepted that this node runs the attempt now."""


@dataclass(frozen=True, slots=True)
class Started:
    """The task's process exists."""

    pid: int
    started: float


@dataclass(frozen=True, slots=True)
class Reported:
    """The task itself said how it ended: `success` or `failed`, with one sentence."""

    outcome: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class Exited:
    """The task's process ended; negative: by that signal; None: nobody knows (its warden died).

    `left`: processes that it had started are still there.
    """

    code: int | None
    peak: int = 0
    left: bool = False


@dataclass(frozen=True, slots=True)
class Emptied:
    """No process of the tree lives. `cpu` in seconds, `peak` in bytes."""

    cpu: float = 0.0
    peak: int = 0


@dataclass(frozen=True, slots=True)
class Killed:
    """A kill is through: whom it ended (as the receipt has them)."""

    victims: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class OutputEnded:
    """All pipes of the tree were read to their ends."""


@dataclass(frozen=True, slots=True)
class Abort:
    """Its creator or an admin terminated the job."""


@dataclass(frozen=True, slots=True)
class Shutdown:
    """The node stops."""


@dataclass(frozen=True, slots=True)
class Fenced:
    """The database refused a write: the attempt is no longer this node's."""


@dataclass(frozen=True, slots=True)
class NotLaunched:
    """There will be no process: one sentence why."""

    error: str


@dataclass(frozen=True, slots=True)
class Failed:
    """Something the attempt needs can't be done (a table that the database refuses): one sentence."""

    error: str


@dataclass(frozen=True, slots=True)
class Delivered:
    """The end of the attempt is in the database."""


Event = (
    Taken
    | Started
    | Reported
    | Exited
    | Emptied
    | Killed
    | OutputEnded
    | Abort
    | Shutdown
    | Fenced
    | NotLaunched
    | Failed
    | Delivered
)


# --- instructions ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Launch:
    """Start the task's process."""


@dataclass(frozen=True, slots=True)
class Note:
    """Record the process in the database."""

    pid: int
    started: float


@dataclass(frozen=True, slots=True)
class Said:
    """A line of execution information; `level` as `quarterdeck.job.Level` has it."""

    text: str
    level: str = "info"


@dataclass(frozen=True, slots=True)
class Kill:
    """End the whole tree."""


@dataclass(frozen=True, slots=True)
class End:
    """Deliver what is left, then this end."""

    outcome: str
    exit_code: int | None
    error: str
    receipt: dict[str, Any] | None
    cpu: float
    peak: int


@dataclass(frozen=True, slots=True)
class Drop:
    """Throw away all that was not delivered."""


@dataclass(frozen=True, slots=True)
class Release:
    """The slot is free; the attempt is over for this node."""


Instruction = Launch | Note | Said | Kill | End | Drop | Release


class Phase(Enum):
    WAITING = auto()
    STARTING = auto()
    RUNNING = auto()
    SETTLING = auto()
    DELIVERING = auto()
    OVER = auto()


_SIGNALS = {
    2: "SIGINT",
    4: "SIGILL",
    6: "SIGABRT",
    7: "SIGBUS",
    8: "SIGFPE",
    9: "SIGKILL",
    11: "SIGSEGV",
    15: "SIGTERM",
}


@dataclass
class Machine:
    """One attempt's state. `handle` is the only way in; it returns what is to be done, in order."""

    node: str
    task: str
    attempt: int = 1
    phase: Phase = Phase.WAITING
    killing: bool = False
    reason: str = ""  # why it was cut short: "terminated", "lost"
    fenced: bool = False
    error: str = ""
    reported: Reported | None = None
    exited: Exited | None = None
    exit_seen: bool = False
    emptied: Emptied | None = None
    output_ended: bool = False
    left_over: bool = False
    victims: list[dict[str, Any]] = field(default_factory=list)

    def handle(self, event: Event) -> list[Instruction]:
        if self.phase is Phase.OVER:
            return []
        match event:
            case Taken():
                return self._taken()
            case Started(pid, started):
                return self._started(pid, started)
            case Reported():
                self.reported = self.reported or event
                return []
            case Exited():
                return self._exited(event)
            case Emptied():
                self.emptied = self.emptied or event
                return self._settled()
            case Killed(victims):
                return self._killed(victims)
            case OutputEnded():
                self.output_ended = True
                return self._settled()
            case Abort():
                return self._cut("terminated", f"terminate received on node {self.node}", "warning")
            case Shutdown():
                return self._cut("lost", f"node {self.node} stops; its tasks are ended", "warning")
            case Fenced():
                return self._fence()
            case NotLaunched(error):
                if self.phase is not Phase.STARTING:
                    return []
                self.error = self.error or error
                return self._nothing_ran()
            case Failed(error):
                return self._failed(error)
            case Delivered():
                return self._over() if self.phase is Phase.DELIVERING else []

    def _taken(self) -> list[Instruction]:
        if self.phase is not Phase.WAITING:
            return []
        if self.reason:  # cut short before there was a process
            return self._nothing_ran()
        self.phase = Phase.STARTING
        return [Launch()]

    def _started(self, pid: int, started: float) -> list[Instruction]:
        if self.phase is not Phase.STARTING:
            return []
        self.phase = Phase.RUNNING
        return [Note(pid, started), Said(f"process {pid} started"), *self._kill_if_cut()]

    def _kill_if_cut(self) -> list[Instruction]:
        if (self.reason or self.fenced or self.error) and not self.killing:
            self.killing = True
            return [Kill()]
        return []

    def _exited(self, event: Exited) -> list[Instruction]:
        if self.exit_seen or self.phase not in (Phase.STARTING, Phase.RUNNING):
            return []
        self.exit_seen = True
        self.exited = event
        self.phase = Phase.SETTLING
        if self.killing or not event.left:
            return self._settled()
        # whoever outlives the task is ended: no orphan stays on the node
        self.killing = True
        self.left_over = True
        return [Kill()]

    def _killed(self, victims: tuple[dict[str, Any], ...]) -> list[Instruction]:
        self.killing = False
        self.victims += victims
        said: list[Instruction] = []
        if victims and not self.fenced and self.phase is not Phase.DELIVERING:
            if self.left_over:
                said.append(
                    Said("the task ended while processes that it started were running; they are ended", "warning")
                )
            said += [
                Said(
                    f"killed process {one['pid']} ({one['name']}) on node {self.node} with {one['signal']}, "
                    f"ended {one['ended']}",
                    "warning",
                )
                for one in victims
            ]
        self.left_over = False
        return said + self._settled()

    def _cut(self, reason: str, text: str, level: str) -> list[Instruction]:
        if self.reason or self.fenced or self.phase is Phase.DELIVERING:
            return []
        if self.phase is Phase.SETTLING and self.reported and reason == "lost":
            return []  # it ended by itself; what is left takes no time
        self.reason = reason
        said: list[Instruction] = [Said(text, level)]
        if self.phase is Phase.RUNNING:
            return said + self._kill_if_cut()
        return said

    def _fence(self) -> list[Instruction]:
        if self.fenced:
            return []
        self.fenced = True
        if self.phase in (Phase.WAITING, Phase.DELIVERING):
            return [Drop(), *self._over()]
        if self.phase is Phase.RUNNING and not self.killing:
            self.killing = True
            return [Drop(), Kill()]
        return [Drop(), *self._settled()]

    def _failed(self, error: str) -> list[Instruction]:
        if self.phase is Phase.DELIVERING:
            return []
        first = not self.error
        self.error = self.error or error
        if self.phase is Phase.RUNNING and first:
            return self._kill_if_cut()
        return []

    def _nothing_ran(self) -> list[Instruction]:
        self.exit_seen = self.output_ended = True
        self.emptied = Emptied()
        self.phase = Phase.SETTLING
        return self._settled()

    def _settled(self) -> list[Instruction]:
        if self.phase is not Phase.SETTLING or self.killing or not (self.emptied and self.output_ended):
            return []
        if self.fenced:
            return self._over()
        self.phase = Phase.DELIVERING
        end = self._end()
        return [*self._last_lines(end), end]

    def _end(self) -> End:
        code = self.exited.code if self.exited else None
        usage = self.emptied or Emptied()
        peak = max(usage.peak, self.exited.peak if self.exited else 0)
        receipt = {"node": self.node, "processes": list(self.victims)} if self.victims or self.reason else None
        outcome, error = self._outcome(code)
        return End(outcome, code, error, receipt, usage.cpu, peak)

    def _outcome(self, code: int | None) -> tuple[str, str]:
        if self.reason == "terminated":
            return "terminated", ""
        if self.error:
            return "failed", self.error
        if self.reported and (self.reported.outcome == "failed" or code in (0, None)):
            return self.reported.outcome, self.reported.error
        if self.reason == "lost":
            return "lost", f"node {self.node} stopped"
        if code is None:
            return "failed", "the task's process went away without a word"
        if code < 0:
            name = _SIGNALS.get(-code, f"signal {-code}")
            hint = ": the system may have run out of memory" if code == -9 else ""
            return "failed", f"the task's process was ended by {name} from outside{hint}"
        return "failed", f"the task's process ended with exit code {code} before the run was through"

    def _last_lines(self, end: End) -> list[Instruction]:
        # how it ended is said by the database itself, with the end
        if not end.peak:
            return []
        return [Said(f"used {end.cpu:.2f} s of CPU, {end.peak / 1e6:.0f} MB of memory at most")]

    def _over(self) -> list[Instruction]:
        self.phase = Phase.OVER
        return [Release()]


def may_fetch(*, slots: int, running: int, draining: bool, stopping: bool, connected: bool) -> bool:
    """May the node take another task now?"""
    return connected and not draining and not stopping and running < slots
