"""From the tree of checked values to the typed structs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.settings import schema

Tree = Mapping[str, Any]


def settings(tree: Tree) -> schema.Settings:
    """Return the settings of `tree`; what it does not hold stays at its default."""
    return schema.Settings(
        registry=schema.RegistrySettings(**tree.get("registry", {})),
        spool=schema.SpoolSettings(**tree.get("spool", {})),
        defaults=_defaults(tree.get("defaults", {})),
        daemon=schema.DaemonSettings(**tree.get("daemon", {})),
        providers={name: provider(name, t) for name, t in tree.get("providers", {}).items()},
        jobs={name: _job(name, t) for name, t in tree.get("jobs", {}).items()},
        connections={
            name: schema.ConnectionSettings(**{**t, "name": name})
            for name, t in tree.get("connections", {}).items()
        },
    )


def provider(name: str, tree: Tree) -> schema.ProviderSettings:
    """Return the provider section `name`; its profile is the one of that name unless given."""
    budget = schema.ProviderBudget(**tree.get("budget", {}))
    return schema.ProviderSettings(**{"profile": name, **tree, "name": name, "budget": budget})


def _defaults(tree: Tree) -> schema.DefaultSettings:
    retry = schema.Retry(**tree.get("retry", {}))
    return schema.DefaultSettings(**{**tree, "retry": retry})


def _job(name: str, tree: Tree) -> schema.JobDeclaration:
    source = schema.SourceSettings(**tree["source"])
    retry = schema.JobRetry(**tree.get("retry", {}))
    answer = schema.AnswerSettings(**tree.get("answer", {}))
    canary = schema.CanarySettings(**tree.get("canary", {}))
    built = {"source": source, "retry": retry, "answer": answer, "canary": canary}
    return schema.JobDeclaration(**{**tree, **built, "spec": name})
