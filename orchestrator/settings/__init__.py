"""Layered configuration: typed, checked, each value with its origin; secrets by reference only.

configuration = load(environ=os.environ, cwd=Path.cwd())
configuration.settings.defaults.window
configuration.api_key("kimi", profile).reveal()
"""

from orchestrator.settings.configuration import Configuration, Value
from orchestrator.settings.job_specs import job_and_files, job_spec, policy
from orchestrator.settings.layers import Origin
from orchestrator.settings.load import load
from orchestrator.settings.references import Secret, SecretReference
from orchestrator.settings.schema import (
    DaemonSettings,
    DefaultSettings,
    JobDeclaration,
    ProviderSettings,
    Settings,
)

__all__ = [
    "Configuration",
    "DaemonSettings",
    "DefaultSettings",
    "JobDeclaration",
    "Origin",
    "ProviderSettings",
    "Secret",
    "SecretReference",
    "Settings",
    "Value",
    "job_and_files",
    "job_spec",
    "load",
    "policy",
]
