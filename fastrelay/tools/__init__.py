"""Programs that examine a running relay from outside."""
