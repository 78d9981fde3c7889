"""Who is joined to whom, and what a phone's and a binary's message does."""
