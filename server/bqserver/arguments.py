"""Is every word of the command line known? traitlets only warns; a mistyped --open-netwrok must not start a server."""

from __future__ import annotations

from difflib import get_close_matches

from traitlets.config import Application

OWN = ("help", "help-all", "h", "version", "show-config", "show-config-json", "debug", "quiet")


def check_arguments(app: Application, argv: list[str]) -> str | None:
    """What is wrong with ``argv``, naming the word; None where nothing is."""
    traits = {
        f"{cls.__name__}.{name}"
        for cls in app._classes_with_config_traits()
        for name in cls.class_traits(config=True)
    }
    known = {*OWN, *app.aliases, *app.flags}
    words = iter(argv)
    for word in words:
        if not word.startswith("-") or word == "--":
            return f"{word} is not understood: options begin with --; see {app.name} --help"
        name, equals, _ = word.lstrip("-").partition("=")
        if "." in name and name in traits:
            continue
        if name not in known:
            close = get_close_matches(name, [str(one) for one in known], 1)
            hint = f"did you mean --{close[0]}?" if close else f"see {app.name} --help"
            return f"unknown option --{name}: {hint}"
        if equals and name in app.flags and name not in app.aliases:
            return f"--{name} takes no value"
        if not equals and name in app.aliases and next(words, None) is None:
            return f"--{name} needs a value: --{name}=VALUE"
    return None
