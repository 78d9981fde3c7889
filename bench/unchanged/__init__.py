"""Whether a change left the relay's cost as it was: this checkout beside another one."""
