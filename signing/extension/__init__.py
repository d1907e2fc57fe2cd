"""``privyseal ades extend``: signed PDFs in files lifted to a higher level, archives renewed."""
