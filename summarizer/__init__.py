"""Summaries: saliency from attention, selection under a budget, and what a person watches."""

from summarizer.formats import FORMATS
from summarizer.skim import Skim, SkimPart
from summarizer.summary import summarize
from summarizer.write import write_skim, write_summary

__all__ = ["FORMATS", "Skim", "SkimPart", "summarize", "write_skim", "write_summary"]
