"""``POST /validate``: strangers' PDFs validated in a confined process, and only what is signed there is believed."""
