"""The console script: all commands and their exit statuses."""

import signal
import sys
from typing import Annotated

import typer

from pyrogen.cli import compare, console, evaluate, experiment, lists, sample, train
from pyrogen.cli.streams import standard_streams
from pyrogen.cli.uses import codes, export, page, paths, restoration, rows, watch
from pyrogen.console import PlainConsole
from pyrogen.errors import UserError, is_out_of_memory
from pyrogen.launched import process

app = typer.Typer(
    name="pyrogen",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="""Deep generative models on Pyro: define them, train them, and compare explicit with implicit models.

    Start with `pyrogen compare`, which trains six models on bundled data and writes a report in a few
    minutes, or with `pyrogen train vae --data digits`.""",
)


def _print_versions(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version as installed

        from pyrogen.report.templates import installed_version

        versions = f"torch {installed('torch')}, Pyro {installed('pyro-ppl')}"
        PlainConsole().print(f"pyrogen {installed_version()} ({versions})", soft_wrap=True)
        raise typer.Exit


@app.callback()
def settings(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print versions and exit.", is_eager=True, callback=_print_versions),
    ] = False,
) -> None:
    """What stands before any command."""


for _command in (
    lists.models,
    lists.data,
    train.train,
    train.resume,
    sample.sample,
    evaluate.evaluate,
    compare.compare,
    experiment.experiment,
    codes.encode,
    codes.decode,
    codes.reconstruct,
    codes.compress,
    codes.decompress,
    paths.interpolate,
    paths.alter,
    rows.outliers,
    restoration.restore,
    rows.cluster,
    rows.weights,
    page.explore,
    export.export,
    watch.watch,
):
    app.command(_command.__name__)(_command)


SHARED = (["train"], ["resume"], ["compare"])
"""The commands that several processes of ``torchrun`` carry out together."""


def main() -> None:
    """Run a command; a user's error gives exit status 2 and one message, Ctrl-C status 130.

    ``docs/reliability.md`` lists all statuses.
    """
    if process() and sys.argv[1:2] not in SHARED:
        return  # the first of several processes does the whole
    console.be_quiet(False)
    with standard_streams():
        try:
            with console.user_warnings():
                sys.exit(app(standalone_mode=False))
        except typer.TyperException as error:
            if error.format_message():  # else help was printed
                console.message(f"pyrogen: {error.format_message()}", style="red")
            sys.exit(error.exit_code)
        except UserError as error:
            console.message(f"pyrogen: {error}", style="red")
            sys.exit(2)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            console.message(f"pyrogen: out of memory: {' '.join(str(error).split())[:200] or 'too large'}", style="red")
            sys.exit(2)
        except KeyboardInterrupt:
            sys.exit(128 + signal.SIGINT)
