"""Example Contracts: a small site where a person signs a PDF with a remote key. A process of its own."""
