"""`privyseal sign`: files on a disk, signed by a person's remote key with one approval."""
