"""The kernel's end of the window: the comm protocol and the transfer of attachments over it."""
