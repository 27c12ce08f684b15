"""Every command: its name, where it is, its section and its one line of help. Imports nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Section = Literal["daily path", "look", "mend", "set up"]
SECTIONS: tuple[Section, ...] = ("daily path", "look", "mend", "set up")


@dataclass(frozen=True, slots=True)
class Entry:
    """One command. `target` is "module:attribute"; `help` is one line, lower case, no full stop."""

    name: str
    target: str
    section: Section
    help: str


COMMANDS: tuple[Entry, ...] = (
    Entry(
        "demo",
        "orchestrator.cli.demo_cmd:demo",
        "daily path",
        "300 real records through the sandbox, faults on; costs nothing",
    ),
    Entry(
        "plan",
        "orchestrator.cli.plan_cmd:plan",
        "daily path",
        "show what a job would be: rows, batches, tokens, cost; sends nothing",
    ),
    Entry(
        "submit",
        "orchestrator.cli.submit_cmd:submit",
        "daily path",
        "register a job; again with the same content is the same job",
    ),
    Entry(
        "apply",
        "orchestrator.cli.apply_cmd:apply",
        "daily path",
        "submit a workflow of jobs that feed each other",
    ),
    Entry(
        "watch",
        "orchestrator.cli.watch_cmd:watch",
        "daily path",
        "follow jobs to their end; does the work itself when no daemon is alive",
    ),
    Entry(
        "tick",
        "orchestrator.cli.tick_cmd:tick",
        "daily path",
        "do everything that is due, once",
    ),
    Entry(
        "daemon",
        "orchestrator.cli.daemon_cmd:daemon",
        "daily path",
        "do whatever is due, for ever",
    ),
    Entry(
        "retry",
        "orchestrator.cli.control_cmds:retry",
        "mend",
        "ask failed and expired records again, all or those that match",
    ),
    Entry(
        "sinks",
        "orchestrator.cli.sinks_cmd:sinks",
        "look",
        "where outcomes go by themselves, and how far each sink is",
    ),
    Entry(
        "deliver",
        "orchestrator.cli.sinks_cmd:deliver",
        "mend",
        "pass outcomes on to a sink: a further one, or one again",
    ),
    Entry(
        "export",
        "orchestrator.cli.export_cmd:export",
        "daily path",
        "write one row a record with its outcome, as jsonl or csv",
    ),
    Entry(
        "pause",
        "orchestrator.cli.control_cmds:pause",
        "mend",
        "send nothing new; what is in flight is still collected",
    ),
    Entry(
        "resume",
        "orchestrator.cli.control_cmds:resume",
        "mend",
        "go on: end a pause, open a closed gate, release parked batches",
    ),
    Entry(
        "cancel",
        "orchestrator.cli.control_cmds:cancel",
        "mend",
        "ask no further; finished answers are still collected",
    ),
    Entry(
        "status",
        "orchestrator.cli.status_cmd:status",
        "look",
        "what needs you, then the jobs in one screen",
    ),
    Entry(
        "jobs",
        "orchestrator.cli.jobs_cmd:jobs",
        "look",
        "list jobs, or show one in full",
    ),
    Entry(
        "graph",
        "orchestrator.cli.graph_cmd:graph",
        "look",
        "workflows: which job feeds which, states, counts; DOT, SVG",
    ),
    Entry(
        "batches",
        "orchestrator.cli.batches_cmd:batches",
        "look",
        "list batches, or show one: phases, files, looks",
    ),
    Entry(
        "records",
        "orchestrator.cli.records_cmd:records",
        "look",
        "list records, or trace one from its source row to its outcome",
    ),
    Entry(
        "events",
        "orchestrator.cli.events_cmd:events",
        "look",
        "the audit trail: who moved what, when and why",
    ),
    Entry(
        "costs",
        "orchestrator.cli.costs_cmd:costs",
        "look",
        "money by job, model, day: estimated, actual, wasted, saved",
    ),
    Entry(
        "errors",
        "orchestrator.cli.errors_cmd:errors",
        "look",
        "failures by cause, and the command that mends each",
    ),
    Entry(
        "explain",
        "orchestrator.cli.explain_cmd:explain",
        "look",
        "what happened, what comes next, and your choices",
    ),
    Entry(
        "verify",
        "orchestrator.cli.verify_cmd:verify",
        "look",
        "check the invariants over all rows, a job's books, a provider's side",
    ),
    Entry(
        "quarantine",
        "orchestrator.cli.quarantine_cmd:quarantine",
        "look",
        "odd lines of result files: where, why, how they begin",
    ),
    Entry(
        "adopt",
        "orchestrator.cli.adopt_cmd:adopt",
        "mend",
        "stray batches: list them, take one in, let one go",
    ),
    Entry(
        "recover",
        "orchestrator.cli.recover_cmd:recover",
        "mend",
        "take in what a restored or copied registry does not know",
    ),
    Entry(
        "init",
        "orchestrator.cli.init_cmd:init",
        "set up",
        "write a configuration, a template and sample data to start from",
    ),
    Entry(
        "config",
        "orchestrator.cli.config_cmds:config",
        "set up",
        "check, show and explain the configuration",
    ),
    Entry(
        "doctor",
        "orchestrator.cli.doctor_cmd:doctor",
        "set up",
        "check registry, disk, key, clock and provider, one line each",
    ),
    Entry(
        "db",
        "orchestrator.cli.db_cmd:db",
        "set up",
        "migrate, check and back up the registry",
    ),
    Entry(
        "sandbox",
        "orchestrator.cli.sandbox_cmd:sandbox",
        "set up",
        "serve the provider simulator",
    ),
    Entry(
        "health",
        "orchestrator.cli.health_cmd:health",
        "set up",
        "probe for containers: 0 or 69",
    ),
    Entry(
        "completion",
        "orchestrator.cli.completion:completion",
        "set up",
        "print the completion script of your shell",
    ),
    Entry(
        "help",
        "orchestrator.cli.help_cmd:help_",
        "set up",
        "explain a command, a topic or an error code",
    ),
)
EXAMPLES: tuple[tuple[str, str], ...] = (
    ("demo", "see it work: nothing leaves this machine, it costs nothing"),
    ("init reviews", "a first configuration to look at"),
    ("config check", "is it right?"),
    ("plan reviews", "what it would send, and cost"),
    ("submit reviews --watch", "do it, and follow it to the end"),
)
"""What the help begins with: the commonest way through, in order."""
