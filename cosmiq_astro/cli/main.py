"""
Find the cosmic rays in single CCD exposures, with a probability and an
uncertainty for every pixel.

examples:
  cosmiq-astro detect --sample                try it on a bundled HST exposure
  cosmiq-astro detect j8bt06nyq_flt.fits      writes j8bt06nyq_flt_crvi.fits
  cosmiq-astro review j8bt06nyq_flt_crvi.fits a page to look at it and correct it
  cosmiq-astro evaluate --simulate 6          are the probabilities right?
  cosmiq-astro label night/*.fits -o pairs/   labels from repeated exposures
  cosmiq-astro hits darks/*.fits -o hits.npz  cosmic rays from dark frames
  cosmiq-astro train pairs/ -o mycam          a model for another camera
  cosmiq-astro simulate -o frames/            exposures whose cosmic rays are known
  cosmiq-astro models                         which model to take
  cosmiq-astro detect *.fits @night.txt       options from a file, as they are written here

exit codes: 0 all went well, 1 a file failed, 2 wrong usage, 130 interrupted
"""

import argparse
import contextlib
import logging
import re
import shlex
import sys
import warnings

import cosmiq_astro
from cosmiq_astro._io import describe, printable
from cosmiq_astro._meant import did_you_mean
from cosmiq_astro.cli import apply, detect, evaluate, hits, label, models, review, simulate, train
from cosmiq_astro.cli._errors import with_advice
from cosmiq_astro.cli._options import add_command
from cosmiq_astro.cli._terminal import forget_output, print_error, print_warning

__all__ = ["build_parser", "main"]

_WRONG_CHOICE = re.compile(r"invalid choice: '([^']*)' \(choose from (.*)\)")
EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED, EXIT_UNREAD = 1, 2, 130, 141


class _Parser(argparse.ArgumentParser):
    """A parser that knows what was meant, and shows the usage of the command that was given."""

    def convert_arg_line_to_args(self, arg_line):
        return shlex.split(arg_line, comments=True)

    def parse_args(self, args=None, namespace=None):
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            meant = did_you_mean(unknown[0].partition("=")[0], found.options.values())
            found.usage_error(f"unrecognized arguments: {' '.join(unknown)}{meant}")
        return found

    def error(self, message):
        wrong = _WRONG_CHOICE.search(message)
        if wrong:
            message += did_you_mean(wrong[1], re.findall(r"[\w/-]+", wrong[2]))
        super().error(message)


class _PrintCompletion(argparse.Action):
    def __call__(self, parser, namespace, shell, option_string=None):
        try:
            import shtab
        except ImportError:
            parser.error("--print-completion needs shtab: pip install 'cosmiq_astro[completion]'")
        if shell not in shtab.SUPPORTED_SHELLS:
            parser.error(f"SHELL must be one of {', '.join(shtab.SUPPORTED_SHELLS)}, got {shell}")
        print(shtab.complete(parser, shell))
        parser.exit()


def build_parser():
    """
    Make the parser of the command and its subcommands.

    Returns
    -------
    parser : `argparse.ArgumentParser`
        Parsed arguments have ``run``, the function to call with them.
    """
    description, _, epilog = (__doc__ or "").strip().partition("\n\n")
    parser = _Parser(
        prog="cosmiq-astro",
        fromfile_prefix_chars="@",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--version", action="version", version=f"cosmiq-astro {cosmiq_astro.__version__}"
    )
    parser.add_argument(
        "--print-completion",
        action=_PrintCompletion,
        metavar="SHELL",
        help="what makes bash, zsh, fish or tcsh complete this command",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in (detect, review, apply, evaluate, label, hits, train, simulate, models):
        group = add_command(commands, module).add_argument_group("messages")
        group.add_argument("-v", "--verbose", action="store_true", help="say more")
        group.add_argument("-q", "--quiet", action="store_true", help="print errors only")
        group.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def main(argv=None):
    """
    Run the command.

    Parameters
    ----------
    argv : list of str, optional
        The arguments; those of the process if None.

    Returns
    -------
    code : int
        0 if all went well, 1 if a file failed, 2 for wrong usage, 130 if
        interrupted, 141 if nobody read what was printed.
    """
    try:
        args = build_parser().parse_args(argv)
    except (ValueError, RecursionError) as error:
        print_error(f"a file of options (@FILE) cannot be read: {error}")
        return EXIT_USAGE
    try:
        with _messages(args):
            return args.run(args)
    except KeyboardInterrupt:
        print("cosmiq-astro: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # As a shell counts what dies of it, without Python's complaint when it flushes.
        forget_output()
        return EXIT_UNREAD
    except Exception as error:
        # The last place where an error can become a sentence; --debug shows where it came from.
        if args.debug:
            raise
        print_error(with_advice(describe(error), args))
        return EXIT_FAILED


@contextlib.contextmanager
def _messages(args):
    """Send warnings and log records to the terminal, one line each."""
    # Importing astropy takes warnings over; it must have done so before we do.
    import astropy  # noqa: F401

    logger = logging.getLogger("cosmiq_astro")
    handler = logging.StreamHandler()
    handler.setFormatter(_PlainFormatter("%(message)s"))
    level = logger.level
    shown = set()

    def show(message, *_, **__):
        """Print each warning once: a file is opened more than once, its cards are read again."""
        if str(message) not in shown:
            shown.add(str(message))
            print_warning(with_advice(str(message), args))

    logger.addHandler(handler)
    logger.setLevel(logging.ERROR if args.quiet else logging.INFO if args.verbose else "WARNING")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore" if args.quiet else "always", UserWarning)
            warnings.showwarning = show
            yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class _PlainFormatter(logging.Formatter):
    def format(self, record):
        return printable(super().format(record))


if __name__ == "__main__":
    sys.exit(main())
