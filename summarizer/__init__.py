"""Summaries: saliency from attention, selection under a budget, and what a person watches."""

from summarizer.render import SummaryFiles, write_summary
from summarizer.summary import summarize

__all__ = ["SummaryFiles", "summarize", "write_summary"]
