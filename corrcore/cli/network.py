"""`corrcore network ...`: what a network's layers see."""

from typing import Any

from corrcore.cli.network_field import add_field_parser


def add_parsers(rooms: Any) -> None:
    """Adds the commands on networks."""
    network = rooms.add_parser("network", help="the networks there are, and their weights").add_subparsers(
        required=True
    )
    add_field_parser(network)
