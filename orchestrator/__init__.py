"""Durable workflow orchestrator for LLM batch APIs: records in, one outcome per record out."""

__version__ = "0.1.0"
