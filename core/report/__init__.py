"""Reports for people: Markdown, JSON, pictures and figures."""
