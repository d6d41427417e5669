"""Search: candidates from the index, query-conditioned rerank, moments."""

from search.engine import SearchEngine

__all__ = ["SearchEngine"]
