"""What the relay counts: plain integers and the events that move them."""
