"""The anchor process: takes what an audit chain says out of the reach of whoever can write its database."""
