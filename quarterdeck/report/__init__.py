"""Reports: documents that say which tables are drawn how, and their reading into small arrays. No Qt."""
