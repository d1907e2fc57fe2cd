"""The `privyseal` command and the development supervisor; it imports neither idp nor signing."""
