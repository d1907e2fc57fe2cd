"""What the portal keeps: sessions, requests on their way, documents; all of it sealed."""
