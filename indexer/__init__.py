"""Indexing: from files to features, vectors, thumbnails and the generic summary of each video."""

from indexer.pipeline import IndexProgress, IndexReport, index_videos

__all__ = ["IndexProgress", "IndexReport", "index_videos"]
