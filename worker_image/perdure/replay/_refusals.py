"""What other event loops can do and the one of workflow code must not.

Network, threads and processes cannot be repeated on replay, so asking the loop for them raises an
error that names the line and the remedy.
"""

from __future__ import annotations

import asyncio
from typing import Any

from perdure.exceptions import UsageError
from perdure.workflow._forbidden import Forbidden, forbidden_call


def _forbid(kind: Forbidden, name: str) -> Any:
    def forbidden(_loop: RefusingLoop, *_args: Any, **_options: Any) -> Any:
        raise forbidden_call(kind, f"loop.{name}(...)")

    return forbidden


def _refuse(name: str) -> Any:
    def refused(_loop: RefusingLoop, *_args: Any, **_options: Any) -> Any:
        raise UsageError(
            f"loop.{name}(...) is not for workflow code: its loop is run by Perdure, which tells "
            "it what has happened; write coroutines and await them"
        )

    return refused


class RefusingLoop(asyncio.AbstractEventLoop):
    """An event loop that refuses all that workflow code must not ask for."""

    call_soon_threadsafe = _forbid(Forbidden.THREADS, "call_soon_threadsafe")
    run_in_executor = _forbid(Forbidden.THREADS, "run_in_executor")
    set_default_executor = _forbid(Forbidden.THREADS, "set_default_executor")
    add_signal_handler = _forbid(Forbidden.PROCESSES, "add_signal_handler")
    remove_signal_handler = _forbid(Forbidden.PROCESSES, "remove_signal_handler")
    subprocess_exec = _forbid(Forbidden.PROCESSES, "subprocess_exec")
    subprocess_shell = _forbid(Forbidden.PROCESSES, "subprocess_shell")
    connect_read_pipe = _forbid(Forbidden.FILES, "connect_read_pipe")
    connect_write_pipe = _forbid(Forbidden.FILES, "connect_write_pipe")
    add_reader = _forbid(Forbidden.NETWORK, "add_reader")
    add_writer = _forbid(Forbidden.NETWORK, "add_writer")
    connect_accepted_socket = _forbid(Forbidden.NETWORK, "connect_accepted_socket")
    create_connection = _forbid(Forbidden.NETWORK, "create_connection")
    create_datagram_endpoint = _forbid(Forbidden.NETWORK, "create_datagram_endpoint")
    create_server = _forbid(Forbidden.NETWORK, "create_server")
    create_unix_connection = _forbid(Forbidden.NETWORK, "create_unix_connection")
    create_unix_server = _forbid(Forbidden.NETWORK, "create_unix_server")
    getaddrinfo = _forbid(Forbidden.NETWORK, "getaddrinfo")
    getnameinfo = _forbid(Forbidden.NETWORK, "getnameinfo")
    remove_reader = _forbid(Forbidden.NETWORK, "remove_reader")
    remove_writer = _forbid(Forbidden.NETWORK, "remove_writer")
    sendfile = _forbid(Forbidden.NETWORK, "sendfile")
    sock_accept = _forbid(Forbidden.NETWORK, "sock_accept")
    sock_connect = _forbid(Forbidden.NETWORK, "sock_connect")
    sock_recv = _forbid(Forbidden.NETWORK, "sock_recv")
    sock_recv_into = _forbid(Forbidden.NETWORK, "sock_recv_into")
    sock_recvfrom = _forbid(Forbidden.NETWORK, "sock_recvfrom")
    sock_recvfrom_into = _forbid(Forbidden.NETWORK, "sock_recvfrom_into")
    sock_sendall = _forbid(Forbidden.NETWORK, "sock_sendall")
    sock_sendfile = _forbid(Forbidden.NETWORK, "sock_sendfile")
    sock_sendto = _forbid(Forbidden.NETWORK, "sock_sendto")
    start_tls = _forbid(Forbidden.NETWORK, "start_tls")

    close = _refuse("close")
    run_forever = _refuse("run_forever")
    run_until_complete = _refuse("run_until_complete")
    set_debug = _refuse("set_debug")
    set_task_factory = _refuse("set_task_factory")
    shutdown_default_executor = _refuse("shutdown_default_executor")
    stop = _refuse("stop")
