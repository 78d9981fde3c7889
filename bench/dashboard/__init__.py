"""The dashboard's panels as a picture, from real relays and a real Prometheus."""
