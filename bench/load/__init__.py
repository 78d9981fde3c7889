"""Load generators: what drives a relay and checks every reply, in processes of their own."""
