"""Cells of notebooks as messages: what is sent of a cell, and the magic that shares one."""
