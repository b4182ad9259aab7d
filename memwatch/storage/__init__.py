"""Files of results: the recording, the JSON, and reading them back."""
