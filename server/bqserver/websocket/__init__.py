"""One RFC 6455 connection over a Tornado stream; knows no rooms."""
