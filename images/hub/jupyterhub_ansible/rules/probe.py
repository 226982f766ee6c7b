"""How a container tries the ways out of the users' network, and what its answers mean."""

from collections.abc import Collection, Mapping

NAMES = "names"
"""Way and name of the lookup of a name: as every server is, the container is told by Docker where to ask."""
TRIES = 3
"""What must be closed counts as open when it was open so many times in a row."""
# Who refuses a connection was reached.  Not so for what must be closed: our listeners there listen, so that it is a
# firewall that refuses.  The proxy's API is beside one of them, on the control network, and nowhere else.
# That a name is unknown is an answer.
TRY = """
import concurrent.futures, json, socket, sys
QUERY = bytes([42, 42, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 18]) + b"jupyterhub-ansible" + bytes([7]) + b"invalid"
QUERY += bytes([0, 0, 1, 0, 1])
def looked_up():
    for line in open("/etc/resolv.conf"):
        word, server = (line.split() + ["", ""])[:2]
        if word == "nameserver":
            try:
                with socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM) as asked:
                    asked.settimeout(5)
                    asked.connect((server, 53))
                    asked.send(QUERY)
                    answer = asked.recv(512)
                if answer[:2] == QUERY[:2] and answer[3] & 15 in (0, 3):
                    return True
            except OSError:
                pass
    return False
def reached(name, way):
    if way == "names":
        return looked_up()
    host, _, port = way.rpartition(":")
    try:
        # Of what must be closed there is nothing to wait for: an open way is the kernel's, and takes no time.
        socket.create_connection((host, int(port)), timeout=2 if name in open_ways else 1).close()
    except ConnectionRefusedError:
        return name in open_ways
    except OSError:
        return False
    return True
ways, open_ways = json.loads(sys.argv[1])
with concurrent.futures.ThreadPoolExecutor(len(ways)) as pool:
    print(json.dumps(dict(zip(ways, pool.map(reached, ways, ways.values())))))
"""
"""A program: its argument is JSON of the ways (`host:port` by name) and of the names of those that must be open; it
prints JSON of what it reached."""


def open_ones(reached: Mapping[str, bool], open_ways: Collection[str]) -> list[str]:
    """Return what was reached and must not be."""
    return [name for name, was in reached.items() if was and name not in (*open_ways, NAMES)]


def closed_ones(reached: Mapping[str, bool], open_ways: Collection[str]) -> list[str]:
    """Return what was not reached and must be."""
    return [name for name in open_ways if not reached.get(name)]
